//! The registry: how a process comes into it, and how it leaves.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, named_params};

use super::clock;
use super::heartbeat::{self, Beat, Pacemaker};
use super::member::{Who, lock};
use super::reaper;
use super::record::{self, Now};
use super::system::{Here, System};
use crate::agent;
use crate::crash_point;
use crate::error::{Error, Result};
use crate::store::{LimitPolicy, Settings, Store, TxResult, WriteTx, settings};

/// How many ended processes the registry remembers.
const ENDED_KEPT: i64 = 1_000;

/// Longest name and version, in characters.
const NAME_MAX_CHARS: usize = 200;

/// How long dropping a registration waits for the write lock. If it gets none, the row is cleared away as that of
/// a process that died.
const DROP_PATIENCE: Duration = Duration::from_millis(500);

/// What a process tells the registry about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    name: String,
    version: String,
}

impl ProcessInfo {
    /// A server's name and version, for people; cut to 200 characters.
    ///
    /// ```
    /// let info = govstore::ProcessInfo::new("my-server", env!("CARGO_PKG_VERSION"));
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        let cut = |text: String| text.chars().take(NAME_MAX_CHARS).collect::<String>();
        let name = cut(name.into());
        Self { name: if name.is_empty() { "unnamed".to_owned() } else { name }, version: cut(version.into()) }
    }
}

/// This process's place in the registry, until it is dropped.
///
/// Made by [`Store::register`]. Dropping it deregisters the process and releases its locks. A child that was
/// forked from the process that registered has no part in it: its calls fail with [`Error::Forked`], and
/// dropping it there changes nothing.
#[must_use = "dropping it deregisters the process"]
pub struct Registration {
    store: Store,
    pacemaker: Mutex<Option<Pacemaker>>,
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
    /// all of them are in use;
    /// [`Error::AlreadyRegistered`]; [`Error::CannotIdentify`] where the system doesn't say who this process
    /// is.
    pub fn register(&self, info: ProcessInfo) -> Result<Registration> {
        self.refuse_after_fork()?;
        let _registering = lock(&self.member().registering);
        if let Some(process_id) = self.member().process_id() {
            return Err(Error::AlreadyRegistered { process_id });
        }
        let system = record::native()?;
        let who = Arc::new(Who { info, here: system.here().clone(), parent: system.parent() });

        // Whether the others live is looked up before the transaction, and counts inside it.
        let scene = reaper::Scene::look(self, &system)?;
        let memory = self.member().memory().clone();
        let process_id = self.write(|tx| {
            let settings = settings::read(tx)?;
            replace_predecessor(tx, &who.here)?;
            if settings.limit_policy != LimitPolicy::Spare {
                refuse_if_full(tx, &settings, &scene, &system, &memory)?;
            }
            let process_id = enrol(tx, &who)?;
            crash_point::reach("during the registration");
            let interval_ms = heartbeat::interval_ms(&settings);
            let late_after_ms = heartbeat::late_after_ms(&settings);
            heartbeat::write(tx, process_id, &who.here.boot_id, interval_ms, late_after_ms)?;
            forget_old(tx, process_id)?;
            Ok(process_id)
        })?;
        self.member().enrol(process_id, who);
        Ok(Registration { store: self.clone(), pacemaker: Mutex::new(None) })
    }
}

impl Registration {
    /// This process's number in the registry. It changes if its row was lost and it had to register again.
    #[must_use]
    pub fn process_id(&self) -> i64 {
        self.store.member().process_id().unwrap_or_default()
    }

    /// Starts a thread that beats every `heartbeat_interval_s`, until the registration is dropped. Calling it
    /// again changes nothing.
    ///
    /// Once a beat finds that this process must exit, [`Registration::must_exit`] says so, and the thread
    /// ends. A server with a runtime of its own may call [`Registration::beat`] from a task instead, so that a
    /// hung server stops beating.
    pub fn start_heartbeat(&self) -> Result<()> {
        self.store.refuse_after_fork()?;
        let mut pacemaker = lock(&self.pacemaker);
        if pacemaker.is_none() {
            *pacemaker = Some(Pacemaker::start(self.store.clone(), self.heartbeat_interval()?)?);
        }
        Ok(())
    }

    /// Beats once: says that this process lives. Every update does so too.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`], [`Error::LockTimeout`], [`Error::DiskFull`], [`Error::Displaced`].
    pub fn beat(&self) -> Result<Beat> {
        Ok(self.store.beat(false)?.map_or(Beat::Alive, |pulse| pulse.beat()))
    }

    /// Beats once, and says that the client used this process. Every update does so too.
    ///
    /// # Errors
    ///
    /// As [`Registration::beat`].
    pub fn record_activity(&self) -> Result<Beat> {
        Ok(self.store.beat(true)?.map_or(Beat::Alive, |pulse| pulse.beat()))
    }

    /// How long to wait before the next [`beat`](Registration::beat), by the settings as they are now.
    pub fn heartbeat_interval(&self) -> Result<Duration> {
        let settings = self.store.settings()?;
        Ok(Duration::from_millis(heartbeat::interval_ms(&settings).unsigned_abs()))
    }

    /// Whether a beat or an update has found that this process must exit: a reaper claimed it, the database was
    /// moved, deleted or replaced ([`Error::Displaced`]) and nobody sees this process any more, or a commit is in
    /// doubt ([`Error::CommitInDoubt`]) and it writes nothing more.
    #[must_use]
    pub fn must_exit(&self) -> bool {
        self.store.member().must_exit()
    }

    /// Whether the client that started this process is gone, so that nobody can use it any more.
    #[must_use]
    pub fn is_parent_gone(&self) -> bool {
        self.store.refuse_after_fork().is_ok()
            && self.store.member().enrolled().is_some_and(|enrolled| enrolled.who.is_parent_gone())
    }

    /// Why the last work in the background failed, a heartbeat or a scan for dead processes; `None` if it
    /// didn't. Both are tried again.
    #[must_use]
    pub fn background_error(&self) -> Option<String> {
        self.store.member().background_error()
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
        drop(lock(&self.pacemaker).take());
        match self.store.member().leave() {
            Some(left) => self.store.write_within(patience, |tx| deregister(tx, &left.who.here)),
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
fn refuse_if_full(
    tx: &WriteTx<'_>,
    settings: &Settings,
    scene: &reaper::Scene,
    system: &dyn System,
    memory: &reaper::Memory,
) -> TxResult<()> {
    let now = Now::read(system);
    let plan = scene.plan(&record::registered(tx, &now)?, now.monotonic_ms, settings, memory, 1);
    let occupants: Vec<_> = plan.occupants().cloned().collect();
    if occupants.len() < settings.max_processes as usize {
        return Ok(());
    }
    Err(Error::TooManyProcesses { limit: settings.max_processes, occupants }.into())
}

/// Ends the row of whoever this process was before: it replaced itself (exec), or registers through another
/// store.
fn replace_predecessor(tx: &WriteTx<'_>, here: &Here) -> TxResult<()> {
    while let Some(process_id) = find(tx, here, "terminating")?.or(find(tx, here, "running")?) {
        end(tx, process_id, "ended")?;
    }
    Ok(())
}

/// The registered row of this very process, if it has one.
fn find(conn: &Connection, here: &Here, state: &str) -> TxResult<Option<i64>> {
    Ok(conn
        .prepare_cached(
            "SELECT process_id FROM processes
             WHERE pid = :pid AND start_ticks = :start_ticks AND boot_id = :boot_id
               AND coalesce(pid_namespace, 0) = coalesce(:pid_namespace, 0)
               AND state IN ('running', 'terminating') AND state = :state",
        )?
        .query_row(
            named_params! {
                ":pid": here.pid,
                ":start_ticks": here.start_ticks,
                ":boot_id": here.boot_id,
                ":pid_namespace": here.pid_namespace,
                ":state": state,
            },
            |row| row.get(0),
        )
        .optional()?)
}

/// Registers a process whose row has vanished, whatever the limit: it lives. Another thread of it may have
/// done so just before.
pub(super) fn enrol_again(tx: &WriteTx<'_>, who: &Who) -> TxResult<i64> {
    match find(tx, &who.here, "running")? {
        Some(process_id) => Ok(process_id),
        None => enrol(tx, who),
    }
}

fn enrol(tx: &WriteTx<'_>, who: &Who) -> TxResult<i64> {
    let Who { info, here, parent } = who;
    let mut statement = tx.prepare_cached(
        "INSERT INTO processes (
           name, version, pid, host_id, boot_id, pid_namespace, time_namespace, start_ticks, parent_pid,
           parent_start_ticks, uid, registered_at, last_activity_monotonic_ms
         ) VALUES (
           :name, :version, :pid, :host_id, :boot_id, :pid_namespace, :time_namespace, :start_ticks, :parent_pid,
           :parent_start_ticks, :uid, :now, :now_ms
         )",
    )?;
    Ok(statement.insert(named_params! {
        ":name": info.name,
        ":version": info.version,
        ":pid": here.pid,
        ":host_id": here.host_id,
        ":boot_id": here.boot_id,
        ":pid_namespace": here.pid_namespace,
        ":time_namespace": here.time_namespace,
        ":start_ticks": here.start_ticks,
        ":parent_pid": parent.map(|parent| parent.pid),
        ":parent_start_ticks": parent.map(|parent| parent.start_ticks),
        ":uid": here.uid,
        ":now": tx.at_text,
        ":now_ms": clock::monotonic_ms(),
    })?)
}

/// Ends this process's registration. A row that a reaper has claimed stays the reaper's to end.
fn deregister(tx: &WriteTx<'_>, here: &Here) -> TxResult<()> {
    if let Some(process_id) = find(tx, here, "running")? {
        end(tx, process_id, "ended")?;
    }
    if let Some(process_id) = find(tx, here, "terminating")? {
        agent::release_locks(tx, process_id)?;
    }
    Ok(())
}

/// Ends a registration: how, and its heartbeat and locks go. Says nothing to one that has ended already.
pub(super) fn end(tx: &WriteTx<'_>, process_id: i64, state: &str) -> TxResult<()> {
    tx.prepare_cached(
        "UPDATE processes SET
           state = :state, ended_at = :now,
           claim_verdict = NULL, claim_evidence = NULL, claimed_at = NULL, claimed_by_pid = NULL, claimed_by_pid_namespace = NULL,
           claimed_by_start_ticks = NULL, claim_until_monotonic_ms = NULL
         WHERE process_id = :process_id AND state IN ('running', 'terminating')",
    )?
    .execute(named_params! { ":process_id": process_id, ":state": state, ":now": tx.at_text })?;
    tx.prepare_cached("DELETE FROM heartbeats WHERE process_id = :process_id")?
        .execute(named_params! { ":process_id": process_id })?;
    agent::release_locks(tx, process_id)
}

/// Ends all registrations, and all locks with them: those of a database that is of another time.
pub(crate) fn forget_all(tx: &WriteTx<'_>) -> TxResult<()> {
    let mut statement = tx.prepare_cached(
        "SELECT process_id FROM processes WHERE state IN ('running', 'terminating')
         UNION
         SELECT process_id FROM agent_locks WHERE process_id IS NOT NULL",
    )?;
    let processes: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    processes.into_iter().try_for_each(|process_id| end(tx, process_id, "forgotten"))
}

/// Removes ended processes that registered long before the newest, so that the file doesn't grow for ever.
fn forget_old(tx: &WriteTx<'_>, newest: i64) -> TxResult<()> {
    tx.prepare_cached(
        "DELETE FROM processes
         WHERE process_id <= :newest - :kept AND state NOT IN ('running', 'terminating')",
    )?
    .execute(named_params! { ":newest": newest, ":kept": ENDED_KEPT })?;
    Ok(())
}
