//! Registrations and roaming answers shared by several nodes of one operator, in Valkey or Redis.
//!
//! What this node knows itself it never asks there. Without an answer in time it goes on alone, and that is counted. Keys
//! are a keyed hash, so the store holds no numbers; entries end by themselves.
//!
//! A store can lose what it was given: a primary dies, its replica is behind, or it comes back empty. So each node looks
//! every [`BEAT`] whether all primaries answer and are those they were; [`Shared::whole_since`] says since when. What is
//! not found sooner than a call's time after that may have been lost.

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
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{Cmd, FromRedisValue, RedisResult, Value};
use tokio::time::{Instant, sleep, timeout};

/// What one look there may take.
const PATIENCE: Duration = Duration::from_millis(50);
/// Between attempts to reach it.
const PAUSE: Duration = Duration::from_secs(1);
/// From one look at all primaries to the next: no replica takes over in less.
const BEAT: Duration = Duration::from_millis(500);
/// A registration that could not be written is written again after so long, until its time is over.
const AGAIN: Duration = Duration::from_millis(250);
/// Registrations that may wait for that.
const WAITING: usize = 16_384;

/// What came of looking for a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Looked {
    /// Noted by another node, so long ago, ms.
    Found(u32),
    NotThere,
    /// The store did not say.
    Failed,
}

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
    whole_since: Cell<Instant>,
    /// Registrations that wait to be written again.
    unwritten: Cell<usize>,
}

impl Shared {
    /// Begins to reach the store. `secret` is one that only nodes of this operator have.
    pub fn start(urls: Vec<String>, secret: &[u8]) -> Rc<Shared> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let shared = Rc::new(Shared {
            urls,
            key,
            store: RefCell::default(),
            failures: Cell::new(0),
            whole_since: Cell::new(Instant::now()),
            unwritten: Cell::new(0),
        });
        let watching = Rc::downgrade(&shared);
        tokio::task::spawn_local(async move {
            let mut last = None;
            while let Some(shared) = watching.upgrade() {
                let is_reached = shared.store.borrow().is_some();
                let pause = match is_reached {
                    true => {
                        shared.beat(&mut last).await;
                        BEAT
                    }
                    false => match shared.connect().await {
                        Ok(store) => {
                            *shared.store.borrow_mut() = Some(store);
                            Duration::ZERO
                        }
                        Err(_) => {
                            shared.doubt();
                            PAUSE
                        }
                    },
                };
                drop(shared);
                sleep(pause).await;
            }
        });
        shared
    }

    /// Looks whether all primaries answer, and are the processes they were.
    async fn beat(&self, last: &mut Option<Vec<String>>) {
        let store = self.store.borrow().clone();
        let mut command = redis::cmd("INFO");
        command.arg("server");
        let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let answer = timeout(PAUSE, async {
            match store? {
                Store::One(mut store) => command.query_async(&mut store).await.ok(),
                Store::Cluster(mut store) => store.route_command(command, all).await.ok(),
            }
        });
        let mut runs = Vec::new();
        answer.await.ok().flatten().iter().for_each(|answer| run_ids(answer, &mut runs));
        runs.sort();
        if runs.is_empty() || last.as_ref().is_some_and(|last| *last != runs) {
            self.doubt();
        }
        *last = Some(runs);
    }

    /// From now on nobody knows what was lost.
    fn doubt(&self) {
        self.failures.set(self.failures.get() + 1);
        self.whole_since.set(Instant::now());
    }

    /// Since when nothing that was written can have been lost.
    pub fn whole_since(&self) -> Instant {
        self.whole_since.get()
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

    /// Notes a call that others may ask about until its time is over; where the store fails, again and again.
    pub async fn register(&self, call: CallKey, now_ms: i64, ttl_s: u32) {
        let name = self.name("call", &call.words());
        let ttl = Duration::from_secs(ttl_s.max(1).into());
        let started = Instant::now();
        while let Some(left) = ttl.checked_sub(started.elapsed()) {
            let mut command = redis::cmd("SET");
            command.arg(&name).arg(now_ms).arg("PX").arg(left.as_millis().max(1) as u64);
            if self.run::<()>(command).await.is_some() || self.unwritten.get() >= WAITING {
                return;
            }
            self.unwritten.set(self.unwritten.get() + 1);
            sleep(AGAIN).await;
            self.unwritten.set(self.unwritten.get() - 1);
        }
    }

    /// Whether another node noted a call.
    pub async fn check(&self, call: CallKey, now_ms: i64) -> Looked {
        let mut command = redis::cmd("GET");
        command.arg(self.name("call", &call.words()));
        match self.run::<Option<i64>>(command).await {
            None => Looked::Failed,
            Some(None) => Looked::NotThere,
            Some(Some(at_ms)) => Looked::Found(u32::try_from(now_ms.abs_diff(at_ms)).unwrap_or(u32::MAX)),
        }
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

/// The `run_id` of every server that an INFO was answered by: another process has another.
fn run_ids(answer: &Value, runs: &mut Vec<String>) {
    match answer {
        Value::Map(pairs) => pairs.iter().for_each(|(_, of_one)| run_ids(of_one, runs)),
        Value::Array(all) => all.iter().for_each(|of_one| run_ids(of_one, runs)),
        one => {
            let text = String::from_redis_value_ref(one).unwrap_or_default();
            runs.extend(text.lines().filter_map(|line| line.strip_prefix("run_id:")).map(str::to_owned));
        }
    }
}
