//! A process's place in the registry: taken with a guard, given back when it drops.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::handle::Store;
use super::heartbeat::HeartbeatThread;
use crate::backend::statements::{Transaction, TxResult};
use crate::error::{Error, Result};
use crate::liveness;
use crate::model::{LimitPolicy, Now, Process, ProcessInfo, Settings};
use crate::os::{System, lock};
use crate::reaper::{Memory, Scene};
use crate::registry::{self, Beat, Identity, Registered};

/// How long dropping a registration waits for the write lock. If it gets none, the row is cleared away as that of
/// a process that died.
const DROP_PATIENCE: Duration = Duration::from_millis(500);

/// This process's place in the registry, until it is dropped.
///
/// Made by [`Store::register`]. Dropping it deregisters the process and releases its locks. A child that was
/// forked from the process that registered has no part in it: its calls fail with [`Error::Forked`], and
/// dropping it there changes nothing.
#[must_use = "dropping it deregisters the process"]
pub struct Registration {
    store: Store,
    thread: Mutex<Option<HeartbeatThread>>,
}

impl Store {
    /// Registers this process: its row and its first heartbeat are one transaction.
    ///
    /// A server does this first, then reaps, then serves:
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use govstore::ProcessInfo;
    ///
    /// let registration = store.register(ProcessInfo::new("my-server", "1.0.0"))?;
    /// registration.start_heartbeat()?;
    /// store.reap()?; // clear away servers that died
    /// assert_eq!(store.processes()?[0].name, "my-server");
    /// drop(registration);
    /// assert!(store.processes()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TooManyProcesses`] if `max_processes` are alive and `limit_policy` is `refuse`, or it is `evict` and
    /// all of them are in use; [`Error::TooManyOfName`] if the process has a limit of its own;
    /// [`Error::AlreadyRegistered`]; [`Error::CannotIdentify`] where the system doesn't say who this process
    /// is.
    pub fn register(&self, info: ProcessInfo) -> Result<Registration> {
        self.refuse_after_fork()?;
        let _registering = lock(&self.own().registering);
        if let Some(process_id) = self.own().process_id() {
            return Err(Error::AlreadyRegistered { process_id });
        }
        let system = liveness::system()?;
        let identity = Identity { info, here: system.here().clone(), parent: system.parent() };

        // Whether the others live is looked up before the transaction, and counts inside it.
        let scene = self.look(&system)?;
        let memory = self.memory().clone();
        let process_id = self.write(|tx| {
            let settings = tx.settings()?;
            registry::replace_predecessor(tx, &identity.here)?;
            let occupants = || occupants(tx, &settings, &scene, &system, &memory);
            if settings.limit_policy != LimitPolicy::Spare {
                refuse_if_full(&settings, occupants()?)?;
            }
            if let Some(limit) = identity.info.most_of_name {
                refuse_if_there_are(limit, &identity.info.name, occupants()?)?;
            }
            registry::insert(tx, &identity, &settings)
        })?;
        self.own().register(Registered::new(process_id, Arc::new(identity)));
        Ok(Registration { store: self.uncancelled(), thread: Mutex::new(None) })
    }
}

impl Store {
    /// This process's number in the registry, if it is registered through this store.
    #[must_use]
    pub fn process_id(&self) -> Option<i64> {
        self.own().process_id()
    }

    /// As [`Registration::must_exit`], for code that has the store and not the registration.
    #[must_use]
    pub fn must_exit(&self) -> bool {
        self.own().must_exit()
    }
}

impl Registration {
    /// This process's number in the registry. It changes if its row was lost and it had to register again.
    #[must_use]
    pub fn process_id(&self) -> i64 {
        self.store.own().process_id().unwrap_or_default()
    }

    /// Starts a thread that beats every `heartbeat_interval_s`, until the registration is dropped. Calling it
    /// again changes nothing.
    ///
    /// Once a beat finds that this process must exit, [`Registration::must_exit`] says so, and the thread
    /// ends. A server with a runtime of its own may call [`Registration::beat`] from a task instead, so that a
    /// hung server stops beating.
    pub fn start_heartbeat(&self) -> Result<()> {
        self.store.refuse_after_fork()?;
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            *thread = Some(HeartbeatThread::start(self.store.clone(), self.heartbeat_interval()?)?);
        }
        Ok(())
    }

    /// Beats once: says that this process lives. Every update does so too.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`], [`Error::LockTimeout`], [`Error::DiskFull`], [`Error::Displaced`].
    pub fn beat(&self) -> Result<Beat> {
        Ok(self.store.beat(false)?.map_or(Beat::Alive, |outcome| outcome.beat))
    }

    /// Beats once, and says that the client used this process. Every update does so too.
    ///
    /// # Errors
    ///
    /// As [`Registration::beat`].
    pub fn record_activity(&self) -> Result<Beat> {
        Ok(self.store.beat(true)?.map_or(Beat::Alive, |outcome| outcome.beat))
    }

    /// How long to wait before the next [`beat`](Registration::beat), by the settings as they are now.
    pub fn heartbeat_interval(&self) -> Result<Duration> {
        let settings = self.store.settings()?;
        let interval = Duration::from_millis(registry::interval_ms(&settings).unsigned_abs());
        Ok(interval.min(self.store.backend().longest_interval()))
    }

    /// How long after a beat that failed, as of a busy or a full database, to try the next one, where beats are
    /// `interval` apart: at once. A reaper that can write waits an interval to see whether others can.
    #[must_use]
    pub fn retry_after(interval: Duration) -> Duration {
        registry::retry_after(interval)
    }

    /// Whether a beat or an update has found that this process must exit: a reaper claimed it, the database was
    /// moved, deleted or replaced ([`Error::Displaced`]) and nobody sees this process any more, or a commit is in
    /// doubt ([`Error::CommitInDoubt`]) and it writes nothing more.
    #[must_use]
    pub fn must_exit(&self) -> bool {
        self.store.own().must_exit()
    }

    /// Whether the client that started this process is gone, so that nobody can use it any more.
    #[must_use]
    pub fn is_parent_gone(&self) -> bool {
        self.store.refuse_after_fork().is_ok()
            && self.store.own().registered().is_some_and(|registered| registered.identity.is_parent_gone())
    }

    /// Why the last work in the background failed, a heartbeat or a scan for dead processes; `None` if it
    /// didn't. Both are tried again.
    #[must_use]
    pub fn background_error(&self) -> Option<String> {
        self.store.own().background_error()
    }

    /// Deregisters this process, and says whether that worked. Dropping does the same, can't say, and waits for
    /// the write lock for half a second at most.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`], [`Error::LockTimeout`]. The row is then cleared away once the process has ended.
    pub fn deregister(self) -> Result<()> {
        self.leave(self.store.lock_timeout())
    }

    fn leave(&self, patience: Duration) -> Result<()> {
        self.store.refuse_after_fork()?; // before any mutex: another thread may have held it in the parent
        drop(lock(&self.thread).take());
        match self.store.own().leave() {
            Some(left) => {
                self.store.write_within(patience, |tx| registry::deregister(tx, &left.identity.here))
            }
            None => Ok(()),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Without the write lock there is nothing to be done: a reaper finds the process gone.
        let _ = self.leave(DROP_PATIENCE);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("process_id", &self.process_id()).finish_non_exhaustive()
    }
}

/// Refuses a newcomer if as many processes as may be are alive, and none of them will go for it.
fn refuse_if_full(settings: &Settings, occupants: Vec<Process>) -> Result<()> {
    if occupants.len() < settings.max_processes as usize {
        return Ok(());
    }
    Err(Error::TooManyProcesses { limit: settings.max_processes, occupants })
}

/// Refuses a newcomer if `limit` processes of its name are alive.
fn refuse_if_there_are(limit: u32, name: &str, mut occupants: Vec<Process>) -> Result<()> {
    occupants.retain(|process| process.name == name);
    if occupants.len() < limit as usize {
        return Ok(());
    }
    Err(Error::TooManyOfName { name: name.to_owned(), limit, occupants })
}

/// Those who hold places that a newcomer wants one of.
fn occupants(
    tx: &dyn Transaction,
    settings: &Settings,
    scene: &Scene,
    system: &dyn System,
    memory: &Memory,
) -> TxResult<Vec<Process>> {
    let now = Now::read(system);
    let plan = scene.plan(&tx.registered_processes(&now)?, now.monotonic_ms, settings, memory, 1);
    Ok(plan.occupants().cloned().collect())
}
