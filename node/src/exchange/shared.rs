//! Registrations and roaming answers shared by several nodes of one operator, in Valkey or Redis.
//!
//! What this node knows itself it never asks there. Without an answer in time it goes on alone, and that is counted. Keys
//! are a keyed hash, so the store holds no numbers; entries end by themselves.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use aws_lc_rs::hmac;
use exchange::{CallKey, RoamingCache, Status};
use journal::hex;
use numbering::Number;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, FromRedisValue, RedisResult};
use tokio::time::{sleep, timeout};

/// What one look there may take.
const PATIENCE: Duration = Duration::from_millis(50);
/// Between attempts to reach it.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone)]
enum Store {
    One(ConnectionManager),
    Cluster(ClusterConnection),
}

/// The shared store, reached or not.
pub struct Shared {
    urls: Vec<String>,
    key: hmac::Key,
    store: RefCell<Option<Store>>,
    failures: Cell<u64>,
}

impl Shared {
    /// Begins to reach the store. `secret` is one that only nodes of this operator have.
    pub fn start(urls: Vec<String>, secret: &[u8]) -> Rc<Shared> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let shared = Rc::new(Shared { urls, key, store: RefCell::default(), failures: Cell::new(0) });
        let reaching = Rc::downgrade(&shared);
        tokio::task::spawn_local(async move {
            while let Some(shared) = reaching.upgrade() {
                match shared.connect().await {
                    Ok(store) => {
                        *shared.store.borrow_mut() = Some(store);
                        return;
                    }
                    Err(_) => shared.failures.set(shared.failures.get() + 1),
                }
                drop(shared);
                sleep(PAUSE).await;
            }
        });
        shared
    }

    async fn connect(&self) -> RedisResult<Store> {
        match &self.urls[..] {
            [url] => {
                let config = ConnectionManagerConfig::new()
                    .set_connection_timeout(Some(PAUSE))
                    .set_response_timeout(Some(PAUSE));
                let manager =
                    redis::Client::open(url.as_str())?.get_connection_manager_with_config(config).await?;
                Ok(Store::One(manager))
            }
            urls => Ok(Store::Cluster(ClusterClient::new(urls.to_vec())?.get_async_connection().await?)),
        }
    }

    /// Looks and writes that failed or took too long.
    pub fn failures(&self) -> u64 {
        self.failures.get()
    }

    async fn run<T: FromRedisValue>(&self, command: Cmd) -> Option<T> {
        let store = self.store.borrow().clone();
        let outcome = timeout(PATIENCE, async {
            match store {
                None => None,
                Some(Store::One(mut store)) => command.query_async(&mut store).await.ok(),
                Some(Store::Cluster(mut store)) => command.query_async(&mut store).await.ok(),
            }
        });
        let outcome = outcome.await.ok().flatten();
        if outcome.is_none() {
            self.failures.set(self.failures.get() + 1);
        }
        outcome
    }

    fn name(&self, kind: &str, words: &[u64]) -> String {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let tag = hmac::sign(&self.key, &bytes);
        format!("qalqan:{kind}:{}", hex(&tag.as_ref()[..16]))
    }

    /// Notes a call that others may ask about until its time is over.
    pub async fn register(&self, call: CallKey, now_ms: i64, ttl_s: u32) {
        let name = self.name("call", &call.words());
        let mut command = redis::cmd("SET");
        command.arg(name).arg(now_ms).arg("EX").arg(ttl_s.max(1));
        let _: Option<()> = self.run(command).await;
    }

    /// How long ago another node noted a call, ms.
    pub async fn check(&self, call: CallKey, now_ms: i64) -> Option<u32> {
        let mut command = redis::cmd("GET");
        command.arg(self.name("call", &call.words()));
        let at_ms: Option<i64> = self.run(command).await?;
        at_ms.map(|at_ms| u32::try_from(now_ms.abs_diff(at_ms)).unwrap_or(u32::MAX))
    }

    /// What another node heard of a number: its status, country and when, ms since 1970.
    pub async fn roaming(&self, number: Number) -> Option<(Status, Option<[u8; 2]>, i64)> {
        let mut command = redis::cmd("GET");
        command.arg(self.name("roaming", &[number.key().0]));
        let text: Option<String> = self.run(command).await?;
        let text = text?;
        let mut words = text.split(' ');
        let status = serde_json::from_value(words.next()?.into()).ok()?;
        let at_ms = words.next()?.parse().ok()?;
        let visited = words.next().and_then(crate::roaming::country);
        Some((status, visited, at_ms))
    }

    /// Lets other nodes know what was heard of a number.
    pub async fn keep_roaming(&self, number: Number, status: Status, visited: Option<[u8; 2]>, now_ms: i64) {
        let name = serde_json::to_value(status).expect("a plain value");
        let visited = visited.map(|code| String::from_utf8_lossy(&code).into_owned()).unwrap_or_default();
        let text = format!("{} {now_ms} {visited}", name.as_str().unwrap_or_default());
        let mut command = redis::cmd("SET");
        command
            .arg(self.name("roaming", &[number.key().0]))
            .arg(text.trim_end())
            .arg("PX")
            .arg(RoamingCache::lasts_ms(status));
        let _: Option<()> = self.run(command).await;
    }

    /// Drops what is known of a number: it went somewhere else.
    pub async fn forget_roaming(&self, number: Number) {
        let mut command = redis::cmd("DEL");
        command.arg(self.name("roaming", &[number.key().0]));
        let _: Option<u64> = self.run(command).await;
    }
}
