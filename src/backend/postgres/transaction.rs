//! What statements run on: a session, which reads, or is inside a write transaction.
//!
//! A transaction begins with its first statement, in the same round trip. Its writes are held back, and go out before
//! the next read or with the COMMIT, all at once. So an update takes two round trips.
//!
//! What a write transaction reads, it locks, where a rule rests on it: an agent's row, this process's row, the registry
//! of this host. The isolation is READ COMMITTED, so a statement that has waited for a lock may have looked at other
//! tables before: the lock and the look are two statements, sent together.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use tokio_postgres::Row;

use super::failure::{Failure, of_fault};
use super::link::{Answer, Link, Step};
use super::value::{Columns, Statement, statement};
use crate::backend::deadline::Deadline;
use crate::backend::statements::{Fault, Isolation, Reader, Transaction, TxResult};
use crate::error::Error;
use crate::model::Timestamp;
use crate::os::lock;

/// How long the server lets a transaction stay open between two statements: what a stopped or vanished client holds is
/// free again after it.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(5);

/// The two numbers of the advisory lock under which processes register and are judged. Its second number is the hash of
/// the host.
pub(super) const REGISTRY_LOCK: i64 = 1_735_357_300;

/// How long a process may let pass between two heartbeats: they renew the lease of its host.
pub(crate) const LONGEST_INTERVAL: Duration = Duration::from_secs(10);

/// By what a transaction is found again whose COMMIT was not answered.
#[derive(Debug, Clone)]
pub(super) struct Proof {
    /// A random number that the transaction wrote.
    pub receipt: i64,
    /// The update that has it; without one, `receipts` has it.
    pub update: Option<(String, i64)>,
}

/// What a transaction needs of its database.
#[derive(Clone, Copy)]
pub(super) struct Own<'l> {
    pub address: &'l Path,
    pub host_key: &'l str,
    pub host_name: &'l str,
    pub last_beat: &'l LastBeat,
}

/// The last heartbeat of this process that was committed.
#[derive(Default)]
pub(super) struct LastBeat(Mutex<Option<Beaten>>);

#[derive(Clone, Copy)]
struct Beaten {
    process_id: i64,
    at_ms: i64,
    interval_ms: i64,
}

/// An update writes a heartbeat only if the last one is older. Else the row would be a lock among the threads of this
/// process.
const BEAT_AFTER_MS: i64 = 1_000;

/// A connection in hand, for one read of which one statement sees one snapshot, or for one write transaction.
pub(super) struct Session<'l> {
    link: &'l Link,
    wait: &'l Deadline,
    own: Own<'l>,
    /// Whether it is a write transaction, which locks what it looks at.
    writes: bool,
    has_begun: Cell<bool>,
    is_over: Cell<bool>,
    /// Why nothing of it can be committed any more, if so.
    aborted: RefCell<Option<Failure>>,
    held_back: RefCell<Vec<Statement>>,
    /// The state of an agent that is held back: whose, after which update, and at which place.
    state: RefCell<Option<(String, i64, usize)>>,
    changes: Cell<u64>,
    at: Cell<Option<Timestamp>>,
    /// The registered process that writes. It gets another id if its row had vanished.
    process_id: Cell<Option<i64>>,
    has_registry: Cell<bool>,
    /// Whether it is an update, with which a heartbeat comes only if the last one is not fresh.
    is_update: Cell<bool>,
    /// The heartbeat that it writes.
    beat: Cell<Option<Beaten>>,
    /// The agent whose row was asked for last: whom a wait in vain was for.
    asked_for: RefCell<Option<String>>,
    proof: RefCell<Proof>,
}

impl<'l> Session<'l> {
    /// For a read.
    pub fn reading(link: &'l Link, wait: &'l Deadline, own: Own<'l>) -> Self {
        let mut session = Self::writing(link, wait, own, None, 0);
        session.writes = false;
        session
    }

    /// For a write transaction.
    pub fn writing(
        link: &'l Link,
        wait: &'l Deadline,
        own: Own<'l>,
        process_id: Option<i64>,
        receipt: i64,
    ) -> Self {
        Self {
            link,
            wait,
            own,
            writes: true,
            has_begun: Cell::new(false),
            is_over: Cell::new(false),
            aborted: RefCell::default(),
            held_back: RefCell::default(),
            state: RefCell::default(),
            changes: Cell::new(0),
            at: Cell::new(None),
            process_id: Cell::new(process_id),
            has_registry: Cell::new(false),
            is_update: Cell::new(false),
            beat: Cell::new(None),
            asked_for: RefCell::default(),
            proof: RefCell::new(Proof { receipt, update: None }),
        }
    }

    /// Sends what was held back, and these; returns the answers of these.
    fn run(&self, steps: Vec<Step>, limit: Option<Duration>) -> TxResult<Vec<Answer>> {
        if let Some(failure) = &*self.aborted.borrow() {
            return Err(failure.clone().into());
        }
        let wanted = steps.len();
        let begin = (self.writes && !self.has_begun.replace(true)).then(|| Step::Batch(self.begin().into()));
        let held_back = self.held_back.take().into_iter().map(Step::Change);
        let all: Vec<Step> = begin.into_iter().chain(held_back).chain(steps).collect();
        let answers = match limit {
            None => self.link.run(all, self.wait),
            Some(limit) => self.link.run_uncancelled(all, limit),
        };
        match answers {
            Ok(mut answers) => Ok(answers.split_off(answers.len() - wanted)),
            Err(failure) => {
                if self.writes {
                    *self.aborted.borrow_mut() = Some(failure.clone());
                }
                Err(failure.into())
            }
        }
    }

    fn begin(&self) -> String {
        let lock_timeout = self.wait.remaining().as_millis().clamp(1, 86_400_000);
        // SET LOCAL: behind a pooler, a plain SET would be everybody's.
        let mut begin = format!("BEGIN; SET LOCAL lock_timeout = {lock_timeout}");
        if !self.link.is_direct {
            let idle = IDLE_LIMIT.as_millis(); // a session of our own was told when it began
            let _ = write!(begin, "; SET LOCAL idle_in_transaction_session_timeout = {idle}");
        }
        begin
    }

    /// A write whose outcome no rule looks at: it goes out with the next statement.
    pub fn hold_back(&self, statement: Statement) {
        self.count_change();
        self.held_back.borrow_mut().push(statement);
    }

    /// The same for the state of an agent after an update, whose row of the history may come along.
    pub fn hold_back_state(&self, agent_id: &str, update_no: i64, statement: Statement) {
        self.hold_back(statement);
        let place = self.held_back.borrow().len();
        *self.state.borrow_mut() = Some((agent_id.to_owned(), update_no, place));
    }

    /// Takes back the state that was held back last, if it is of this update.
    pub fn take_state(&self, agent_id: &str, update_no: i64) -> bool {
        let mut held_back = self.held_back.borrow_mut();
        let is_it = self.state.take().is_some_and(|(of, after, place)| {
            of == agent_id && after == update_no && place == held_back.len()
        });
        is_it && held_back.pop().is_some()
    }

    /// A write; how many rows it changed.
    pub fn change(&self, statement: Statement) -> TxResult<u64> {
        self.count_change();
        let answers = self.run(vec![Step::Change(statement)], None)?;
        Ok(answers.first().map_or(0, |answer| answer.changed))
    }

    /// A write that returns rows.
    pub fn change_returning_rows(&self, statement: Statement) -> TxResult<Vec<Row>> {
        self.count_change();
        let mut answers = self.run(vec![Step::Rows(statement)], None)?;
        Ok(answers.pop().unwrap_or_default().rows)
    }

    /// A write that returns a row.
    pub fn change_returning(&self, statement: Statement) -> TxResult<Row> {
        let row = self.change_returning_rows(statement)?.into_iter().next();
        row.ok_or_else(|| Failure::Lost("a row is missing in the answer".to_owned()).into())
    }

    fn count_change(&self) {
        self.changes.set(self.changes.get() + 1);
    }

    /// Which history the server goes on with.
    pub fn timeline(&self) -> u32 {
        self.link.timeline
    }

    /// The name of this machine, for people.
    pub fn host_name(&self) -> &str {
        self.own.host_name
    }

    /// Whether a heartbeat of now is to be written.
    pub fn is_beat_due(&self, process_id: i64, now_ms: i64) -> bool {
        let last = *lock(&self.own.last_beat.0);
        let is_fresh = |last: Beaten| {
            last.process_id == process_id
                && (0..BEAT_AFTER_MS.min(last.interval_ms / 2)).contains(&now_ms.saturating_sub(last.at_ms))
        };
        !(self.is_update.get() && last.is_some_and(is_fresh))
    }

    /// Takes note of a heartbeat that comes with this transaction.
    pub fn note_beat(&self, process_id: i64, at_ms: i64, interval_ms: i64) {
        self.beat.set(Some(Beaten { process_id, at_ms, interval_ms }));
    }

    /// The number that the row of an update has by which it is found again.
    pub fn receipt_of(&self, agent_id: &str, update_no: i64) -> i64 {
        let mut proof = self.proof.borrow_mut();
        // An agent's first: while it is under way, its agent is not there either, and can't be waited for.
        if update_no > 1 {
            proof.update.get_or_insert_with(|| (agent_id.to_owned(), update_no));
        }
        proof.receipt
    }

    /// The agent that it waited for in vain, if it was for one.
    pub fn asked_for(&self) -> Option<String> {
        self.asked_for.borrow().clone()
    }

    /// Commits. `Err` with a proof: it may have been kept or not.
    pub fn commit(self, patience: Duration) -> Result<(), (Failure, Option<Proof>)> {
        self.is_over.set(true);
        if let Some(failure) = self.aborted.take() {
            self.roll_back();
            return Err((failure, None));
        }
        let has_changes = self.changes.get() > 0;
        if self.has_begun.get() && !self.link.is_sound() {
            let reason = "the server has ended the session before the commit was sent".to_owned();
            return Err((Failure::Lost(reason), None));
        }
        if !self.has_begun.get() && !has_changes {
            return Ok(());
        }
        let proof = self.proof.borrow().clone();
        if has_changes && proof.update.is_none() {
            let sql = "INSERT INTO receipts (receipt, written_at) VALUES ($1, clock_timestamp())";
            self.held_back.borrow_mut().push(statement!(sql, proof.receipt));
        }
        self.link.take_warning();
        match self.run(vec![Step::batch("COMMIT")], Some(patience)) {
            Ok(_) if has_changes && self.link.take_warning() => {
                let reason = "the server gave up waiting for its synchronous standby".to_owned();
                Err((Failure::Lost(reason), Some(proof)))
            }
            Ok(_) => {
                if let Some(beat) = self.beat.get() {
                    *lock(&self.own.last_beat.0) = Some(beat);
                }
                Ok(())
            }
            Err(fault) => {
                let failure = of_fault(&fault).cloned();
                let failure = failure.unwrap_or_else(|| Failure::Lost("the commit failed".to_owned()));
                let is_in_doubt = has_changes && failure.leaves_doubt();
                if !is_in_doubt {
                    self.roll_back();
                }
                Err((failure, is_in_doubt.then_some(proof)))
            }
        }
    }

    fn roll_back(&self) {
        if self.has_begun.get() && self.link.is_sound() {
            self.link.send("ROLLBACK");
        }
    }

    /// What a fault in a part of the transaction means to its caller.
    fn explain(&self, fault: Fault) -> Error {
        match of_fault(&fault).cloned() {
            Some(failure) => failure.explain(self.own.address, self.wait.waited()),
            None => match fault {
                Fault::Refused(error) => error,
                Fault::Failed(reason) | Fault::InDoubt(reason) => {
                    Failure::Lost(reason.to_string()).explain(self.own.address, self.wait.waited())
                }
            },
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if !self.is_over.get() {
            self.roll_back();
        }
    }
}

/// Reading, and what is locked for it in a transaction.
impl Session<'_> {
    /// The rows of a statement. `locks` run before it, in the same round trip.
    pub fn rows_after(&self, locks: Vec<Statement>, wanted: Statement) -> TxResult<Vec<Row>> {
        Ok(self.all_rows_after(locks, vec![wanted])?.pop().unwrap_or_default())
    }

    /// The rows of each of some statements, likewise.
    pub fn all_rows_after(&self, locks: Vec<Statement>, wanted: Vec<Statement>) -> TxResult<Vec<Vec<Row>>> {
        let locking = locks.len();
        let steps = locks.into_iter().chain(wanted).map(Step::Rows).collect();
        let answers = self.run(steps, None)?;
        Ok(answers.into_iter().skip(locking).map(|answer| answer.rows).collect())
    }

    pub fn rows(&self, wanted: Statement) -> TxResult<Vec<Row>> {
        self.rows_after(Vec::new(), wanted)
    }

    pub fn row_or_none(&self, wanted: Statement) -> TxResult<Option<Row>> {
        Ok(self.rows(wanted)?.into_iter().next())
    }

    pub fn one_row(&self, wanted: Statement) -> TxResult<Row> {
        let row = self.row_or_none(wanted)?;
        row.ok_or_else(|| Failure::Lost("a row is missing in the answer".to_owned()).into())
    }

    /// Where the database is, without a password.
    pub fn address(&self) -> &Path {
        self.own.address
    }

    /// The host that this process runs on, as `hosts` names it.
    pub fn host_key(&self) -> &str {
        self.own.host_key
    }

    /// What is read next is for an update.
    pub fn begins_update(&self) {
        self.is_update.set(true);
    }

    /// Takes note of the server's time, if it is the first in this transaction.
    pub fn note_now(&self, now: Timestamp) {
        if self.at.get().is_none() {
            self.at.set(Some(now));
        }
    }

    /// What a rule locks that looks at an agent in order to write.
    pub fn agent_locks(&self, agent_id: &str) -> Vec<Statement> {
        if !self.writes {
            return Vec::new();
        }
        *self.asked_for.borrow_mut() = Some(agent_id.to_owned());
        vec![statement!("SELECT FROM agents WHERE agent_id = $1 FOR NO KEY UPDATE", agent_id)]
    }

    /// What a rule locks that looks at a process in order to write.
    pub fn process_locks(&self, process_id: i64) -> Vec<Statement> {
        if !self.writes {
            return Vec::new();
        }
        vec![
            statement!("SELECT FROM processes WHERE process_id = $1 FOR NO KEY UPDATE", process_id),
            statement!("SELECT FROM heartbeats WHERE process_id = $1 FOR NO KEY UPDATE", process_id),
        ]
    }

    /// What a rule locks that looks at the registered processes of this host in order to write.
    pub fn registry_locks(&self) -> Vec<Statement> {
        if !self.writes || self.has_registry.replace(true) {
            return Vec::new();
        }
        vec![
            statement!(
                "SELECT pg_advisory_xact_lock($1::integer, hashtext($2))",
                REGISTRY_LOCK,
                self.own.host_key
            ),
            statement!(
                "SELECT FROM processes WHERE boot_id = $1 AND state IN ('running', 'terminating')
                 ORDER BY process_id FOR NO KEY UPDATE",
                boot_of(self.own.host_key)
            ),
        ]
    }
}

/// The boot in a host's key.
fn boot_of(host_key: &str) -> &str {
    host_key.rsplit_once('/').map_or(host_key, |(_, boot_id)| boot_id)
}

impl Reader for Session<'_> {}

impl Transaction for Session<'_> {
    /// By the server's clock, once the first lock is there.
    fn at(&self) -> Timestamp {
        if let Some(at) = self.at.get() {
            return at;
        }
        let asked = self.one_row(statement!("SELECT clock_timestamp()"));
        // A failure here is one of the whole transaction, which its commit reports.
        let at = asked.and_then(|row| row.time(0)).unwrap_or_else(|_| Timestamp::now());
        self.at.set(Some(at));
        at
    }

    fn process_id(&self) -> Option<i64> {
        self.process_id.get()
    }

    fn set_process_id(&self, process_id: i64) {
        self.process_id.set(Some(process_id));
    }

    fn nested(
        &self,
        isolation: Isolation,
        body: &mut dyn FnMut() -> TxResult<()>,
    ) -> TxResult<Result<(), Error>> {
        let is_bare = isolation == Isolation::Bare;
        let before = self.changes.get();
        let proof = self.proof.borrow().clone();
        if !is_bare {
            self.run(vec![Step::batch("SAVEPOINT nested")], None)?;
        }
        // A panic of one part must not undo what the others did; it goes on once that is safe.
        let ended = catch_unwind(AssertUnwindSafe(|| {
            body()?;
            if is_bare { Ok(()) } else { self.run(vec![Step::batch("RELEASE nested")], None).map(drop) }
        }));
        if matches!(ended, Ok(Ok(()))) {
            return Ok(Ok(()));
        }
        let refused = self.aborted.borrow().as_ref().is_some_and(|failure| !failure.breaks_connection());
        let is_lost = self.aborted.borrow().is_some() && (is_bare || !refused);
        if !is_bare && !is_lost {
            self.held_back.borrow_mut().clear();
            *self.aborted.borrow_mut() = None;
            *self.proof.borrow_mut() = proof; // an update that is undone proves nothing
            self.run(vec![Step::batch("ROLLBACK TO nested; RELEASE nested")], None)?;
        }
        let costs_all = is_lost || is_bare && self.changes.get() != before;
        match ended {
            Ok(Ok(())) => Ok(Ok(())),
            Ok(Err(fault)) if costs_all => Err(fault),
            Ok(Err(fault)) => Ok(Err(self.explain(fault))),
            // It runs again in a savepoint, and the panic goes on from there.
            Err(_) if costs_all => Err(Failure::Lost("a part of the transaction panicked".to_owned()).into()),
            Err(panic) => resume_unwind(panic),
        }
    }

    fn longest_interval_ms(&self) -> i64 {
        i64::try_from(LONGEST_INTERVAL.as_millis()).unwrap_or(i64::MAX)
    }

    fn changes(&self) -> u64 {
        self.changes.get()
    }
}
