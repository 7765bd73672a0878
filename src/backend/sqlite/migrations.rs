//! The migrations: numbered files, each of which takes the schema one version further.

use rusqlite::Connection;

/// Migration n takes the schema from version n to n + 1.
pub(super) const MIGRATIONS: [&str; 5] = [
    include_str!("../../../migrations/sqlite/0001_agents.sql"),
    include_str!("../../../migrations/sqlite/0002_processes.sql"),
    include_str!("../../../migrations/sqlite/0003_liveness.sql"),
    include_str!("../../../migrations/sqlite/0004_retries.sql"),
    include_str!("../../../migrations/sqlite/0005_run.sql"),
];

/// The schema version of this build.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a handful of files")]
pub(crate) const SUPPORTED: i32 = MIGRATIONS.len() as i32;

/// A database in memory with the schema of a version, to compare others with.
pub(super) fn fresh(version: i32) -> rusqlite::Result<Connection> {
    let conn = Connection::open_in_memory()?;
    let migrations = MIGRATIONS.iter().take(usize::try_from(version).unwrap_or_default());
    migrations.into_iter().try_for_each(|migration| conn.execute_batch(migration))?;
    Ok(conn)
}
