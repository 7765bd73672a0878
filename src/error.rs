//! The one error type of the crate.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    AgentId, DatabaseUser, HolderState, InvalidAgentId, Lifecycle, LockHolder, OutOfReach, Process,
};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong, one variant for each thing that a caller can act on.
///
/// Every message is a sentence that says what happened and, where it isn't obvious, what to do, though not by which
/// command or option: a program adds its own words by the variant. [`Error::code`] names it. Whatever
/// the error, nothing of the refused operation was written, unless it says what was; but of
/// [`Error::CommitInDoubt`], where that can't be known. [`Error::is_in_doubt`] tells that one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no database file and the opener asked not to create one.
    #[error("there is no database at {}", path.display())]
    NoDatabase {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The folder or file of a new database could not be made.
    #[error("cannot create {}: {source}", path.display())]
    CannotCreate {
        /// The folder or file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The database file could not be opened or set up.
    #[error("cannot open {}: {source}; check that it is a file which you may read and write, in a folder that you may write", path.display())]
    CannotOpen {
        /// The database file.
        path: PathBuf,
        /// The reason, from the system or from SQLite.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// This process may not open one more file.
    #[error("cannot open {}: {source}; close files that this process has open, or raise its limit with `ulimit -n`", path.display())]
    TooManyOpenFiles {
        /// The database file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The system gives this process no thread, and the pool of connections needs some.
    #[error("cannot start a thread: {source}; check the limits on threads and on memory")]
    NoThread {
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is no SQLite database.
    #[error("{} is not a SQLite database; it was left as it is", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is a SQLite database of another application.
    #[error("{} belongs to another application (application_id {application_id}); it was left as it is", path.display())]
    ForeignDatabase {
        /// The file.
        path: PathBuf,
        /// Whose it is: `PRAGMA application_id`; 0 says nothing.
        application_id: i32,
    },
    /// The schema of the file is not the one that govstore makes: something in it is missing, was changed, or acts on
    /// what is ours.
    #[error("{} does not have the schema that govstore makes: {what}; it was left as it is. With the sqlite3 shell, drop what was added and make again what was changed; or put a backup in its place", path.display())]
    ForeignSchema {
        /// The file.
        path: PathBuf,
        /// The first few things that are wrong with it, each with its name.
        what: String,
    },
    /// The file, or its `-wal` or `-shm` file, was mounted by itself.
    #[error("{0} is a mount point: whoever opens the file by its other path keeps another log, and updates are lost. Mount its folder instead: with docker `-v FOLDER:/data`, not `-v FOLDER/g.db:/data/g.db`; and with Docker Desktop, whose containers run under another kernel, do not share a database between host and container at all", path.display())]
    MountPoint {
        /// The file that is a mount point.
        path: PathBuf,
    },
    /// The file has more names than one, and [`crate::StoreOptions::force_hard_link`] was not set.
    #[error("{0} has {others} more {1} (hard links): whoever opens the file by another name keeps another log, and updates are lost. Remove the other name, which `find -samefile {0}` finds, or open a copy", path.display(), if *others == 1 { "name" } else { "names" })]
    HardLinked {
        /// The file.
        path: PathBuf,
        /// How many names it has beside this one.
        others: u64,
    },
    /// Other machines may write to the file system, and [`crate::StoreOptions::force_file_system`] was not set.
    #[error("{} lies on {kind}, a file system that other machines may write to: a log does not work across machines, and updates are lost. Move it to a local disk (with Docker Desktop to a volume, since its containers run under another kernel than their host)", path.display())]
    SharedFileSystem {
        /// The file.
        path: PathBuf,
        /// The file system, by its name.
        kind: &'static str,
    },
    /// Something that is no file has the name of a file that belongs to the database.
    #[error("{} is {kind}, where SQLite keeps a file that belongs to the database; nothing was changed. Remove it", path.display())]
    OddSideFile {
        /// The name, which ends with `-journal`, `-wal` or `-shm`.
        path: PathBuf,
        /// What is there.
        kind: &'static str,
    },
    /// A newer govstore wrote the file.
    #[error("{} has schema version {found}, newer than this build supports ({supported}); upgrade govstore", path.display())]
    SchemaTooNew {
        /// The file.
        path: PathBuf,
        /// Its `PRAGMA user_version`.
        found: i32,
        /// The newest version this build knows.
        supported: i32,
    },
    /// The file system cannot do write-ahead logging.
    #[error("{} cannot use write-ahead logging (SQLite answers {mode:?}); move it to a local file system", path.display())]
    WalUnavailable {
        /// The file.
        path: PathBuf,
        /// The journal mode that SQLite fell back to.
        mode: String,
    },
    /// The file is damaged.
    #[error("{} is damaged ({source}); nothing was changed. Keep a copy of it and of its -wal file, then put a backup in its place", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        source: DatabaseError,
    },
    /// No room is left on the device.
    #[error("no room left for {} and its -wal file; nothing was changed. Free some space and try again", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// This process may not make files as large as the database or its log would become (`RLIMIT_FSIZE`).
    #[error("{} and its -wal file may not become larger than {limit_bytes} bytes, the limit on this process's files; nothing was changed. Raise it with `ulimit -f`, in units of 512 or 1024 bytes, and start the process again", path.display())]
    FileSizeLimit {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit_bytes: u64,
    },
    /// The database, or a file that belongs to it, was moved, deleted or replaced while this process had it open.
    #[error("{} was moved, deleted or replaced while this process has the database open, so nothing is written there any more. End all processes that have it open, put back what was moved, and restart them", path.display())]
    Displaced {
        /// The name that means nothing, or another file.
        path: PathBuf,
    },
    /// There is no database file, or an empty one, but the log of one.
    #[error("there is no database at {0}, but the log of one: it was moved, deleted or emptied while it was in use. Nothing was changed; put it back, or move {0}-wal away to begin a new one", path.display())]
    LogWithoutDatabase {
        /// Where the database was looked for.
        path: PathBuf,
    },
    /// The device or the file system failed at reading or writing.
    #[error("reading or writing {} failed ({source}, SQLite code {code}); nothing was changed. Look for the device in the system's log", path.display())]
    DeviceFailed {
        /// The file.
        path: PathBuf,
        /// SQLite's extended result code, which names the operation.
        code: i32,
        /// SQLite's reason.
        source: DatabaseError,
    },
    /// The device or the file system failed at a commit, and at the one that was to undo it: it may have been kept or
    /// not. This store writes nothing more.
    ///
    /// Nobody sees the change before the log is read anew, when the last process that has the database open was
    /// killed. The next commit of any process that reaches the device decides that it was not kept.
    #[error("committing to {} failed ({source}, SQLite code {code}), and so did the attempt to undo it: it is in doubt whether the change was kept. Look for the device in the system's log; once it works, open the database again, and make the change again only if it is not there", path.display())]
    CommitInDoubt {
        /// The file.
        path: PathBuf,
        /// SQLite's extended result code, which names the operation.
        code: i32,
        /// SQLite's reason.
        source: DatabaseError,
    },
    /// An earlier commit of this store ended in [`Error::CommitInDoubt`].
    #[error("an earlier change of {} by this process is in doubt, so it makes no more; nothing was changed this time. Look for the device in the system's log, and open the database again", path.display())]
    RefusedAfterDoubt {
        /// The file.
        path: PathBuf,
    },
    /// The server of the database could not be reached, or did not answer in time. Nothing was changed.
    #[error("cannot reach {}: {reason}; nothing was changed. Tried for {:.1} s: try again, and check the server and the network", path.display(), waited.as_secs_f64())]
    Unreachable {
        /// The database's address.
        path: PathBuf,
        /// How long this call tried.
        waited: Duration,
        /// The reason, from the server or the system.
        reason: String,
    },
    /// A commit was sent to the server of the database and not answered, and the server could not be reached again in
    /// time to ask: it may have been kept or not. The next call tries to reach the server anew.
    #[error("a change was sent to {}, and whether it was kept could not be found out within {:.1} s: {reason}. Once the server answers, look, and make the change again only if it is not there; an update with a key may be made again in any case", path.display(), waited.as_secs_f64())]
    Unsettled {
        /// The database's address.
        path: PathBuf,
        /// How long this call took.
        waited: Duration,
        /// The reason, from the server or the system.
        reason: String,
    },
    /// The address of a database can't be read.
    #[error("the address of the database can't be read: {reason}")]
    BadAddress {
        /// What is wrong with it. Never quotes it, since a password may be in it.
        reason: String,
    },
    /// The address is of a kind of database that this build knows nothing of.
    #[error("this build knows no database at {scheme}://…: {what_to_do}")]
    UnknownScheme {
        /// What comes before `://`.
        scheme: String,
        /// What to do about it.
        what_to_do: &'static str,
    },
    /// The database holds something of another application, and nothing of ours.
    #[error("{} is not a database of govstore: {what}; it was left as it is. Give govstore a database of its own", path.display())]
    OtherDatabase {
        /// The database's address.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The schema has to be made or brought up to date, and this role may not do it.
    #[error("the schema of {} has to be made or brought up to date, and this role may not do that ({source}); have its owner open it once with this version", path.display())]
    MayNotMigrate {
        /// The database's address.
        path: PathBuf,
        /// The server's reason.
        source: DatabaseError,
    },
    /// What was asked for can be done with a file alone, and the database is on a server.
    #[error("{} is on a server, and {what}", path.display())]
    NotAFile {
        /// The database's address.
        path: PathBuf,
        /// What can't be done there, and what to use in its place.
        what: &'static str,
    },
    /// A copy is to be made where there is something already.
    #[error("{} is to become a copy, and {what}; name one that is empty", path.display())]
    CopyTargetTaken {
        /// The path or address.
        path: PathBuf,
        /// What is there.
        what: String,
    },
    /// Processes are registered in the database that is to be copied: what they write from now on would not be in the
    /// copy.
    #[error("{} is in use by {}; end {} first, so that the copy lacks nothing, or copy what is there at this moment", path.display(), list(processes), if processes.len() > 1 { "them" } else { "it" })]
    CopyInUse {
        /// The database's path or address.
        path: PathBuf,
        /// Those that are there, or may be.
        processes: Vec<Process>,
    },
    /// Both databases of a copy are files, and so the copy is a backup.
    #[error("{} and {} are files both: a copy of a file is made by a backup", from.display(), to.display())]
    CopyOfFiles {
        /// The file that is there.
        from: PathBuf,
        /// The file to be made.
        to: PathBuf,
    },
    /// The database is a copy that was broken off.
    #[error("{} is a copy of {from} that is not finished; copy again, and it goes on", path.display())]
    UnfinishedCopy {
        /// The database's address.
        path: PathBuf,
        /// Where it is copied from.
        from: String,
    },
    /// A row has something that the other database can't hold. What was copied before it stays for the next try.
    #[error("{}: {column} of {row} has a NUL in it, which PostgreSQL can't hold; change it, and copy again", path.display())]
    CannotHold {
        /// The address of the database that can't.
        path: PathBuf,
        /// The row, by its table and key.
        row: String,
        /// The column.
        column: &'static str,
    },
    /// What was copied is not equal to what it was copied from.
    #[error("{table} of {} is not what it was copied from ({found} rows, and {wanted} there): somebody else has written to it, or it was begun as a copy of another database; copy to one that is empty", path.display())]
    CopyDiffers {
        /// The path or address of the copy.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// How many rows it has.
        found: u64,
        /// How many it was to have.
        wanted: u64,
    },
    /// The file may be read and not written.
    #[error("{} cannot be written ({source}); check the permissions of the file and its folder", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        source: DatabaseError,
    },
    /// Another process held the write lock for too long.
    #[error("the database stayed locked for {:.1} s: {}", waited.as_secs_f64(), write_lock(holder.as_ref()))]
    LockTimeout {
        /// How long this call waited.
        waited: Duration,
        /// Who held the lock at the end; `None` where that can't be known.
        holder: Option<LockHolder>,
    },
    /// Another process held the lock of the agent for too long.
    #[error("agent {agent_id:?} stayed locked for {:.1} s: {}", waited.as_secs_f64(), agent_lock(holder.as_ref()))]
    AgentLocked {
        /// The agent.
        agent_id: String,
        /// How long this call waited.
        waited: Duration,
        /// Who held the lock at the end; `None` if it went from hand to hand.
        holder: Option<LockHolder>,
    },
    /// The call was cancelled before it had changed anything ([`crate::Store::cancelled_by`]).
    #[error("the call was cancelled; nothing was changed")]
    Cancelled,
    /// This thread holds the lock of the agent already.
    #[error(
        "this thread has agent {agent_id:?} locked already (token {token}); use that lock, or drop it first"
    )]
    AlreadyLocked {
        /// The agent.
        agent_id: String,
        /// The token of the lock that it holds.
        token: i64,
    },
    /// The lock of this process on the agent was lost, and with it the right to write.
    #[error(
        "this process has lost its lock on agent {agent_id:?} (token {token}), so nothing was written: it was taken for dead, or somebody took the lock away. Drop the lock, lock the agent again, and start from what is there then"
    )]
    Fenced {
        /// The agent.
        agent_id: String,
        /// The token of the lock that was lost.
        token: i64,
    },
    /// Nobody holds the lock of the agent.
    #[error("agent {agent_id:?} is not locked")]
    NotLocked {
        /// The agent.
        agent_id: String,
    },
    /// A lock on an agent belongs to a registered process, and this one is not registered.
    #[error(
        "this process is not registered; register it before it locks an agent, so that others can tell whether it lives"
    )]
    NotRegistered,
    /// Every connection of this process's pool was in use for too long.
    #[error("no database connection came free within {:.1} s: {reason}", waited.as_secs_f64())]
    PoolTimeout {
        /// How long this call waited.
        waited: Duration,
        /// The pool's reason.
        reason: String,
    },
    /// A write was begun by a thread that is inside another one.
    #[error(
        "this thread is inside a write of this store already; call the store after the closure has returned"
    )]
    NestedWrite,
    /// The store was opened before a fork and used after it.
    #[error(
        "this store was opened by process {opened_by}, the parent of this one; SQLite connections do not survive a fork. Open the store again"
    )]
    Forked {
        /// Who opened it.
        opened_by: u32,
    },
    /// As many processes are alive as may be registered, and `limit_policy` is `refuse`; or it is `evict`, and all of
    /// them are in use.
    #[error(
        "{} processes are registered and max_processes is {limit}: {}; end one of them, raise max_processes, or set limit_policy to spare",
        occupants.len(),
        list(occupants)
    )]
    TooManyProcesses {
        /// The setting `max_processes`.
        limit: u32,
        /// Those who hold the places, oldest first.
        occupants: Vec<Process>,
    },
    /// As many processes of this name live as may be, by the process's own limit.
    #[error(
        "{} of {limit} servers called {name} run already: {}; end one, or raise the limit",
        occupants.len(),
        list(occupants)
    )]
    TooManyOfName {
        /// The name.
        name: String,
        /// How many of them there may be.
        limit: u32,
        /// Those who run, oldest first.
        occupants: Vec<Process>,
    },
    /// This process has registered already, and the registration is still there.
    #[error("this process is registered already, as number {process_id}; drop that registration first")]
    AlreadyRegistered {
        /// Its number in the registry.
        process_id: i64,
    },
    /// The system doesn't say who this process is.
    #[error("cannot identify this process: {source}; on Linux, check that /proc is mounted")]
    CannotIdentify {
        /// The system's reason.
        source: std::io::Error,
    },
    /// The thread that beats could not be started.
    #[error("cannot start the heartbeat thread: {source}; check the limit on threads")]
    CannotStartHeartbeat {
        /// The system's reason.
        source: std::io::Error,
    },
    /// The name cannot be an agent's.
    #[error("agent id {agent_id:?} {reason}")]
    InvalidAgentId {
        /// The name, shortened.
        agent_id: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No agent has that name.
    #[error("there is no agent {agent_id:?}")]
    AgentNotFound {
        /// The name.
        agent_id: String,
    },
    /// The agent's lifecycle status forbids the operation.
    #[error("agent {agent_id:?} is {status}: it cannot be {action}{}", note_on(*status))]
    WrongLifecycle {
        /// The agent.
        agent_id: String,
        /// Its status.
        status: Lifecycle,
        /// What was asked: `updated`, `paused`, ….
        action: &'static str,
    },
    /// The agent is tagged `pioneer` and cannot be deleted.
    #[error(
        "agent {agent_id:?} is tagged pioneer and cannot be deleted; archive it, or take the tag away first"
    )]
    Protected {
        /// The agent.
        agent_id: String,
    },
    /// An operator paused or archived the agent, and somebody else wants to undo it: see
    /// [`Store::acting_as`](crate::Store::acting_as).
    #[error("agent {agent_id:?} was {status} by an operator{}: it cannot be {action} by others; ask the operator", because(reason.as_deref()))]
    SetByOperator {
        /// The agent.
        agent_id: String,
        /// What the operator made it.
        status: Lifecycle,
        /// Why, in the operator's words.
        reason: Option<String>,
        /// What was asked of it.
        action: &'static str,
    },
    /// No update can have this key.
    #[error("this cannot be the key of an update: {reason}")]
    InvalidKey {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another update of the agent was made under this key, with other input.
    #[error(
        "key {key:?} was used for update {update_no} of agent {agent_id:?}, with other input; nothing was changed. Repeat that input to get its report again, or take another key for another update"
    )]
    KeyReused {
        /// The agent.
        agent_id: String,
        /// The key.
        key: String,
        /// The update that was made under it.
        update_no: i64,
    },
    /// There is no such setting.
    #[error("there is no setting {key:?}; the settings are {}", crate::model::Settings::KEYS.join(", "))]
    UnknownSetting {
        /// The name.
        key: String,
    },
    /// A setting does not take that value.
    #[error("{key} cannot be {value}: {reason}")]
    InvalidSetting {
        /// The setting.
        key: String,
        /// The value.
        value: String,
        /// The rule it breaks.
        reason: String,
    },
    /// The folder of a v1.0.3 server cannot be imported.
    #[error("cannot import {}: {reason}; nothing was imported", path.display())]
    ImportFolder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is a file under the name of the backup.
    #[error("there is {} already", path.display())]
    BackupExists {
        /// The name.
        path: PathBuf,
    },
    /// No room is left for the backup.
    #[error("no room left for the backup {}; nothing was written, and the database is untouched. Free some space and try again", path.display())]
    NoRoomForBackup {
        /// Where it was to be.
        path: PathBuf,
    },
    /// The backup could not be made.
    #[error("cannot back up to {}: {source}; nothing was written, and the database is untouched", path.display())]
    BackupFailed {
        /// Where it was to be.
        path: PathBuf,
        /// The reason, from the system or from SQLite.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The backup was made, and older ones that were to go could not be removed.
    #[error("{} was made, but {} could not be removed ({source}); check the permissions of the folder", made.display(), listed(left.iter().map(|path| path.display())))]
    OldBackupsLeft {
        /// The new backup.
        made: PathBuf,
        /// The old ones that are still there.
        left: Vec<PathBuf>,
        /// The system's reason for the first of them.
        source: std::io::Error,
    },
    /// A backup was made or restored, and a power cut may undo that.
    #[error("{} is in place, but its folder could not be brought to the disk ({source}): a power cut may undo it. Look for the device in the system's log", path.display())]
    NotOnDisk {
        /// The file that is in place.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file was a database of ours until a backup was restored in its place.
    #[error("{} was replaced by a restore; it is kept to be looked at with the sqlite3 shell", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// A database cannot be replaced while processes that are registered in it live.
    #[error("{} is in use by {}; end them first. Nothing was changed", path.display(), list(processes))]
    ProcessesAlive {
        /// The database.
        path: PathBuf,
        /// The processes that live, oldest first.
        processes: Vec<Process>,
    },
    /// A database cannot be replaced while a process has it open, registered in it or not.
    #[error("{} is open in {}; end {} first. Nothing was changed", path.display(), open_in(users), if users.len() > 1 { "them" } else { "it" })]
    InUse {
        /// The database.
        path: PathBuf,
        /// Who has it open; empty if they can't be seen from here.
        users: Vec<DatabaseUser>,
    },
    /// The backup could not be put in place.
    #[error("cannot restore {}: {source}; nothing was changed", path.display())]
    RestoreFailed {
        /// The backup or the database, whichever it was that failed.
        path: PathBuf,
        /// The reason, from the system.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The backup could not be put in place, and what had been moved out of its way could not be put back.
    #[error("cannot restore {}: {source}. What was there could not be put back: {}", path.display(), listed(moved.iter().map(|(from, to)| format!("rename {} to {}", to.display(), from.display()))))]
    RestoreBrokenOff {
        /// The database.
        path: PathBuf,
        /// The name of each file that was moved, and the name that it has now.
        moved: Vec<(PathBuf, PathBuf)>,
        /// Why the backup could not be put in place.
        source: std::io::Error,
    },
    /// The backup is in place, but the database that it replaced is still taken for the real one by processes that opened
    /// it during the swap.
    #[error("{} is restored, but {} could not be marked as replaced: {source}. End whoever has it open: what they write is lost", path.display(), replaced.display())]
    RestoreUnfinished {
        /// The database, which is now what the backup was.
        path: PathBuf,
        /// The database that was there before.
        replaced: PathBuf,
        /// The reason, from SQLite or the system.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A constraint of the schema refused a value.
    #[error("the database refused the change: {rule}")]
    Constraint {
        /// The constraint's name, which is a sentence.
        rule: String,
    },
    /// A row holds something that this build cannot read.
    #[error("cannot read {what}: {reason}")]
    Unreadable {
        /// Table and column, or file.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Anything else that SQLite reports.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<InvalidAgentId> for Error {
    fn from(InvalidAgentId { agent_id, reason }: InvalidAgentId) -> Self {
        Self::InvalidAgentId { agent_id, reason }
    }
}

impl Error {
    pub(crate) fn agent_not_found(id: AgentId<'_>) -> Self {
        Self::AgentNotFound { agent_id: id.as_str().to_owned() }
    }

    /// A name for the variant that stays the same from version to version, in snake case: for logs, and for programs in
    /// other languages.
    ///
    /// ```
    /// let refused = govstore::Store::options().create(false).open("/no/such/folder/governance.db");
    /// assert_eq!(refused.map(drop).unwrap_err().code(), "no_database");
    /// ```
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoDatabase { .. } => "no_database",
            Self::CannotCreate { .. } => "cannot_create",
            Self::CannotOpen { .. } => "cannot_open",
            Self::TooManyOpenFiles { .. } => "too_many_open_files",
            Self::NoThread { .. } => "no_thread",
            Self::NotADatabase { .. } => "not_a_database",
            Self::ForeignDatabase { .. } => "foreign_database",
            Self::ForeignSchema { .. } => "foreign_schema",
            Self::MountPoint { .. } => "mount_point",
            Self::HardLinked { .. } => "hard_linked",
            Self::SharedFileSystem { .. } => "shared_file_system",
            Self::OddSideFile { .. } => "odd_side_file",
            Self::SchemaTooNew { .. } => "schema_too_new",
            Self::WalUnavailable { .. } => "wal_unavailable",
            Self::Corrupt { .. } => "corrupt",
            Self::DiskFull { .. } => "disk_full",
            Self::FileSizeLimit { .. } => "file_size_limit",
            Self::Displaced { .. } => "displaced",
            Self::LogWithoutDatabase { .. } => "log_without_database",
            Self::DeviceFailed { .. } => "device_failed",
            Self::CommitInDoubt { .. } => "commit_in_doubt",
            Self::RefusedAfterDoubt { .. } => "refused_after_doubt",
            Self::Unreachable { .. } => "unreachable",
            Self::Unsettled { .. } => "unsettled",
            Self::BadAddress { .. } => "bad_address",
            Self::UnknownScheme { .. } => "unknown_scheme",
            Self::OtherDatabase { .. } => "other_database",
            Self::MayNotMigrate { .. } => "may_not_migrate",
            Self::NotAFile { .. } => "not_a_file",
            Self::CopyTargetTaken { .. } => "copy_target_taken",
            Self::CopyInUse { .. } => "copy_in_use",
            Self::CopyOfFiles { .. } => "copy_of_files",
            Self::UnfinishedCopy { .. } => "unfinished_copy",
            Self::CannotHold { .. } => "cannot_hold",
            Self::CopyDiffers { .. } => "copy_differs",
            Self::ReadOnly { .. } => "read_only",
            Self::LockTimeout { .. } => "lock_timeout",
            Self::AgentLocked { .. } => "agent_locked",
            Self::Cancelled => "cancelled",
            Self::AlreadyLocked { .. } => "already_locked",
            Self::Fenced { .. } => "fenced",
            Self::NotLocked { .. } => "not_locked",
            Self::NotRegistered => "not_registered",
            Self::PoolTimeout { .. } => "pool_timeout",
            Self::NestedWrite => "nested_write",
            Self::Forked { .. } => "forked",
            Self::TooManyProcesses { .. } => "too_many_processes",
            Self::TooManyOfName { .. } => "too_many_of_name",
            Self::AlreadyRegistered { .. } => "already_registered",
            Self::CannotIdentify { .. } => "cannot_identify",
            Self::CannotStartHeartbeat { .. } => "cannot_start_heartbeat",
            Self::InvalidAgentId { .. } => "invalid_agent_id",
            Self::AgentNotFound { .. } => "agent_not_found",
            Self::WrongLifecycle { .. } => "wrong_lifecycle",
            Self::Protected { .. } => "protected",
            Self::SetByOperator { .. } => "set_by_operator",
            Self::InvalidKey { .. } => "invalid_key",
            Self::KeyReused { .. } => "key_reused",
            Self::UnknownSetting { .. } => "unknown_setting",
            Self::InvalidSetting { .. } => "invalid_setting",
            Self::ImportFolder { .. } => "import_folder",
            Self::BackupExists { .. } => "backup_exists",
            Self::NoRoomForBackup { .. } => "no_room_for_backup",
            Self::BackupFailed { .. } => "backup_failed",
            Self::OldBackupsLeft { .. } => "old_backups_left",
            Self::NotOnDisk { .. } => "not_on_disk",
            Self::Replaced { .. } => "replaced",
            Self::ProcessesAlive { .. } => "processes_alive",
            Self::InUse { .. } => "in_use",
            Self::RestoreFailed { .. } => "restore_failed",
            Self::RestoreBrokenOff { .. } => "restore_broken_off",
            Self::RestoreUnfinished { .. } => "restore_unfinished",
            Self::Constraint { .. } => "constraint",
            Self::Unreadable { .. } => "unreadable",
            Self::Database(_) => "database",
        }
    }

    /// Whether a lock was held for too long: the same call may succeed later.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::LockTimeout { .. } | Self::AgentLocked { .. })
    }

    /// Whether the operation may have been done all the same: [`Error::CommitInDoubt`], [`Error::Unsettled`]. To call
    /// again may do it twice.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        matches!(self, Self::CommitInDoubt { .. } | Self::Unsettled { .. })
    }

    /// The same error once more, for another caller whose work was lost in the same commit.
    pub(crate) fn for_another(&self) -> Self {
        match self {
            Self::DiskFull { path } => Self::DiskFull { path: path.clone() },
            Self::FileSizeLimit { path, limit_bytes } => {
                Self::FileSizeLimit { path: path.clone(), limit_bytes: *limit_bytes }
            }
            Self::Displaced { path } => Self::Displaced { path: path.clone() },
            Self::Cancelled => Self::Cancelled,
            Self::NotAFile { path, what } => Self::NotAFile { path: path.clone(), what },
            Self::DeviceFailed { path, code, source } => {
                Self::DeviceFailed { path: path.clone(), code: *code, source: source.clone() }
            }
            Self::CommitInDoubt { path, code, source } => {
                Self::CommitInDoubt { path: path.clone(), code: *code, source: source.clone() }
            }
            Self::Unreachable { path, waited, reason } => {
                Self::Unreachable { path: path.clone(), waited: *waited, reason: reason.clone() }
            }
            Self::Unsettled { path, waited, reason } => {
                Self::Unsettled { path: path.clone(), waited: *waited, reason: reason.clone() }
            }
            Self::ReadOnly { path, source } => Self::ReadOnly { path: path.clone(), source: source.clone() },
            Self::Corrupt { path, source } => Self::Corrupt { path: path.clone(), source: source.clone() },
            Self::Database(source) => Self::Database(source.clone()),
            other => Self::Database(DatabaseError::new(io::Error::other(other.to_string()))),
        }
    }

    /// Whether it says that the database can't be written just now, by nobody or not by everybody.
    pub(crate) const fn is_disturbance(&self) -> bool {
        matches!(
            self,
            Self::LockTimeout { .. }
                | Self::PoolTimeout { .. }
                | Self::DiskFull { .. }
                | Self::DeviceFailed { .. }
                | Self::CommitInDoubt { .. }
                | Self::RefusedAfterDoubt { .. }
                | Self::Unreachable { .. }
                | Self::Unsettled { .. }
                | Self::ReadOnly { .. }
                | Self::CannotOpen { .. }
                | Self::TooManyOpenFiles { .. }
                | Self::Displaced { .. }
        )
    }

    /// Who was in the way, if somebody was and that is known.
    #[must_use]
    pub const fn holder(&self) -> Option<&LockHolder> {
        match self {
            Self::LockTimeout { holder, .. } | Self::AgentLocked { holder, .. } => holder.as_ref(),
            _ => None,
        }
    }
}

/// What the database said. Opaque, so that this crate can change how it talks to it.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct DatabaseError(Arc<dyn std::error::Error + Send + Sync>);

impl DatabaseError {
    pub(crate) fn new(reason: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(reason))
    }
}

/// A reason after a colon, if there is one.
fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(" ({reason:?})")).unwrap_or_default()
}

/// Names processes for a person.
fn list(processes: &[Process]) -> String {
    listed(
        processes.iter().map(|process| format!("PID {} ({} {})", process.pid, process.name, process.version)),
    )
}

/// Names those who have a database open.
fn open_in(users: &[DatabaseUser]) -> String {
    if users.is_empty() {
        return "a process that can't be seen from here, of another user perhaps".to_owned();
    }
    listed(users)
}

fn listed(things: impl IntoIterator<Item = impl ToString>) -> String {
    things.into_iter().map(|thing| thing.to_string()).collect::<Vec<_>>().join(", ")
}

/// Who holds the write lock, and what to do about it.
fn write_lock(holder: Option<&LockHolder>) -> String {
    let Some(holder) = holder else {
        return "another process holds its write lock; try again, or raise lock_timeout_ms".to_owned();
    };
    let held_s = holder.held_for.as_secs_f64();
    let holds = if held_s < 0.1 {
        format!("{holder} holds its write lock")
    } else {
        format!("{holder} has held its write lock for at least {held_s:.1} s")
    };
    match holder.state {
        HolderState::Gone => format!("{holder} held its write lock and has ended by now; try again"),
        HolderState::Stopped => format!("{holds} and is stopped; {}", wake(holder)),
        HolderState::Frozen => format!("{holds} and is frozen by its cgroup; {}", thaw(holder)),
        HolderState::Running | HolderState::Unknown => {
            format!("{holds}; try again, or raise lock_timeout_ms")
        }
    }
}

/// Who holds an agent's lock, and what to do about it.
fn agent_lock(holder: Option<&LockHolder>) -> String {
    let Some(holder) = holder else {
        return "others locked it in turns; try again, or raise lock_timeout_ms".to_owned();
    };
    let held_s = holder.held_for.as_secs_f64();
    let what_to_do = match holder.state {
        HolderState::Stopped => format!("and is stopped; {}", wake(holder)),
        HolderState::Frozen => format!("and is frozen by its cgroup; {}", thaw(holder)),
        HolderState::Unknown if holder.out_of_reach.is_some() => {
            format!(
                "and can't be looked at from here; {}if it hangs, its owner has to wake or end it",
                whose(holder)
            )
        }
        HolderState::Gone => "and has ended by now; try again".to_owned(),
        HolderState::Running | HolderState::Unknown => "and lives; try again".to_owned(),
    };
    format!("{holder} has had it locked for {held_s:.1} s {what_to_do}")
}

fn wake(holder: &LockHolder) -> String {
    let pid = holder.pid;
    match holder.out_of_reach {
        None => format!("wake it with `kill -CONT {pid}`"),
        Some(_) => {
            format!("{}its owner has to wake it (here with `kill -CONT {pid}`) or end it", whose(holder))
        }
    }
}

/// No signal wakes a frozen process.
fn thaw(holder: &LockHolder) -> String {
    format!("{}`docker unpause` wakes it if it is a container's, else thawing its cgroup does", whose(holder))
}

/// Says if a process is not for this one to wake or to end: the beginning of a sentence.
fn whose(holder: &LockHolder) -> &'static str {
    match holder.out_of_reach {
        None => "",
        Some(OutOfReach::AnotherUser) => "it belongs to another user: ",
        Some(OutOfReach::AnotherNamespace) => "it runs in another PID namespace, as of a container: ",
    }
}

/// What is to be known of a lifecycle status that is in the way.
fn note_on(status: Lifecycle) -> &'static str {
    match status {
        Lifecycle::Deleted => "; deleted agents keep their rows and take no changes",
        Lifecycle::Active | Lifecycle::Paused | Lifecycle::Archived => "",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The source itself is looked at: no list of all variants could be kept complete by the compiler.
    const SOURCE: &str = include_str!("error.rs");

    #[test]
    fn every_variant_has_a_code_of_its_own() {
        let codes: Vec<&str> = SOURCE
            .split("pub const fn code(&self)")
            .nth(1)
            .and_then(|rest| rest.split("\n    }\n").next())
            .into_iter()
            .flat_map(|body| body.lines().filter_map(|line| line.split_once(" => \"")))
            .filter_map(|(_, code)| code.strip_suffix("\","))
            .collect();
        assert!(codes.len() > 50, "{codes:?}");
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len(), "{codes:?}");
        let is_snake =
            |code: &&str| code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        assert!(codes.iter().all(is_snake), "{codes:?}");
    }

    #[test]
    fn no_sentence_quotes_a_command_or_an_option() {
        let sentences = SOURCE.split("mod tests").next().unwrap_or_default();
        let sentences = sentences.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in sentences {
            assert!(!line.contains("`govstore ") && !line.contains(" --"), "{line}");
        }
    }
}
