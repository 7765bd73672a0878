//! Copying a database to another one: which tables and columns, rows in no dialect, and what is reported.

use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;

use serde::Serialize;

use super::timestamp::Timestamp;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Whole,
    Number,
    Text,
    Truth,
    Time,
    Json,
    Numbers,
    Bytes,
}

/// A table that is copied.
#[derive(Debug)]
pub(crate) struct Table {
    pub name: &'static str,
    /// The columns of its primary key come first.
    pub columns: &'static [(&'static str, Kind)],
    /// How many columns the primary key has.
    pub key_columns: usize,
    /// Which rows, as both dialects say it.
    pub only: &'static str,
    /// Whether rows are never removed from it.
    pub keeps_rows: bool,
    /// Whether its key is a number that the database gives, and never twice.
    pub is_numbered: bool,
}

/// The value of a column.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    Null,
    /// Of a truth, 0 or 1.
    Whole(i64),
    Number(f64),
    /// Also JSON, as it was written.
    Text(String),
    Time(Timestamp),
    Numbers(Vec<f64>),
    Bytes(Vec<u8>),
}

/// The columns of a table, or of its key, in their order.
pub(crate) type Row = Vec<Cell>;

impl Table {
    /// A key before that of any row.
    pub fn least_key(&self) -> Row {
        self.key(|kind| match kind {
            Kind::Text => Cell::Text(String::new()),
            Kind::Time => Cell::Time(Timestamp::least_and_greatest().0),
            _ => Cell::Whole(i64::MIN),
        })
    }

    /// A key after that of any row: no name has so many characters.
    pub fn greatest_key(&self) -> Row {
        self.key(|kind| match kind {
            Kind::Text => Cell::Text(char::MAX.to_string().repeat(256)),
            Kind::Time => Cell::Time(Timestamp::least_and_greatest().1),
            _ => Cell::Whole(i64::MAX),
        })
    }

    fn key(&self, of: impl Fn(Kind) -> Cell) -> Row {
        self.columns[..self.key_columns].iter().map(|(_, kind)| of(*kind)).collect()
    }

    /// A row by its key, for people.
    pub fn name_of(&self, row: &[Cell]) -> String {
        let key: Vec<String> = row[..self.key_columns].iter().map(Cell::for_people).collect();
        format!("{} {}", self.name, key.join(", "))
    }
}

impl Cell {
    fn for_people(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Whole(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(text) => format!("{text:?}"),
            Self::Time(time) => time.to_string(),
            Self::Numbers(numbers) => format!("{numbers:?}"),
            Self::Bytes(bytes) => format!("{} bytes", bytes.len()),
        }
    }

    /// Appends bytes that no other value has.
    fn encode(&self, to: &mut Vec<u8>) {
        let mut with_length = |tag: u8, bytes: &[u8]| {
            to.push(tag);
            to.extend_from_slice(&bytes.len().to_le_bytes());
            to.extend_from_slice(bytes);
        };
        match self {
            Self::Null => to.push(0),
            Self::Whole(value) => with_length(1, &value.to_le_bytes()),
            Self::Number(value) => with_length(2, &value.to_bits().to_le_bytes()),
            Self::Text(text) => with_length(3, text.as_bytes()),
            Self::Time(time) => with_length(4, &time.as_millis().to_le_bytes()),
            Self::Numbers(numbers) => {
                let bytes: Vec<u8> = numbers.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
                with_length(5, &bytes);
            }
            Self::Bytes(bytes) => with_length(6, bytes),
        }
    }
}

/// Rows as bytes: equal if the rows are.
pub(crate) fn encoded(rows: &[Row]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for cell in rows.iter().flatten() {
        cell.encode(&mut bytes);
    }
    bytes
}

/// A number that stands for all rows that went into it, in their order.
#[derive(Default)]
pub(crate) struct Digest {
    rows: u64,
    hasher: DefaultHasher,
}

impl Digest {
    pub fn add(&mut self, rows: &[Row]) {
        self.rows += rows.len() as u64;
        self.hasher.write(&encoded(rows));
    }

    pub const fn rows(&self) -> u64 {
        self.rows
    }

    pub fn value(&self) -> u64 {
        self.hasher.finish()
    }
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyProgress {
    /// The table that it is at.
    pub table: &'static str,
    /// Whether it compares what was copied, after all was.
    pub verifies: bool,
    /// Rows that were done, those that are compared included.
    pub rows: u64,
    /// Of so many: each is copied and compared.
    pub total_rows: u64,
}

/// What was copied of a table, and found equal in both databases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CopiedTable {
    /// Its name.
    pub table: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// How many of them were written by this call; the others were there from one before that was broken off.
    pub written: u64,
    /// A number that stands for all its rows, as 16 hex digits. It can be compared with another copy's that the same
    /// build of govstore made.
    pub digest: String,
}

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CopyReport {
    /// Where from: a path, or an address without a password.
    pub from: PathBuf,
    /// Where to, likewise.
    pub to: PathBuf,
    /// What was copied.
    pub tables: Vec<CopiedTable>,
}

/// What is copied, in an order in which no row refers to a later one.
///
/// Not the heartbeats and the registered processes, which use the database that is copied and not the copy; and of
/// locks the tokens alone, so that none comes twice: nobody holds one in the copy.
pub(crate) const TABLES: [Table; 8] = {
    use Kind::{Bytes, Json, Number, Numbers, Text, Time, Truth, Whole};
    const ALL: Table =
        Table { name: "", columns: &[], key_columns: 1, only: "true", keeps_rows: false, is_numbered: false };
    [
        Table {
            name: "settings",
            columns: &[
                ("settings_id", Whole),
                ("risk_healthy_max", Number),
                ("risk_degraded_max", Number),
                ("coherence_healthy_min", Number),
                ("coherence_degraded_min", Number),
                ("coherence_overrides_risk", Truth),
                ("heartbeat_interval_s", Number),
                ("stale_after_s", Number),
                ("max_processes", Whole),
                ("limit_policy", Text),
                ("terminate_grace_ms", Whole),
                ("lock_timeout_ms", Whole),
                ("history_limit", Whole),
                ("history_max_age_days", Number),
                ("prune_automatically", Truth),
            ],
            keeps_rows: true,
            ..ALL
        },
        Table {
            name: "agents",
            columns: &[
                ("agent_id", Text),
                ("lifecycle_status", Text),
                ("created_at", Time),
                ("last_update_at", Time),
                ("paused_at", Time),
                ("archived_at", Time),
                ("deleted_at", Time),
                ("version", Text),
                ("energy", Number),
                ("integrity", Number),
                ("entropy", Number),
                ("void_integral", Number),
                ("coherence", Number),
                ("lambda1", Number),
                ("pi_integral", Number),
                ("elapsed", Number),
                ("risk_score", Number),
                ("void_active", Truth),
                ("update_count", Whole),
                ("total_updates", Whole),
                ("last_decision", Text),
                ("last_decision_reason", Text),
                ("tags", Json),
                ("notes", Text),
                ("attributes", Json),
                ("parameters", Numbers),
                ("recent_void", Numbers),
                ("lifecycle_actor", Text),
            ],
            keeps_rows: true,
            ..ALL
        },
        Table {
            name: "agent_updates",
            columns: &[
                ("agent_id", Text),
                ("update_no", Whole),
                ("applied_at", Time),
                ("energy", Number),
                ("integrity", Number),
                ("entropy", Number),
                ("void_integral", Number),
                ("coherence", Number),
                ("lambda1", Number),
                ("risk_score", Number),
                ("void_active", Truth),
                ("elapsed", Number),
                ("decision", Text),
                ("decision_reason", Text),
                ("health_status", Text),
                ("process_id", Whole),
                ("complexity", Number),
                ("text_length", Whole),
                ("patterns", Whole),
                ("key", Text),
                ("key_receipt", Bytes),
            ],
            key_columns: 2,
            ..ALL
        },
        Table {
            name: "agent_events",
            columns: &[
                ("event_id", Whole),
                ("agent_id", Text),
                ("event", Text),
                ("occurred_at", Time),
                ("reason", Text),
                ("health_from", Text),
                ("health_to", Text),
                ("process_id", Whole),
                ("actor", Text),
                ("actor_name", Text),
            ],
            is_numbered: true,
            ..ALL
        },
        Table {
            name: "agent_locks",
            columns: &[("agent_id", Text), ("token", Whole)],
            keeps_rows: true,
            ..ALL
        },
        Table {
            name: "processes",
            columns: &[
                ("process_id", Whole),
                ("name", Text),
                ("version", Text),
                ("pid", Whole),
                ("host_id", Text),
                ("boot_id", Text),
                ("pid_namespace", Whole),
                ("time_namespace", Whole),
                ("start_ticks", Whole),
                ("parent_pid", Whole),
                ("parent_start_ticks", Whole),
                ("uid", Whole),
                ("registered_at", Time),
                ("last_activity_at", Time),
                ("last_activity_monotonic_ms", Whole),
                ("parent_gone", Truth),
                ("state", Text),
                ("ended_at", Time),
                ("claim_verdict", Text),
                ("claim_evidence", Text),
                ("claimed_at", Time),
                ("claimed_by_pid", Whole),
                ("claimed_by_pid_namespace", Whole),
                ("claimed_by_start_ticks", Whole),
                ("claim_until_monotonic_ms", Whole),
                ("client_name", Text),
                ("client_version", Text),
                ("protocol_version", Text),
                ("run_id", Text),
                ("container_runtime", Text),
                ("container_id_file", Text),
            ],
            only: "ended_at IS NOT NULL",
            is_numbered: true,
            ..ALL
        },
        Table {
            name: "reap_events",
            columns: &[
                ("reap_event_id", Whole),
                ("recorded_at", Time),
                ("process_id", Whole),
                ("name", Text),
                ("version", Text),
                ("pid", Whole),
                ("boot_id", Text),
                ("pid_namespace", Whole),
                ("start_ticks", Whole),
                ("verdict", Text),
                ("evidence", Text),
                ("heartbeat_age_ms", Whole),
                ("activity_age_ms", Whole),
                ("claimed_at", Time),
                ("signals", Text),
                ("took_ms", Whole),
                ("outcome", Text),
                ("reaper_pid", Whole),
                ("reaper_process_id", Whole),
            ],
            is_numbered: true,
            ..ALL
        },
        Table {
            name: "tool_calls",
            columns: &[
                ("server", Text),
                ("tool", Text),
                ("hour", Time),
                ("calls", Whole),
                ("errors", Whole),
                ("total_us", Whole),
                ("max_us", Whole),
                ("within_1ms", Whole),
                ("within_10ms", Whole),
                ("within_100ms", Whole),
                ("within_1s", Whole),
                ("within_10s", Whole),
            ],
            key_columns: 3,
            ..ALL
        },
    ]
};
