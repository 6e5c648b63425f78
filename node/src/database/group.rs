//! Group commit on SQLite, which has one writer: units of work follow each other within one transaction while others wait, and
//! one write to the disk makes them all last. Nobody is answered before it.
//!
//! Each unit is a savepoint, so one that is dropped takes nothing of the others with it. Alone, a unit is committed at once.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::{Any, AnyConnection, AnyPool, Executor, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::Fault;

/// Units in one transaction, at most: the next transaction lets others at the store.
const MOST: usize = 64;
/// Who came to be committed by the next one waits no longer for it.
const LONGEST: Duration = Duration::from_millis(50);

/// The one connection to a store of SQLite, and who takes turns at it.
#[derive(Clone)]
pub struct Group {
    pool: AnyPool,
    state: Arc<Mutex<State>>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Default)]
struct State {
    tx: Option<Transaction<'static, Any>>,
    /// Units that wait for the commit.
    told: Vec<oneshot::Sender<bool>>,
}

impl State {
    async fn commit(&mut self) -> Result<(), Fault> {
        let told = std::mem::take(&mut self.told);
        let Some(tx) = self.tx.take() else { return Ok(()) };
        let outcome = tx.commit().await;
        for told in told {
            let _ = told.send(outcome.is_ok());
        }
        outcome
    }
}

impl Group {
    pub fn new(pool: AnyPool) -> Group {
        Group { pool, state: Arc::default(), waiting: Arc::default() }
    }

    pub async fn begin(&self) -> Result<Turn, Fault> {
        let mut state = {
            let _waits = Waits::new(&self.waiting);
            self.state.clone().lock_owned().await
        };
        if state.tx.is_none() {
            state.tx = Some(self.pool.begin_with("BEGIN IMMEDIATE").await?);
        }
        let mut turn = Turn { state: Some(state), group: self.clone() };
        turn.execute("SAVEPOINT turn").await?;
        Ok(turn)
    }
}

struct Waits<'w>(&'w AtomicUsize);

impl Waits<'_> {
    fn new(waiting: &AtomicUsize) -> Waits<'_> {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A unit's turn: dropped, nothing of it is done.
pub struct Turn {
    state: Option<OwnedMutexGuard<State>>,
    group: Group,
}

impl Turn {
    /// Returns once it is on the disk.
    pub async fn commit(mut self) -> Result<(), Fault> {
        self.execute("RELEASE turn").await?;
        let mut state = self.state.take().expect("taken by commit alone");
        if self.group.waiting.load(Ordering::Relaxed) == 0 || state.told.len() + 1 >= MOST {
            return state.commit().await;
        }
        let (tell, mut told) = oneshot::channel();
        state.told.push(tell);
        drop(state);
        let is_done = tokio::select! {
            is_done = &mut told => is_done,
            // The one that was waiting came to nothing.
            () = tokio::time::sleep(LONGEST) => {
                self.group.state.lock().await.commit().await?;
                told.await
            }
        };
        match is_done {
            Ok(true) => Ok(()),
            _ => Err(Fault::Protocol("the commit of several changes failed".to_owned())),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else { return };
        let waiting = self.group.waiting.clone();
        // Without a runtime the process ends: the store rolls back by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let undone = async {
                let tx = state.tx.as_mut().ok_or(Fault::PoolClosed)?;
                tx.execute("ROLLBACK TO turn").await?;
                tx.execute("RELEASE turn").await
            };
            if undone.await.is_err() {
                // The whole transaction is lost; dropped, the others hear of it.
                *state = State::default();
            } else if waiting.load(Ordering::Relaxed) == 0 {
                let _ = state.commit().await;
            }
        });
    }
}

impl Deref for Turn {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        self.state.as_ref().and_then(|state| state.tx.as_ref()).expect("open while it is a turn")
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.state.as_mut().and_then(|state| state.tx.as_mut()).expect("open while it is a turn")
    }
}

/// What a unit of work is done in.
pub enum Tx {
    /// PostgreSQL: a transaction of its own; the server commits those of several connections together.
    Own(Transaction<'static, Any>),
    Turn(Turn),
}

impl Tx {
    pub async fn commit(self) -> Result<(), Fault> {
        match self {
            Tx::Own(tx) => tx.commit().await,
            Tx::Turn(turn) => turn.commit().await,
        }
    }
}

impl Deref for Tx {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        match self {
            Tx::Own(tx) => tx,
            Tx::Turn(turn) => turn,
        }
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        match self {
            Tx::Own(tx) => tx,
            Tx::Turn(turn) => turn,
        }
    }
}
