//! What says that a version of a list was published: who, when, why, and which bytes; signed.

use journal::{Jws, PublicKey, SigningKey};
use serde::{Deserialize, Serialize};

/// The stream of what was published, a subject for each list, and how much of it is kept.
pub const STREAM: &str = "QALQAN_LISTS";
pub const HISTORY: i64 = 8;
/// The object store of the files.
pub const BUCKET: &str = "qalqan-lists";

/// The payload of the JWS: `schema/list-published.schema.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Published {
    event: String,
    schema: u32,
    /// The key in `[lists]`.
    pub list: String,
    /// SHA-256 of the list's CSV file: the version that the journal names.
    pub version: String,
    /// SHA-256 of the file that travels, CSV or compact, and its length.
    pub file_sha256: String,
    pub file_bytes: u64,
    pub entries: u64,
    pub author: String,
    pub reason: String,
    pub published_ms: i64,
}

const EVENT: &str = "list_published";
const SCHEMA: u32 = 1;

impl Published {
    pub fn of(list: &str, version: String, file_sha256: String, file_bytes: u64, entries: u64) -> Published {
        let (event, author, reason) = (EVENT.to_owned(), String::new(), String::new());
        let list = list.to_owned();
        Published {
            event,
            schema: SCHEMA,
            list,
            version,
            file_sha256,
            file_bytes,
            entries,
            author,
            reason,
            published_ms: 0,
        }
    }

    pub fn sign(&self, key: &SigningKey) -> String {
        Jws::sign(&serde_json::to_vec(self).expect("plain values"), key)
    }

    /// Reads what one of `publishers` has signed of a list.
    pub fn verify(jws: &[u8], list: &str, publishers: &[PublicKey]) -> Result<Published, String> {
        let jws = Jws::parse(jws)?;
        let publisher = publishers.iter().find(|key| key.id() == jws.key_id);
        let publisher =
            publisher.ok_or_else(|| format!("key {:.64?} is none of list-publishers", jws.key_id))?;
        if !jws.is_signed_by(*publisher) {
            return Err(format!("forged: key {} did not sign it", publisher.id()));
        }
        Published::parse(&jws.payload, list)
    }

    /// Reads what was published of a list and believes it: for who only looks.
    pub fn read(jws: &[u8], list: &str) -> Result<Published, String> {
        Published::parse(&Jws::parse(jws)?.payload, list)
    }

    fn parse(payload: &[u8], list: &str) -> Result<Published, String> {
        let published: Published = serde_json::from_slice(payload)
            .map_err(|error| format!("its payload is no {EVENT}: {error}").replace('\n', " "))?;
        match () {
            () if published.event != EVENT || published.schema != SCHEMA => {
                Err(format!("its payload is no {EVENT} of schema {SCHEMA}"))
            }
            () if published.list != list => Err(format!("it is a version of {:.64?}", published.list)),
            () => Ok(published),
        }
    }

    pub fn subject(list: &str) -> String {
        format!("qalqan.list.{list}")
    }

    /// The name of the file in the object store.
    pub fn object(&self) -> String {
        format!("{}-{}", self.list, self.file_sha256)
    }

    /// In a line, for people.
    pub fn shown(&self) -> String {
        let time =
            jiff::Timestamp::from_millisecond(self.published_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        // One line, whatever somebody wrote.
        let plain = |text: &str| text.replace(char::is_control, " ");
        let Published { version, author, reason, entries, .. } = self;
        format!("{version}, {entries} entries, published {time:.3} by {}: {}", plain(author), plain(reason))
    }
}
