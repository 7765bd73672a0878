//! What must hold of every database of ours, whatever was done to it.

use std::error::Error;

use rusqlite::Connection;

/// Every page, row and index is whole, and every reference holds.
pub fn assert_sound(conn: &Connection) -> Result<(), Box<dyn Error>> {
    let integrity: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(integrity, "ok");
    let orphans: i64 =
        conn.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))?;
    assert_eq!(orphans, 0, "rows that refer to nothing");
    Ok(())
}

/// Totals, history and agents tell the same story: one row an update, numbered without gaps from 1. Of agents that
/// were never reset.
pub fn assert_numbered_without_gaps(conn: &Connection) -> Result<(), Box<dyn Error>> {
    let broken: i64 = conn.query_row(
        "SELECT count(*) FROM agents AS a
         WHERE (SELECT count(*) FROM agent_updates AS u WHERE u.agent_id = a.agent_id) <> a.total_updates
            OR (SELECT coalesce(max(update_no), 0) FROM agent_updates AS u WHERE u.agent_id = a.agent_id)
               <> a.total_updates
            OR a.update_count <> a.total_updates",
        [],
        |row| row.get(0),
    )?;
    assert_eq!(broken, 0, "agents whose history has gaps or doubles");
    Ok(())
}
