//! An open database: its connections, its doors, and what becomes of a commit that was not answered.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::connect::{Connector, Notice};
use super::failure::{Failure, of_fault};
use super::holder;
use super::link::{Link, Step};
use super::transaction::{LastBeat, Own, Proof, Session};
use super::value::statement;
use crate::backend::deadline::{Deadline, random_between};
use crate::backend::pause::Section;
use crate::backend::statements::{Fault, Reader, Transaction, TxResult};
use crate::error::{Error, Result};
use crate::os::{NamedFile, lock};

/// Between two tries of a transaction that was lost to another one, or to a server that is not there.
const RETRY_AFTER_US: std::ops::Range<u64> = 2_000..20_000;
const RETRY_LOST_AFTER_US: std::ops::Range<u64> = 50_000..150_000;

/// How often a transaction runs again because a row was there that it wanted to insert. When it looks again it finds the
/// row; one that it does not find was written by hand.
const MOST_RACES: u32 = 3;

/// How long a connection may be idle before a read asks whether it is still there. A read runs once; a write runs again if
/// the server says that the connection is gone, and has to ask only where nobody may say it: a router that has forgotten
/// the connection, a machine that has slept.
const READ_ASKS_AFTER: Duration = Duration::from_millis(500);
const WRITE_ASKS_AFTER: Duration = Duration::from_secs(2);

/// How long an answer to that may take, and which part of a call's time.
const ANSWER_TO_ASKING: Duration = Duration::from_secs(1);
const PART_FOR_ASKING: u32 = 4;

/// A call that is over its time by less than this still finds out what became of its commit.
const SETTLED_WHILE_OVERDUE: Duration = Duration::from_millis(100);

/// How long a snapshot may stand between two reads.
const SNAPSHOT_IDLE_LIMIT: Duration = Duration::from_mins(10);

/// The shortest patience: a commit may have to wait for a standby, and an answer takes a moment.
const LEAST_PATIENCE: Duration = Duration::from_millis(50);

/// A database that this process has open.
pub(crate) struct Database {
    /// For people, without a password.
    address: PathBuf,
    host: Host,
    links: Mutex<Links>,
    came_back: Condvar,
    max_links: usize,
    /// The newest timeline that was seen: an older one is of a server that was replaced.
    timeline: AtomicU32,
    /// Threads that are inside a write.
    writing: Mutex<Vec<ThreadId>>,
    last_beat: LastBeat,
    warning: OnceLock<&'static str>,
    /// By what others know that this process has the database open.
    mark: OnceLock<(String, NamedFile)>,
    opened_by: u32,
    connector: Connector, // last: its thread serves the links
}

/// The machine that this process runs on.
pub(super) struct Host {
    /// What stands for this boot of it.
    pub key: String,
    /// Its name, for people.
    pub name: String,
}

#[derive(Default)]
struct Links {
    /// With the time since when each is idle.
    idle: Vec<(Link, Instant)>,
    in_use: usize,
}

impl Database {
    pub(super) fn new(connector: Connector, host: Host, max_links: u32) -> Self {
        Self {
            address: connector.address().to_owned(),
            host,
            links: Mutex::default(),
            came_back: Condvar::new(),
            max_links: max_links.max(1) as usize,
            timeline: AtomicU32::new(0),
            writing: Mutex::default(),
            last_beat: LastBeat::default(),
            warning: OnceLock::new(),
            mark: OnceLock::new(),
            opened_by: std::process::id(),
            connector,
        }
    }

    /// Where it is, without a password.
    pub fn address(&self) -> &Path {
        &self.address
    }

    pub(super) fn warn(&self, of: &'static str) {
        self.warning.get_or_init(|| of);
    }

    /// Marks this process as one that has the database open, whose `id` is the same for whoever opens it.
    pub(super) fn mark_process(&self, id: &str) {
        self.mark.get_or_init(|| {
            let name = format!("govstore {id}");
            let file = NamedFile::new(&name);
            (name, file)
        });
    }

    /// By what a process is known that has the database open.
    pub fn mark(&self) -> &str {
        self.mark.get().map_or("", |(name, _)| name)
    }

    /// What was found when it was opened that its users should know.
    pub fn warning(&self) -> Option<&'static str> {
        self.warning.get().copied()
    }

    /// Reads with `body`. One statement sees one snapshot.
    pub fn read<T>(&self, wait: &Deadline, body: impl FnOnce(&dyn Reader) -> TxResult<T>) -> Result<T> {
        self.look(wait, |session| body(session))
    }

    /// The same, with the connection in hand.
    pub(super) fn look<T>(
        &self,
        wait: &Deadline,
        body: impl FnOnce(&Session<'_>) -> TxResult<T>,
    ) -> Result<T> {
        let link = self.checkout_to_read(wait)?;
        body(&Session::reading(&link, wait, self.own())).map_err(|fault| self.explain(fault, wait))
    }

    /// What is committed now, to be read by many statements while others write.
    pub fn snapshot(&self, wait: &Deadline) -> Result<Snapshot<'_>> {
        let link = self.checkout_to_read(wait)?;
        let idle = SNAPSHOT_IDLE_LIMIT.as_millis();
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = {idle};
             SELECT FROM settings"
        );
        let snapshot = Snapshot { database: self, link };
        let answered = snapshot.link.run(vec![Step::Batch(begin.into())], wait);
        answered.map_err(|failure| self.explain(failure.into(), wait))?;
        Ok(snapshot)
    }

    /// A connection whose server is there: a read runs once.
    fn checkout_to_read(&self, wait: &Deadline) -> Result<Lent<'_>> {
        self.refuse_after_fork()?;
        let link = self.checkout_living(None, READ_ASKS_AFTER, wait);
        link.map_err(|failure| self.explain(failure.into(), wait))
    }

    /// A connection of which an answer came a moment ago, if it was idle for so long.
    fn checkout_living(
        &self,
        name: Option<&str>,
        asks_after: Duration,
        wait: &Deadline,
    ) -> std::result::Result<Lent<'_>, Failure> {
        loop {
            let link = self.checkout(name, wait)?;
            if link.idle_for < asks_after {
                return Ok(link);
            }
            let patience = (wait.remaining() / PART_FOR_ASKING).clamp(LEAST_PATIENCE, ANSWER_TO_ASKING);
            if link.ask(patience) {
                return Ok(link);
            }
        }
    }

    /// Runs what sets the database up. It may run again, on another connection.
    pub(super) fn set_up(&self, wait: &Deadline, mut body: impl FnMut(&Link) -> TxResult<()>) -> Result<()> {
        loop {
            let done = self.checkout(None, wait).map_err(Fault::from).and_then(|link| body(&link));
            match done {
                Ok(()) => return Ok(()),
                Err(fault) => {
                    let is_worth_it = of_fault(&fault).is_some_and(Failure::is_worth_another_try);
                    if !is_worth_it || wait.remaining().is_zero() {
                        return Err(self.explain(fault, wait));
                    }
                    thread::sleep(random_between(RETRY_LOST_AFTER_US).min(wait.remaining()));
                }
            }
        }
    }

    /// Writes with `body` inside one transaction. An error or a panic in `body` rolls back. It runs again where the
    /// transaction was lost to another one, or to a connection that broke before COMMIT was sent.
    pub fn write<T>(
        &self,
        wait: &Deadline,
        writer: impl Fn() -> Option<i64>,
        mut body: impl FnMut(&dyn Transaction) -> TxResult<T>,
    ) -> Result<T> {
        self.refuse_after_fork()?;
        self.refuse_nested()?;
        let _section = Section::begin();
        let _inside = Inside::enter(&self.writing);
        let mut doubt = None;
        let mut races = 0;
        loop {
            let fault = match self.attempt(wait, &writer, &mut body, &mut doubt) {
                Ok(value) => return Ok(value),
                Err(fault) => fault,
            };
            let failure = of_fault(&fault);
            if failure.is_some_and(Failure::is_of_a_prepared_statement) {
                self.connector.note_pooler();
            }
            let may_be_raced = failure.is_some_and(Failure::may_be_raced);
            races += u32::from(may_be_raced);
            let is_worth_another_try =
                failure.is_some_and(Failure::is_worth_another_try) || may_be_raced && races <= MOST_RACES;
            if !is_worth_another_try || wait.remaining().is_zero() {
                // Its time is over, but if the server answers, what became of the commit is soon found out.
                if wait.overdue() < SETTLED_WHILE_OVERDUE
                    && let Some((proof, value)) = doubt.take()
                {
                    let moment = Deadline::within(Duration::ZERO);
                    let asked = self.checkout(None, &moment).map_err(Fault::from);
                    match asked.and_then(|link| self.was_kept(&link, &proof, &moment)) {
                        Ok(true) => return Ok(value),
                        Ok(false) => {}
                        Err(_) => doubt = Some((proof, value)),
                    }
                }
                return Err(match (doubt, failure) {
                    (Some(_), Some(failure)) => Error::Unsettled {
                        path: self.address.clone(),
                        waited: wait.waited(),
                        reason: failure.to_string(),
                    },
                    _ => self.explain(fault, wait),
                });
            }
            let pause = if failure.is_some_and(Failure::breaks_connection) {
                RETRY_LOST_AFTER_US
            } else {
                RETRY_AFTER_US
            };
            thread::sleep(random_between(pause).min(wait.remaining()));
        }
    }

    /// Runs the transaction once, after finding out what became of the one before, if that is in doubt.
    fn attempt<T>(
        &self,
        wait: &Deadline,
        writer: &impl Fn() -> Option<i64>,
        body: &mut impl FnMut(&dyn Transaction) -> TxResult<T>,
        doubt: &mut Option<(Proof, T)>,
    ) -> TxResult<T> {
        let process_id = writer();
        let link = self.checkout_living(Some(&self.name(process_id)), WRITE_ASKS_AFTER, wait)?;
        if let Some((proof, value)) = doubt.take() {
            match self.was_kept(&link, &proof, wait) {
                Ok(true) => return Ok(value),
                Ok(false) => {}
                Err(fault) => {
                    *doubt = Some((proof, value));
                    return Err(fault);
                }
            }
        }
        let tx = self.transaction(&link, wait, process_id);
        let value = match body(&tx) {
            Ok(value) => value,
            Err(fault) => {
                let asked_for = tx.asked_for();
                drop(tx);
                return Err(self.name_holder(fault, &link, asked_for.as_deref(), wait));
            }
        };
        match tx.commit(wait.remaining().max(LEAST_PATIENCE)) {
            Ok(()) => Ok(value),
            Err((failure, proof)) => {
                if let Some(proof) = proof {
                    link.give_up();
                    *doubt = Some((proof, value));
                    // Whatever it was: what became of it is to be found out.
                    return Err(Failure::Lost(failure.to_string()).into());
                }
                Err(failure.into())
            }
        }
    }

    fn transaction<'t>(&'t self, link: &'t Link, wait: &'t Deadline, process_id: Option<i64>) -> Session<'t> {
        Session::writing(link, wait, self.own(), process_id, random_receipt())
    }

    fn own(&self) -> Own<'_> {
        Own {
            address: &self.address,
            host_key: &self.host.key,
            host_name: &self.host.name,
            last_beat: &self.last_beat,
        }
    }

    /// Whether a transaction was kept whose COMMIT was not answered. While it is still under way, this waits for it: it
    /// has a lock on what is asked for. And where it is found, that is known to survive a failover only when a later
    /// commit was answered.
    fn was_kept(&self, link: &Link, proof: &Proof, wait: &Deadline) -> TxResult<bool> {
        let tx = self.transaction(link, wait, None);
        let is_there = if let Some((agent_id, update_no)) = &proof.update {
            let locks = tx.agent_locks(agent_id);
            let sql = "SELECT FROM agent_updates WHERE agent_id = $1 AND update_no = $2 AND receipt = $3";
            let looked_for = statement!(sql, agent_id.as_str(), *update_no, proof.receipt);
            !tx.rows_after(locks, looked_for)?.is_empty()
        } else {
            let sql = "INSERT INTO receipts (receipt, written_at) VALUES ($1, clock_timestamp())
                       ON CONFLICT DO NOTHING";
            tx.change(statement!(sql, proof.receipt))? == 0
        };
        if !is_there {
            return Ok(false); // `tx` rolls back
        }
        let sql = "DELETE FROM receipts WHERE written_at < clock_timestamp() - interval '1 day'";
        tx.hold_back(statement!(sql));
        match tx.commit(wait.remaining().max(LEAST_PATIENCE)) {
            Ok(()) => Ok(true),
            Err((failure, _)) => {
                link.give_up();
                Err(Failure::Lost(failure.to_string()).into())
            }
        }
    }

    /// How others see a write of this process, by its number in the registry.
    fn name(&self, process_id: Option<i64>) -> String {
        match process_id {
            Some(process_id) => format!("govstore:{process_id}"),
            None => format!("govstore pid {}", self.opened_by),
        }
    }

    /// A connection that nobody else uses, within the time that is left; for a write, one of this name.
    fn checkout(&self, name: Option<&str>, wait: &Deadline) -> std::result::Result<Lent<'_>, Failure> {
        let mut links = self.links();
        loop {
            while let Some((link, since)) = links.idle.pop() {
                let is_named = name.is_none_or(|name| link.name == name);
                if is_named && link.is_sound() && link.timeline >= self.timeline.load(Ordering::Acquire) {
                    links.in_use += 1;
                    return Ok(Lent { database: self, link: Some(link), idle_for: since.elapsed() });
                }
            }
            if links.in_use < self.max_links {
                links.in_use += 1;
                break;
            }
            let left = wait.remaining();
            if left.is_zero() {
                let is_cancelled = wait.is_cancelled();
                return Err(if is_cancelled {
                    Failure::Cancelled
                } else {
                    Failure::NoneFree(self.max_links)
                });
            }
            let waited = self.came_back.wait_timeout(links, left.min(Duration::from_millis(20)));
            links = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(links);
        let mut lent = Lent { database: self, link: None, idle_for: Duration::ZERO }; // gives its place back if it gets none
        let unnamed = || self.name(None);
        let link = self.connector.connect(&name.map_or_else(unnamed, str::to_owned), None, wait)?;
        let seen = self.timeline.fetch_max(link.timeline, Ordering::AcqRel);
        if link.timeline < seen {
            return Err(Failure::Replaced { found: link.timeline, seen });
        }
        lent.link = Some(link);
        Ok(lent)
    }

    /// A connection of its own, on which `on_notice` is called when somebody has written an event. `None` where a pooler
    /// would give it to others.
    pub(super) fn listen(&self, on_notice: &Notice, wait: &Deadline) -> Result<Option<Link>> {
        self.refuse_after_fork()?;
        let listening = (|| {
            let link = self.connector.connect(&self.name(None), Some(on_notice), wait)?;
            if !link.is_direct {
                return Ok(None);
            }
            link.run(vec![Step::batch("LISTEN govstore")], wait)?;
            Ok(Some(link))
        })();
        listening.map_err(|failure: Failure| self.explain(failure.into(), wait))
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        lock(&self.links)
    }

    /// [`Error::NestedWrite`] for a thread that is inside a write.
    pub fn refuse_nested(&self) -> Result<()> {
        let is_inside = lock(&self.writing).contains(&thread::current().id());
        if is_inside { Err(Error::NestedWrite) } else { Ok(()) }
    }

    /// [`Error::Forked`] in a child that was forked after the database was opened.
    pub fn refuse_after_fork(&self) -> Result<()> {
        let opened_by = self.opened_by;
        if std::process::id() == opened_by { Ok(()) } else { Err(Error::Forked { opened_by }) }
    }

    /// Says who holds what a statement has waited for in vain, as far as the server shows it.
    fn name_holder(&self, fault: Fault, link: &Link, agent_id: Option<&str>, wait: &Deadline) -> Fault {
        use tokio_postgres::error::SqlState;
        let has_waited =
            of_fault(&fault).is_some_and(|failure| failure.has_code(&SqlState::LOCK_NOT_AVAILABLE));
        if !has_waited {
            return fault;
        }
        let holder = agent_id.and_then(|agent_id| holder::of_agent_row(link, agent_id, &self.host.key));
        Error::LockTimeout { waited: wait.waited(), holder }.into()
    }

    /// Turns a fault into the error that tells a caller what to do.
    pub(super) fn explain(&self, fault: Fault, wait: &Deadline) -> Error {
        let failure = of_fault(&fault).cloned();
        match (failure, fault) {
            (Some(failure), _) => failure.explain(&self.address, wait.waited()),
            (None, Fault::Refused(error)) => error,
            (None, Fault::Failed(reason) | Fault::InDoubt(reason)) => {
                Failure::Lost(reason.to_string()).explain(&self.address, wait.waited())
            }
        }
    }
}

/// A connection in use. It goes back when it drops.
pub(super) struct Lent<'d> {
    database: &'d Database,
    /// `None` while it is being made.
    link: Option<Link>,
    idle_for: Duration,
}

impl std::ops::Deref for Lent<'_> {
    type Target = Link;

    fn deref(&self) -> &Link {
        self.link.as_ref().expect("it was made before it was lent")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let sound = self.link.take().filter(Link::is_sound);
        let mut links = self.database.links();
        links.in_use -= 1;
        links.idle.extend(sound.map(|link| (link, Instant::now())));
        self.database.came_back.notify_one();
    }
}

/// What was committed at one moment.
pub(crate) struct Snapshot<'d> {
    database: &'d Database,
    link: Lent<'d>,
}

impl Snapshot<'_> {
    pub fn read<T>(&self, wait: &Deadline, body: impl FnOnce(&dyn Reader) -> TxResult<T>) -> Result<T> {
        let database = self.database;
        body(&Session::reading(&self.link, wait, database.own()))
            .map_err(|fault| database.explain(fault, wait))
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        if self.link.is_sound() {
            self.link.send("ROLLBACK");
        }
    }
}

/// A thread that is inside a write.
struct Inside<'w>(&'w Mutex<Vec<ThreadId>>);

impl<'w> Inside<'w> {
    fn enter(writing: &'w Mutex<Vec<ThreadId>>) -> Self {
        lock(writing).push(thread::current().id());
        Self(writing)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let own = thread::current().id();
        lock(self.0).retain(|thread| *thread != own);
    }
}

/// A number that no other transaction has, so to speak.
fn random_receipt() -> i64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one((Instant::now(), thread::current().id(), std::process::id())).cast_signed()
}
