//! The port: every statement that a backend runs for the rules, one method each, in the words of the model.
//!
//! No SQL type is in a signature. Functions that decide something take `&dyn` [`Reader`] if they only look, and
//! `&dyn` [`Transaction`] if they write, and exist once for all backends. The statements of a noun are a trait of
//! their own, so that each backend has them in a file of their own; the two traits at the end put them together.
//!
//! What the writes of an update return no rule looks at: a backend may hold them back until the commit, and send
//! them all at once.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::governance::{Action, Assessment, State};
use crate::health::Health;
#[cfg(feature = "postgres")]
use crate::model::copy::{Cell, Row, Table};
use crate::model::{
    ActorKind, Agent, AgentEvent, AgentFilter, AgentLockInfo, AgentOrder, AgentRanking, AgentState,
    CallFigures, ClaimOnMe, Claimant, ClientInfo, EndedProcess, FleetHealth, HistoryRow, KeyedUpdate,
    KnownProcess, Lifecycle, LockRow, NewEvent, Now, OwnRow, Process, ProcessInfo, ProcessRecord,
    ProcessState, ReapEvent, Settings, SurplusHistory, Timestamp, ToolCalls, Verdict, WindowStatistics,
};
use crate::os::{Here, Parent};

/// Why the body of a read or a write gave up. The backend's door makes an [`Error`] of it.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A rule refused.
    Refused(Error),
    /// The backend failed, for a reason in its own words.
    Failed(Box<dyn std::error::Error + Send + Sync>),
    /// It failed at COMMIT, and what becomes of the transaction can't be known.
    InDoubt(Box<dyn std::error::Error + Send + Sync>),
}

pub(crate) type TxResult<T> = std::result::Result<T, Fault>;

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// How the parts of a transaction are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Not at all: a part that fails before it has changed a row harms no other; after that it costs the transaction.
    Bare,
    /// Each in a savepoint.
    Savepoints,
}

/// Everything that an update reads, by one statement.
pub(crate) struct Loaded {
    pub settings: Settings,
    /// The row of the process that writes; `None` if it is not registered, or no longer.
    pub process: Option<OwnRow>,
    pub agent: LoadedAgent,
}

/// The same, of its agent.
#[derive(Default)]
pub(crate) struct LoadedAgent {
    /// `None` if the agent is new.
    pub state: Option<AgentState>,
    /// Who has the agent locked.
    pub lock: Option<LockRow>,
    /// The agent's update that was made under the key, if its row is still there.
    pub keyed: Option<Box<KeyedUpdate>>,
}

pub(crate) trait SettingsReads {
    fn settings(&self) -> TxResult<Settings>;
}

pub(crate) trait SettingsWrites: SettingsReads {
    /// The settings, which nobody else changes until the transaction is over.
    fn settings_to_change(&self) -> TxResult<Settings> {
        self.settings() // where one transaction at a time writes
    }

    fn save_settings(&self, settings: &Settings) -> TxResult<()>;
}

pub(crate) trait AgentReads {
    /// What an update needs: the settings, the row of the process that writes, the agent, its lock, and what was done
    /// before under this key.
    fn load_for_update(&self, agent_id: &str, process_id: Option<i64>, key: Option<&str>)
    -> TxResult<Loaded>;

    /// The same for another update of a transaction, which knows the settings and the process by then.
    fn load_agent(&self, agent_id: &str, key: Option<&str>) -> TxResult<LoadedAgent> {
        Ok(self.load_for_update(agent_id, None, key)?.agent)
    }

    /// The agent's row, if it has one.
    fn agent(&self, agent_id: &str) -> TxResult<Option<Agent>>;

    /// Agents in the order of their ids.
    fn agents(&self, filter: &AgentFilter) -> TxResult<Vec<Agent>>;

    /// The first agents by an order, and how many the filter admits.
    fn first_agents(&self, order: AgentOrder, filter: &AgentFilter) -> TxResult<AgentRanking>;

    fn fleet_health(&self) -> TxResult<FleetHealth>;
}

pub(crate) trait AgentWrites {
    /// Takes the rows of agents that are about to be updated, in an order that is the same for everybody: so two groups
    /// that have the same agents in another order don't wait for each other. Where one transaction at a time writes there is
    /// nothing to do.
    fn lock_agents(&self, _agent_ids: &[&str]) -> TxResult<()> {
        Ok(())
    }

    /// Makes a new agent, active and in its initial state.
    fn insert_agent(&self, agent_id: &str, tags: &[&str]) -> TxResult<()>;

    /// Saves the state after the update of this number.
    fn save_state(
        &self,
        agent_id: &str,
        state: &State,
        assessment: &Assessment,
        update_no: i64,
    ) -> TxResult<()>;

    /// Saves tags, notes and attributes.
    fn save_edit(
        &self,
        agent_id: &str,
        tags: &[String],
        notes: &str,
        attributes: &Map<String, Value>,
    ) -> TxResult<()>;

    /// Sets the lifecycle status, its date, and who did it. Dates say since when, so those of a status that ended go; a deleted
    /// agent keeps the date it was archived at.
    fn set_lifecycle(&self, agent_id: &str, status: Lifecycle, by: ActorKind) -> TxResult<()>;

    /// Puts the state back to this one, before any update.
    fn reset_state(&self, agent_id: &str, state: &State) -> TxResult<()>;

    /// Inserts an agent as it was elsewhere.
    fn import_agent(&self, agent: &NewAgentRow<'_>) -> TxResult<()>;
}

/// An agent that comes from elsewhere with its figures.
pub(crate) struct NewAgentRow<'a> {
    pub agent_id: &'a str,
    pub lifecycle_status: Lifecycle,
    pub created_at: Timestamp,
    pub last_update_at: Option<Timestamp>,
    pub paused_at: Option<Timestamp>,
    pub archived_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    pub version: &'a str,
    pub state: &'a State,
    pub risk_score: Option<f64>,
    pub void_active: bool,
    pub total_updates: i64,
    pub last_decision: Option<Action>,
    pub tags: &'a [String],
    pub notes: &'a str,
}

pub(crate) trait HistoryReads {
    /// An agent's newest `last` updates before the one of this number, oldest of them first; all with `None`.
    fn history(&self, agent_id: &str, before: Option<i64>, last: Option<u32>) -> TxResult<Vec<HistoryRow>>;

    /// Figures over an agent's last `window` updates since its start or last reset. Updates with |V| over
    /// `void_limit` count as void.
    fn window_statistics(&self, agent_id: &str, window: i64, void_limit: f64) -> TxResult<WindowStatistics>;

    /// What of each agent's past goes by number and by age, without those of which nothing goes. The last `window`
    /// updates since the start or the last reset stay whatever their number; the newest update, the newest event and the
    /// newest event of its lifecycle stay in any case.
    fn surplus_history(
        &self,
        history_limit: Option<u64>,
        before: Option<Timestamp>,
        window: i64,
    ) -> TxResult<Vec<SurplusHistory>>;
}

/// What a retry of an update is answered by.
pub(crate) struct Receipt<'a> {
    /// The caller's name for the update.
    pub key: &'a str,
    /// What stands for its input.
    pub digest: u64,
}

pub(crate) trait HistoryWrites {
    fn append_update(
        &self,
        agent_id: &str,
        state: &State,
        assessment: &Assessment,
        health: &Health,
        update_no: i64,
        receipt: Option<&Receipt<'_>>,
    ) -> TxResult<()>;

    /// Inserts updates that were made elsewhere.
    fn import_updates(&self, agent_id: &str, rows: &[HistoryRow]) -> TxResult<()>;

    /// Removes an agent's oldest updates up to this number, at most `rows` of them; says how many.
    fn remove_updates(&self, agent_id: &str, up_to: i64, rows: i64) -> TxResult<u64>;
}

pub(crate) trait EventReads {
    /// An agent's events, oldest first.
    fn events(&self, agent_id: &str) -> TxResult<Vec<AgentEvent>>;

    /// Events of all agents after the event of this number, oldest first.
    fn events_after(&self, event_id: i64, limit: u32) -> TxResult<Vec<AgentEvent>>;

    /// The number after which come the newest `last` events.
    fn event_id_before_last(&self, last: u32) -> TxResult<i64>;
}

pub(crate) trait EventWrites {
    fn insert_event(&self, event: &NewEvent<'_>) -> TxResult<()>;

    /// Removes an agent's oldest events up to this number but for one, at most `rows` of them; says how many.
    fn remove_events(&self, agent_id: &str, up_to: i64, kept: i64, rows: i64) -> TxResult<u64>;
}

pub(crate) trait LockReads {
    /// Who has an agent locked.
    fn lock_of(&self, agent_id: &str) -> TxResult<Option<LockRow>>;

    /// The locks that are held, oldest first; of one agent, if one is named. What the holders are doing is not in
    /// the database.
    fn locks(&self, agent_id: Option<&str>) -> TxResult<Vec<AgentLockInfo>>;
}

pub(crate) trait LockWrites {
    /// Gives an agent's lock to a process, and returns its token: greater than that of every lock before.
    fn acquire_lock(&self, agent_id: &str, process_id: i64, reason: Option<&str>) -> TxResult<i64>;

    /// Releases one lock, unless it is somebody else's by now; says whether it was there to be released. Its row
    /// stays, since a token never comes twice.
    fn release_lock(&self, agent_id: &str, token: i64, process_id: i64) -> TxResult<bool>;

    /// Releases all locks of a process.
    fn release_locks_of(&self, process_id: i64) -> TxResult<()>;

    /// Notes that a process still needs its locks.
    fn renew_locks_of(&self, process_id: i64) -> TxResult<()>;
}

pub(crate) trait ProcessReads {
    /// Running and terminating processes, oldest first.
    fn registered_processes(&self, now: &Now<'_>) -> TxResult<Vec<ProcessRecord>>;

    /// One of those, by its number.
    fn registered_process(&self, process_id: i64, now: &Now<'_>) -> TxResult<Option<ProcessRecord>>;

    /// Running processes whose heartbeat is stale by the clock alone. A beat of another boot is.
    fn stale_processes(&self, stale_after_ms: i64, now: &Now<'_>) -> TxResult<Vec<ProcessRecord>>;

    /// Whether a process is being ended, or has lost its client and is unused for so long, or more than so many are
    /// running. Its cost does not grow with the processes that live.
    fn is_any_ending_orphaned_or_surplus(
        &self,
        unused_after_ms: i64,
        max_processes: Option<u32>,
        now_ms: i64,
    ) -> TxResult<bool>;

    /// The newest `last` processes that have ended, those that ended last first, without what the ledger says.
    fn ended_processes(&self, last: u32, now: &Now<'_>) -> TxResult<Vec<EndedProcess>>;

    /// The registered process with this identity, if any: a running one before one that is being ended. A PID of
    /// another PID namespace than `here` is compared with the rows of other namespaces.
    fn process_by_identity(
        &self,
        pid: u32,
        start_ticks: u64,
        here: &Here,
        of_this_namespace: bool,
    ) -> TxResult<Option<KnownProcess>>;

    /// What the row of a process says.
    fn own_row(&self, process_id: i64) -> TxResult<Option<OwnRow>>;

    /// When a process has last beaten.
    fn last_beat_ms(&self, process_id: i64) -> TxResult<Option<i64>>;

    /// Why a reaper has claimed a process.
    fn claim_on(&self, process_id: i64) -> TxResult<Option<ClaimOnMe>>;

    /// The processes that are registered, or have a lock.
    fn registered_or_locking(&self) -> TxResult<Vec<i64>>;

    /// Whether another machine has let its lease lapse, and its rows are still there. Only a database on a server has
    /// rows of several machines.
    fn has_lapsed_host(&self) -> TxResult<bool> {
        Ok(false)
    }
}

pub(crate) trait ProcessWrites {
    /// Inserts the row of a process, and returns its number.
    fn insert_process(
        &self,
        info: &ProcessInfo,
        here: &Here,
        parent: Option<&Parent>,
        now_ms: i64,
    ) -> TxResult<i64>;

    /// Notes that a running process was used, and whether its client is gone.
    fn note_activity(
        &self,
        process_id: i64,
        at: Timestamp,
        monotonic_ms: i64,
        parent_gone: bool,
    ) -> TxResult<()>;

    /// Notes which client a process serves.
    fn save_client(&self, process_id: i64, client: &ClientInfo) -> TxResult<()>;

    /// Notes whether the client of a process is gone.
    fn note_parent_gone(&self, process_id: i64, parent_gone: bool) -> TxResult<()>;

    /// Writes a heartbeat. One that comes later than `late_after_ms` is remembered as such.
    fn save_heartbeat(
        &self,
        process_id: i64,
        boot_id: &str,
        now_ms: i64,
        interval_ms: i64,
        late_after_ms: i64,
    ) -> TxResult<()>;

    /// Ends a registration, and the heartbeat goes. Says nothing to one that has ended already.
    fn end_process(&self, process_id: i64, state: ProcessState) -> TxResult<()>;

    /// Removes ended processes with numbers up to this one.
    fn forget_ended(&self, up_to: i64) -> TxResult<()>;

    /// Claims a process for a reaper that is about to end it.
    fn claim_process(
        &self,
        process_id: i64,
        verdict: Verdict,
        evidence: &str,
        by: &Claimant,
        until_monotonic_ms: i64,
    ) -> TxResult<()>;

    /// Lets go of a claim; `false` if it is somebody else's by now.
    fn release_claim(&self, process_id: i64, by: &Claimant, until_monotonic_ms: i64) -> TxResult<bool>;

    /// Puts off a claim that nobody pursues.
    fn defer_claim(&self, process_id: i64, until_monotonic_ms: i64) -> TxResult<()>;

    /// Says how a process ended that was found gone before; `false` if it wasn't.
    fn correct_end(&self, process_id: i64, state: ProcessState) -> TxResult<bool>;

    /// Frees the rows of one machine whose lease has lapsed, at most so many: its processes are forgotten, and the tokens
    /// of their locks raised, so that what they still write is refused. What was done is in the ledger. Nothing, where
    /// another process is at it.
    fn free_lapsed_host(&self, _rows: i64) -> TxResult<Vec<ReapEvent>> {
        Ok(Vec::new())
    }

    /// Notes for people that a process is doubted; whether that is new. It always writes something.
    fn note_suspicion(&self, process_id: i64, now_ms: i64) -> TxResult<bool>;
}

pub(crate) trait LedgerReads {
    /// The newest `last` entries, oldest of them first.
    fn reap_events(&self, last: u32) -> TxResult<Vec<ReapEvent>>;

    /// Entries after the one of this number, oldest first.
    fn reap_events_after(&self, reap_event_id: i64, limit: u32) -> TxResult<Vec<ReapEvent>>;

    /// The number up to which entries go by number and by age, and how many they are.
    fn surplus_reap_events(&self, kept: Option<u64>, before: Option<Timestamp>) -> TxResult<(i64, i64)>;

    /// How the registrations of processes from this number on came to their end, as far as a reaper had a part in
    /// it; by `process_id`.
    fn reaped_from(&self, first_process_id: i64) -> TxResult<HashMap<i64, ReapEvent>>;
}

pub(crate) trait LedgerWrites {
    /// Removes the oldest entries up to this number, at most `rows` of them; says how many.
    fn remove_reap_events(&self, up_to: i64, rows: i64) -> TxResult<u64>;

    /// Appends an entry about a process, and returns its number. All but the newest `kept` entries go.
    fn append_reap_event(&self, event: &ReapEvent, process: &Process, kept: i64) -> TxResult<i64>;
}

pub(crate) trait CallReads {
    /// The calls of tools since the hour of a moment, or since the first that is kept.
    fn tool_calls(&self, since: Option<Timestamp>) -> TxResult<Vec<ToolCalls>>;

    /// How many hours of the calls of tools go by number, of each tool, and by age.
    fn surplus_tool_calls(&self, kept: Option<u64>, before: Option<Timestamp>) -> TxResult<i64>;
}

pub(crate) trait CallWrites {
    /// Adds figures to those of the hour. Where a server has `most_tools` in it, those of others count under one name.
    fn add_calls(&self, server: &str, figures: &CallFigures, most_tools: u32, others: &str) -> TxResult<()>;

    /// Removes the oldest of them, at most `rows`; says how many.
    fn remove_tool_calls(&self, kept: Option<u64>, before: Option<Timestamp>, rows: i64) -> TxResult<u64>;
}

/// Rows as they are, for a copy of the database.
#[cfg(feature = "postgres")]
pub(crate) trait CopyReads {
    /// How many rows of a table are copied.
    fn count_rows(&self, table: &Table) -> TxResult<u64>;

    /// The first rows of a table whose keys come after one and not after another, in the order of their keys.
    fn rows_between(&self, table: &Table, after: &[Cell], up_to: &[Cell], limit: usize)
    -> TxResult<Vec<Row>>;

    /// The last number that a table has given to a row.
    fn last_number(&self, table: &Table) -> TxResult<i64>;

    /// Of which database this is a copy that is not finished. A file has another name until it is.
    fn unfinished_copy_of(&self) -> TxResult<Option<String>> {
        Ok(None)
    }
}

#[cfg(feature = "postgres")]
pub(crate) trait CopyWrites {
    /// Makes the rows between two keys these; where a table keeps its rows, the others stay.
    fn replace_rows(&self, table: &Table, after: &[Cell], up_to: &[Cell], rows: &[Row]) -> TxResult<()>;

    /// Notes what [`CopyReads::unfinished_copy_of`] says; with `None`, that it is finished.
    fn note_unfinished_copy_of(&self, _from: Option<&str>) -> TxResult<()> {
        Ok(())
    }

    /// Has a table give greater numbers from now on.
    fn raise_last_number(&self, table: &Table, number: i64) -> TxResult<()>;
}

// Without a second backend there is nothing to copy to.
#[cfg(not(feature = "postgres"))]
pub(crate) trait CopyReads {}
#[cfg(not(feature = "postgres"))]
impl<T: SettingsReads> CopyReads for T {}
#[cfg(not(feature = "postgres"))]
pub(crate) trait CopyWrites {}
#[cfg(not(feature = "postgres"))]
impl<T: SettingsWrites> CopyWrites for T {}

/// What can be looked at: a snapshot, or an open transaction.
pub(crate) trait Reader:
    SettingsReads
    + AgentReads
    + HistoryReads
    + EventReads
    + LockReads
    + ProcessReads
    + LedgerReads
    + CallReads
    + CopyReads
{
}

/// An open write transaction, which alone has the right to write.
pub(crate) trait Transaction:
    Reader
    + SettingsWrites
    + AgentWrites
    + HistoryWrites
    + EventWrites
    + LockWrites
    + ProcessWrites
    + LedgerWrites
    + CallWrites
    + CopyWrites
{
    /// When the transaction got the lock: the time of everything that it writes.
    fn at(&self) -> Timestamp;

    /// The registry id of the process that writes, if it is registered.
    fn process_id(&self) -> Option<i64>;

    /// From here on the transaction belongs to another row of this process.
    fn set_process_id(&self, process_id: i64);

    /// Runs `body`, of which nothing is kept if it fails, while the rest of the transaction goes on: the inner result.
    /// The outer one fails where the rest can't go on: see [`Isolation`].
    fn nested(
        &self,
        isolation: Isolation,
        body: &mut dyn FnMut() -> TxResult<()>,
    ) -> TxResult<Result<(), Error>>;

    /// The longest that a process may let pass between two heartbeats, whatever the settings say.
    fn longest_interval_ms(&self) -> i64 {
        i64::MAX
    }

    /// How many rows this transaction's connection has changed so far: it grows with each change.
    fn changes(&self) -> u64;
}
