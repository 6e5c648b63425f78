//! Sets of numbers and prefixes: do-not-originate, exempt, dedicated and the rest.
//!
//! A [`List`] is a snapshot. It is read whole from CSV, refused whole with every bad line named, and never
//! changed: a new file makes a new list, and the two are swapped. Its version is the SHA-256 of its file,
//! so anybody with the file can check what a verdict stood on.

mod presence;
mod read;
mod table;

use numbering::{Key, Number};

pub use presence::Presence;
pub use read::{BadLine, ReadError};
use table::Table;

/// Numbers and prefixes with an owner and an expiry each.
pub struct List {
    numbers: Table,
    prefixes: Table,
    /// Bit n set: there are prefixes of n digits.
    prefix_lengths: u16,
    terms: Vec<Terms>,
    version: Version,
    duplicates: usize,
}

/// What stands beside a number in its list.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Terms {
    pub owner: String,
    /// Milliseconds since 1970-01-01 UTC; from then on the entry no longer counts. `i64::MAX`: never.
    pub expires_ms: i64,
    pub note: String,
    /// What the reader of the list made of the note; see [`List::read`].
    pub flags: u32,
}

/// SHA-256 of the list's file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Version([u8; 32]);

impl List {
    /// Looks a number or short code up: itself first, then the longest prefix that has not expired.
    #[inline]
    pub fn find(&self, key: Key, now_ms: i64) -> Option<&Terms> {
        self.find_if(true, key, now_ms)
    }

    /// The same for a list among others: where their presence denies the number, only prefixes are looked up.
    #[inline]
    pub fn find_among(&self, presence: &Presence, key: Key, now_ms: i64) -> Option<&Terms> {
        self.find_if(presence.may_hold(key), key, now_ms)
    }

    #[inline]
    fn find_if(&self, may_hold: bool, key: Key, now_ms: i64) -> Option<&Terms> {
        if may_hold
            && let Some(terms) = self.numbers.find(key.0)
            && let Some(terms) = self.in_force(terms, now_ms)
        {
            return Some(terms);
        }
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
    fn in_force(&self, terms: u32, now_ms: i64) -> Option<&Terms> {
        let terms = &self.terms[terms as usize];
        (now_ms < terms.expires_ms).then_some(terms)
    }

    /// Entries, prefixes among them.
    pub fn len(&self) -> usize {
        self.numbers.len() + self.prefixes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn prefix_count(&self) -> usize {
        self.prefixes.len()
    }

    /// Lines that repeated a number; of two the one that expires later counts.
    pub fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// How many entries no longer count at `now_ms`, have no owner, and have no expiry.
    pub fn audit(&self, now_ms: i64) -> Audit {
        let mut audit = Audit::default();
        for terms in self.numbers.values().chain(self.prefixes.values()) {
            let terms = &self.terms[terms as usize];
            audit.expired += usize::from(terms.expires_ms <= now_ms);
            audit.without_owner += usize::from(terms.owner.is_empty());
            audit.without_expiry += usize::from(terms.expires_ms == i64::MAX);
        }
        audit
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// Bytes of memory the entries take.
    pub fn memory(&self) -> usize {
        self.numbers.memory() + self.prefixes.memory()
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
