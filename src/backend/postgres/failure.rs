//! What went wrong between this process and the server, and what it means to a caller.
//!
//! The server's details are left out everywhere: that of a refused CHECK is the whole row, with what an agent wrote.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::backend::statements::Fault;
use crate::error::{DatabaseError, Error};

/// A constraint's name here, which has 63 bytes at most, and the sentence that it stands for.
const WHOLE_SENTENCES: [(&str, &str); 9] = [
    (
        "stale_after_s is heartbeat_interval_s to 31536000",
        "stale_after_s is at least heartbeat_interval_s and at most 31536000",
    ),
    (
        "event is one of its words",
        "event is created, paused, resumed, archived, deleted, reset, unlocked or health_changed",
    ),
    (
        "state is one of its words",
        "state is running, terminating, ended, exited, terminated, killed or forgotten",
    ),
    (
        "a terminating process has a claim with its evidence",
        "a terminating process has a claim with its evidence, any other has none",
    ),
    (
        "a held lock has acquired_at and renewed_at",
        "a lock that is held has acquired_at and renewed_at, a released one has neither",
    ),
    (
        "verdict is one of its words",
        "verdict is alive, exited, suspect, stale, orphaned, surplus, remote or unverifiable",
    ),
    (
        "outcome is one of its words",
        "outcome is terminated, killed, gone, forgotten, postponed, continued, released, survived or denied",
    ),
    ("parameters holds at most 128 numbers", "parameters holds at most 128 numbers of 8 bytes"),
    ("recent_void holds at most 100 numbers", "recent_void holds at most 100 numbers of 8 bytes"),
];

/// Keys whose rows two transactions may be about to insert at once: the second one finds it when it looks again.
const RACED_KEYS: [&str; 6] = [
    "agents_pkey",
    "agent_updates_pkey",
    "agent_updates_by_key",
    "agent_locks_pkey",
    "processes_registered",
    "hosts_pkey",
];

/// Why a statement has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    /// The server refused it.
    #[error("{message} (SQLSTATE {})", code.code())]
    Refused {
        code: SqlState,
        message: String,
        /// The constraint, or what stands for one.
        rule: Option<String>,
    },
    /// The connection is gone.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// All connections of this process are in use.
    #[error("all {0} of them are in use")]
    NoneFree(usize),
    /// Nobody answers at all, or nobody lets this process in.
    #[error("{0}")]
    Unreachable(String),
    /// It is not who it should be, or can't be talked to in secret: to try again is of no use.
    #[error("{0}")]
    Untrusted(String),
    /// There was no answer in time.
    #[error("there was no answer within {:.1} s", .0.as_secs_f64())]
    Silent(Duration),
    /// The server was replaced by another one, which this process has seen.
    #[error("it was replaced: its timeline is {found}, and timeline {seen} was seen already")]
    Replaced { found: u32, seen: u32 },
    #[error("the call was cancelled")]
    Cancelled,
    #[error("column {column}: {reason}")]
    Unreadable { column: String, reason: String },
    /// A text has a NUL in it.
    #[error("PostgreSQL can't hold a text with a NUL in it")]
    Nul,
}

impl Failure {
    pub fn unreadable(column: impl Display, reason: impl Display) -> Self {
        Self::Unreadable { column: column.to_string(), reason: reason.to_string() }
    }

    pub fn has_code(&self, wanted: &SqlState) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }

    /// Whether the server, or a pooler before it, takes no options at the start of a session.
    pub fn is_of_the_options(&self) -> bool {
        matches!(self, Self::Refused { code, message, .. }
            if *code == SqlState::PROTOCOL_VIOLATION || message.contains("startup parameter"))
    }

    /// Whether a prepared statement is not there, or not as it was.
    pub fn is_of_a_prepared_statement(&self) -> bool {
        self.has_code(&SqlState::INVALID_SQL_STATEMENT_NAME)
            || self.has_code(&SqlState::DUPLICATE_PSTATEMENT)
            || matches!(self, Self::Refused { message, .. } if message.contains("cached plan must not change"))
    }

    /// Whether the connection is of no use any more.
    pub fn breaks_connection(&self) -> bool {
        match self {
            Self::Lost(_)
            | Self::Unreachable(_)
            | Self::Silent(_)
            | Self::Replaced { .. }
            | Self::Untrusted(_)
            | Self::Cancelled => true,
            Self::Refused { code, .. } => is_of_the_connection(code) || self.is_of_a_prepared_statement(),
            Self::Unreadable { .. } | Self::Nul | Self::NoneFree(_) => false,
        }
    }

    /// Whether the same transaction may succeed when it is run again, if nothing of it was committed.
    pub fn is_worth_another_try(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Unreachable(_) | Self::Replaced { .. } => true,
            Self::Refused { code, .. } => {
                is_of_the_connection(code)
                    || self.is_of_a_prepared_statement()
                    || *code == SqlState::T_R_SERIALIZATION_FAILURE
                    || *code == SqlState::T_R_DEADLOCK_DETECTED
            }
            _ => false,
        }
    }

    /// Whether a row is there already that another transaction may have inserted at the same time.
    pub fn may_be_raced(&self) -> bool {
        matches!(self, Self::Refused { code, rule, .. } if *code == SqlState::UNIQUE_VIOLATION
            && rule.as_deref().is_some_and(|rule| RACED_KEYS.contains(&rule)))
    }

    /// Whether a transaction whose COMMIT ends so may have been kept.
    pub fn leaves_doubt(&self) -> bool {
        self.breaks_connection()
    }

    /// The error that tells a caller of ours what to do. Of a lock that was waited for in vain the caller says who
    /// holds it.
    pub fn explain(self, address: &Path, waited: Duration) -> Error {
        let path = address.to_owned();
        match self {
            Self::Cancelled => Error::Cancelled,
            Self::NoneFree(_) => Error::PoolTimeout { waited, reason: self.to_string() },
            Self::Unreadable { column, reason } => {
                Error::Unreadable { what: format!("column {column} of a row in {}", path.display()), reason }
            }
            Self::Nul => Error::Constraint { rule: "a text has no NUL in it".to_owned() },
            Self::Refused { code, message, rule } => refused(&code, message, rule, address, waited),
            lost => Error::Unreachable { path, waited, reason: lost.to_string() },
        }
    }
}

fn is_of_the_connection(code: &SqlState) -> bool {
    code.code().starts_with("08")
        || [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::READ_ONLY_SQL_TRANSACTION, // it is a standby by now
        ]
        .contains(code)
}

fn refused(
    code: &SqlState,
    message: String,
    rule: Option<String>,
    address: &Path,
    waited: Duration,
) -> Error {
    let path = address.to_owned();
    let source =
        || DatabaseError::new(Failure::Refused { code: code.clone(), message: message.clone(), rule: None });
    if *code == SqlState::LOCK_NOT_AVAILABLE {
        return Error::LockTimeout { waited, holder: None };
    }
    if *code == SqlState::DISK_FULL {
        return Error::DiskFull { path };
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return Error::ReadOnly { path, source: source() };
    }
    if code.code().starts_with("23") {
        let rule = rule.unwrap_or_else(|| message.clone());
        let whole = WHOLE_SENTENCES.iter().find(|(short, _)| *short == rule);
        return Error::Constraint { rule: whole.map_or(rule, |(_, whole)| (*whole).to_owned()) };
    }
    if is_of_the_connection(code) {
        return Error::Unreachable { path, waited, reason: message };
    }
    Error::Database(source())
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        use std::error::Error as _;
        if let Some(refusal) = error.as_db_error() {
            let rule = match (refusal.constraint(), refusal.table(), refusal.column()) {
                (Some(constraint), ..) => Some(constraint.to_owned()),
                (None, Some(table), Some(column)) => {
                    Some(format!("NOT NULL constraint failed: {table}.{column}"))
                }
                _ => None,
            };
            return Self::Refused {
                code: refusal.code().clone(),
                message: refusal.message().to_owned(),
                rule,
            };
        }
        let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Self::Lost(reason)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// The failure that a fault was made of, if the server or the connection failed.
pub(super) fn of_fault(fault: &Fault) -> Option<&Failure> {
    match fault {
        Fault::Failed(reason) | Fault::InDoubt(reason) => reason.downcast_ref(),
        Fault::Refused(_) => None,
    }
}
