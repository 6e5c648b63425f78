//! Sets of numbers and prefixes: do-not-originate, exempt, dedicated and the rest.
//!
//! A [`List`] is a snapshot. It is read whole from CSV, refused whole with every bad line named, and never
//! changed: a new file makes a new list, and the two are swapped. Its version is the SHA-256 of its file,
//! so anybody with the file can check what a verdict stood on. Packed once into a compact file, which holds what
//! memory would hold, it is opened without being read.

mod atlas;
mod bits;
mod compact;
mod draft;
mod prefetch;
mod read;
mod sections;
mod table;
mod terms;

use numbering::{Key, Number};

pub use atlas::{Atlas, Sought};
pub use compact::{CompactError, Stamp};
pub use prefetch::prefetch;
pub use read::{BadLine, ReadError};
pub use terms::Terms;

use sections::Sections;
use table::Table;
use terms::AllTerms;

/// Numbers and prefixes with an owner and an expiry each.
pub struct List {
    /// Numbers that have neighbours on the list, by their integers.
    sections: Sections,
    /// Numbers that have none, and short codes.
    lone: Table,
    prefixes: Table,
    /// Bit n set: there are prefixes of n digits.
    prefix_lengths: u16,
    terms: AllTerms,
    version: Version,
    /// Entries, prefixes among them.
    len: u64,
    prefix_count: u64,
    duplicates: u64,
    /// Some line could be read by the plan alone: a short code, a number without its +.
    asked_plan: bool,
    /// What the content of the compact file has to hash to, where the list comes from one.
    content: Option<[u8; 32]>,
}

/// SHA-256 of the list's file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Version([u8; 32]);

impl List {
    /// Looks a number or short code up: itself first, then the longest prefix that has not expired.
    #[inline]
    pub fn find(&self, key: Key, now_ms: i64) -> Option<Terms<'_>> {
        self.look_up(&Sought::new(key), 0, now_ms)
    }

    /// The same for a list among others, by its place in the [`Atlas`] that made the number ready: where that
    /// denies the number, only prefixes are looked up.
    #[inline]
    pub fn look_up(&self, sought: &Sought, place: usize, now_ms: i64) -> Option<Terms<'_>> {
        if sought.may_be_on(place)
            && let Some(terms) = self.itself(sought)
            && let Some(terms) = self.in_force(terms, now_ms)
        {
            return Some(terms);
        }
        if self.prefix_lengths == 0 {
            return None;
        }
        self.longest_prefix(sought.key(), now_ms)
    }

    /// Fetches the memory that looking the number up will read.
    #[inline]
    pub fn prefetch(&self, sought: &Sought) {
        match sought.integer() {
            Some(integer) => self.sections.prefetch(integer),
            None => self.lone.prefetch(sought.word),
        }
    }

    /// The terms of the number itself: out of line, for an atlas denies most numbers before it comes to that.
    #[inline(never)]
    fn itself(&self, sought: &Sought) -> Option<u32> {
        let found = sought.integer().and_then(|integer| self.sections.find(integer));
        found.or_else(|| if self.lone.is_empty() { None } else { self.lone.find(sought.word) })
    }

    fn longest_prefix(&self, key: Key, now_ms: i64) -> Option<Terms<'_>> {
        // A prefix is of numbers: +1* says nothing about 112.
        let mut lengths = if key.is_short_code() { 0 } else { self.prefix_lengths };
        while lengths != 0 {
            let n = 15 - lengths.leading_zeros() as usize;
            lengths &= !(1 << n);
            if let Some(prefix) = key.prefix(n)
                && let Some(terms) = self.prefixes.find(prefix.0)
                && let Some(terms) = self.in_force(terms, now_ms)
            {
                return Some(terms);
            }
        }
        None
    }

    #[inline]
    pub fn contains(&self, number: Number, now_ms: i64) -> bool {
        self.find(number.key(), now_ms).is_some()
    }

    #[inline]
    fn in_force(&self, terms: u32, now_ms: i64) -> Option<Terms<'_>> {
        self.terms.get(terms).filter(|terms| now_ms < terms.expires_ms)
    }

    /// Entries, prefixes among them.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn prefix_count(&self) -> usize {
        self.prefix_count as usize
    }

    /// Lines that repeated a number; of two the one that expires later counts.
    pub fn duplicates(&self) -> usize {
        self.duplicates as usize
    }

    /// How many entries no longer count at `now_ms`, have no owner, and have no expiry.
    pub fn audit(&self, now_ms: i64) -> Audit {
        let mut counts = vec![0; self.terms.len()];
        let mut count = |terms: u32| {
            if let Some(count) = counts.get_mut(terms as usize) {
                *count += 1;
            }
        };
        self.sections.for_each(|_, terms| count(terms));
        self.lone.entries().chain(self.prefixes.entries()).for_each(|(_, terms)| count(terms));
        let mut audit = Audit::default();
        for (terms, entries) in counts.into_iter().enumerate() {
            let Some(terms) = self.terms.get(terms as u32) else { continue };
            audit.expired += entries * usize::from(terms.expires_ms <= now_ms);
            audit.without_owner += entries * usize::from(terms.owner().is_empty());
            audit.without_expiry += entries * usize::from(terms.expires_ms == i64::MAX);
        }
        audit
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// Bytes of memory the list takes, or of its compact file.
    pub fn memory(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }
}

/// What a person should look at in a list.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Audit {
    pub expired: usize,
    pub without_owner: usize,
    pub without_expiry: usize,
}

impl Version {
    pub const fn of_hash(hash: [u8; 32]) -> Version {
        Version(hash)
    }

    pub fn of(file: &[u8]) -> Version {
        use sha2::Digest;
        Version(sha2::Sha256::digest(file).into())
    }
}

/// As `sha256sum` prints it.
impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
