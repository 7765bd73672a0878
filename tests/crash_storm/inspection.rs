//! What must hold once every process is dead, whatever they were doing.

use std::collections::{HashMap, HashSet};
use std::process::Command;

use serde_json::Value;

use crate::child::{Acknowledged, CRASH_AT, Program, Remains, acknowledged_in_words, unique_complexity};
use govstore_testkit::{Database, Server, TestResult};

/// Everything that was said about one database.
pub struct Ledger<'d> {
    database: &'d Database,
    dead: Vec<Remains>,
}

/// Rows of `agent_updates`, by the PID of the process that wrote them.
type Rows = HashMap<u32, Vec<Acknowledged>>;

impl<'d> Ledger<'d> {
    pub fn new(database: &'d Database) -> Self {
        Self { database, dead: Vec::new() }
    }

    pub fn bury(&mut self, dead: Vec<Remains>) {
        self.dead.extend(dead);
    }

    /// Opens the database, which recovers it, and compares it with what was said.
    pub fn inspect(&mut self) -> TestResult {
        self.database.assert_sound()?;
        self.database.assert_numbered_without_gaps()?;
        let rows = rows(self.database)?;
        self.assert_nothing_lost_or_doubled(&rows);
        self.assert_nothing_is_locked()
    }

    /// Each process's rows are those that it acknowledged, and at most those beyond that it had no time to
    /// acknowledge.
    fn assert_nothing_lost_or_doubled(&self, rows: &Rows) {
        let none = Vec::new();
        for Remains { pid, program, cause, acknowledged, unanswered, .. } in &self.dead {
            let stored = rows.get(pid).unwrap_or(&none);
            for update in acknowledged {
                let kept = stored.iter().filter(|row| {
                    row.agent_id == update.agent_id
                        && row.update_no == update.update_no
                        && update
                            .risk_score
                            .is_none_or(|told| is_what_was_told(row.risk_score, told, *program))
                });
                assert_eq!(kept.count(), 1, "PID {pid} died {cause}; it had acknowledged {update:?}");
            }
            let limit = acknowledged.len() + unanswered;
            assert!(
                stored.len() <= limit,
                "PID {pid} died {cause}; {} rows of {limit} requests",
                stored.len()
            );
        }
        let mut seen = HashSet::new();
        let told_apart = self.dead.iter().filter(|remains| remains.program != Program::Server);
        for update in told_apart.filter_map(|remains| rows.get(&remains.pid)).flatten() {
            let risk = update.risk_score.map(f64::to_bits);
            assert!(seen.insert(risk), "{update:?} was applied twice");
        }
    }

    /// A fresh process that waits for nothing gets the write lock, and the lock of every agent.
    fn assert_nothing_is_locked(&mut self) -> TestResult {
        let agents = self.database.rows("SELECT agent_id FROM agents ORDER BY agent_id")?;
        let mut fresh = Server::worker(self.database, &["fresh", "--no-heartbeat"]);
        let mut acknowledged = Vec::new();
        fresh.tell("patience 0");
        fresh.expect_line("patient");
        for agent_id in agents.iter().flatten().filter_map(Value::as_str) {
            let complexity = unique_complexity();
            fresh.tell(&format!(
                "lock {agent_id}\nupdate {agent_id} complexity {complexity}\nrelease {agent_id}"
            ));
            for prefix in ["locked", "updated", "released"] {
                let said = fresh.expect_line("");
                assert!(said.starts_with(prefix), "{agent_id} was not {prefix} at once: {said}");
                acknowledged.extend(acknowledged_in_words(&said, Some(agent_id)).unwrap_or_default());
            }
        }
        self.dead.push(Remains {
            pid: fresh.pid(),
            program: Program::Worker,
            cause: "in good order".to_owned(),
            acknowledged,
            unanswered: 0,
        });
        fresh.end();
        Ok(())
    }

    /// A reaper frees every place of the dead.
    pub fn assert_no_place_stays_occupied(&self) -> TestResult {
        let reaped = Command::new(govstore_testkit::govstore())
            .args(["--db", &self.database.address(), "reap"])
            .env_remove(CRASH_AT)
            .output()?;
        assert!(reaped.status.success(), "{reaped:?}");
        let left = self.database.count(
            "SELECT (SELECT count(*) FROM processes WHERE state IN ('running', 'terminating'))
                  + (SELECT count(*) FROM heartbeats)
                  + (SELECT count(*) FROM agent_locks WHERE process_id IS NOT NULL)",
        )?;
        assert_eq!(left, 0, "rows of the dead");
        Ok(())
    }

    /// Updates that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.dead.iter().map(|remains| remains.acknowledged.len()).sum()
    }

    /// Updates that were made and whose maker died before it could say so.
    pub fn untold(&self) -> TestResult<usize> {
        let stored = self.database.count("SELECT count(*) FROM agent_updates")?;
        Ok(usize::try_from(stored)? - self.acknowledged())
    }
}

/// Whether a row's risk is the one that was acknowledged. Tools round it to six places.
fn is_what_was_told(kept: Option<f64>, told: f64, program: Program) -> bool {
    let precision = if program == Program::Serve { 0.5e-6 + 1e-12 } else { 0.0 };
    kept.is_some_and(|kept| (kept - told).abs() <= precision)
}

fn rows(database: &Database) -> TestResult<Rows> {
    let found = database.rows(
        "SELECT p.pid, u.agent_id, u.update_no, u.risk_score
         FROM agent_updates AS u JOIN processes AS p ON p.process_id = u.process_id",
    )?;
    let mut rows = Rows::new();
    for row in found {
        let (pid, agent_id, update_no) = (row[0].as_u64(), row[1].as_str(), row[2].as_i64());
        rows.entry(u32::try_from(pid.ok_or("no PID")?)?).or_default().push(Acknowledged {
            agent_id: agent_id.ok_or("no agent")?.to_owned(),
            update_no: update_no.ok_or("no number")?,
            risk_score: row[3].as_f64(),
        });
    }
    Ok(rows)
}
