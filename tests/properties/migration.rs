//! Whatever valid data a database of an earlier schema holds, it is all there after the migration, bit for bit, and
//! this build can read it.

use govstore::{AgentFilter, Store};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::config;

/// Each schema before the present one, with the rows of `tests/migrations.rs`.
const FROZEN: [&str; 4] = [
    include_str!("../schemas/version_1.sql"),
    include_str!("../schemas/version_2.sql"),
    include_str!("../schemas/version_3.sql"),
    include_str!("../schemas/version_4.sql"),
];

/// A query for each table, in an order that its text alone determines.
const TABLES: [&str; 4] = [
    "SELECT * FROM settings",
    "SELECT rowid, * FROM agents ORDER BY agent_id",
    "SELECT rowid, * FROM agent_updates ORDER BY agent_id, update_no",
    "SELECT * FROM agent_events ORDER BY event_id",
];

/// A row to be inserted: its columns from the first on.
type Row = Vec<Value>;

#[derive(Debug, Clone)]
struct Agent {
    row: Row,
    updates: Vec<Row>,
    events: Vec<Row>,
}

fn real(number: f64) -> Value {
    Value::Real(number)
}

fn share() -> impl Strategy<Value = Value> + Clone {
    prop_oneof![(0.0..=1.0).prop_map(real), Just(real(0.0)), Just(real(-0.0)), Just(real(1.0))]
}

fn signed() -> impl Strategy<Value = Value> {
    (-1.0..=1.0).prop_map(real)
}

fn flag() -> impl Strategy<Value = Value> {
    (0..=1_i64).prop_map(Value::from)
}

fn text() -> impl Strategy<Value = Value> {
    any::<String>().prop_map(Value::from)
}

fn maybe(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    option::of(value).prop_map(|value| value.unwrap_or(Value::Null))
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::sample::select(words).prop_map(|word| Value::from(word.to_owned()))
}

/// Any millisecond of the years 1 to 9999.
fn time() -> impl Strategy<Value = Value> {
    (1..10_000, 1..13, 1..29, 0..24, 0..60, 0..60, 0..1000).prop_map(|(year, month, day, h, m, s, ms)| {
        Value::from(format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z"))
    })
}

/// Little-endian numbers, not all of them finite: no CHECK sees inside.
fn numbers(max: usize) -> impl Strategy<Value = Value> {
    vec(prop::num::f64::ANY, 0..=max)
        .prop_map(|numbers| Value::from(numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>()))
}

fn agent(agent_id: String) -> impl Strategy<Value = Agent> {
    let id = Value::from(agent_id);
    let (of_updates, of_events) = (id.clone(), id.clone());
    // As many columns as a tuple can hold are made up together.
    let life = (
        word(&["active", "paused", "archived", "deleted"]),
        (time(), maybe(time()), maybe(time()), maybe(time()), maybe(time())),
        text(),
        (share(), share(), share(), signed(), maybe(share()), share()),
        (-5.0..=5.0).prop_map(real),
        prop_oneof![0.0..1e6, Just(1e300)].prop_map(real),
        (maybe(share()), flag()),
        (0..1_000_i64, 0..1_000_i64),
        (maybe(word(&["approve", "revise", "reject"])), maybe(text())),
        vec(any::<String>(), 0..3),
        text(),
        (maybe(numbers(128)), numbers(100)),
    );
    let row =
        life.prop_map(move |life| {
            let (
                status,
                times,
                version,
                shares,
                pi,
                elapsed,
                (risk, void),
                counts,
                decision,
                tags,
                notes,
                blobs,
            ) = life;
            let (e, i, s, v, coherence, lambda1) = shares;
            let mut row = vec![id.clone(), status, times.0, times.1, times.2, times.3, times.4, version];
            row.extend([e, i, s, v, coherence, lambda1, pi, elapsed, risk, void]);
            row.extend([Value::from(counts.0), Value::from(counts.0 + counts.1), decision.0, decision.1]);
            let tags = serde_json::to_string(&tags).expect("texts are JSON");
            row.extend([
                Value::from(tags),
                notes,
                Value::from("{\"a\": [1, null]}".to_owned()),
                blobs.0,
                blobs.1,
            ]);
            row
        });
    (row, updates(of_updates), events(of_events)).prop_map(|(row, updates, events)| Agent {
        row,
        updates,
        events,
    })
}

fn updates(agent_id: Value) -> impl Strategy<Value = Vec<Row>> {
    let figures = (
        maybe(time()),
        (maybe(share()), maybe(share()), maybe(share()), signed(), share(), maybe(share())),
        (share(), flag(), maybe((0.0..1e6).prop_map(real))),
        (word(&["approve", "revise", "reject"]), maybe(text())),
        word(&["healthy", "degraded", "critical"]),
        maybe(any::<i64>().prop_map(Value::from)),
    );
    vec(figures, 0..6).prop_map(move |updates| {
        let numbered = (1_i64..).zip(updates);
        numbered
            .map(
                |(
                    update_no,
                    (at, (e, i, s, v, coherence, lambda1), (risk, void, elapsed), decision, health, by),
                )| {
                    let (decision, reason) = decision;
                    let head = [agent_id.clone(), Value::from(update_no), at];
                    let figures = [e, i, s, v, coherence, lambda1, risk, void, elapsed];
                    head.into_iter().chain(figures).chain([decision, reason, health, by]).collect()
                },
            )
            .collect()
    })
}

fn events(agent_id: Value) -> impl Strategy<Value = Vec<Row>> {
    let health = || word(&["healthy", "degraded", "critical"]);
    let kinds: &[&str] = &["created", "paused", "resumed", "archived", "deleted", "reset", "unlocked"];
    let event = prop_oneof![
        (word(kinds), maybe(text())).prop_map(|(kind, reason)| (kind, reason, Value::Null, Value::Null)),
        (maybe(health()), health(), text()).prop_map(|(from, to, reason)| (
            "health_changed".to_owned().into(),
            reason,
            from,
            to
        )),
    ];
    vec((event, time(), maybe(any::<i64>().prop_map(Value::from))), 0..5).prop_map(move |events| {
        let row = |((kind, reason, from, to), at, by)| {
            vec![Value::Null, agent_id.clone(), kind, at, reason, from, to, by] // SQLite numbers them
        };
        events.into_iter().map(row).collect()
    })
}

fn fleet() -> impl Strategy<Value = Vec<Agent>> {
    let ids = btree_set("[a-zé🚀 ]{0,6}[a-z0-9]", 0..5);
    ids.prop_flat_map(|ids| ids.into_iter().map(|id| agent(id.trim().to_owned())).collect::<Vec<_>>())
        .prop_filter("ids are all different", |agents| {
            let ids: std::collections::HashSet<_> =
                agents.iter().map(|agent| format!("{:?}", agent.row[0])).collect();
            ids.len() == agents.len()
        })
}

fn insert(conn: &Connection, sql: &str, row: &Row) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.execute(params_from_iter(row)).map(drop)
}

fn write(conn: &mut Connection, fleet: &[Agent]) -> rusqlite::Result<()> {
    let tx = conn.transaction()?;
    tx.execute_batch("DELETE FROM agent_events; DELETE FROM agent_updates; DELETE FROM agents;")?;
    for agent in fleet {
        insert(
            &tx,
            "INSERT INTO agents (
               agent_id, lifecycle_status, created_at, last_update_at, paused_at, archived_at,
               deleted_at, version, energy, integrity, entropy, void_integral, coherence, lambda1,
               pi_integral, elapsed, risk_score, void_active, update_count, total_updates,
               last_decision, last_decision_reason, tags, notes, attributes, parameters,
               recent_void)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            &agent.row,
        )?;
        for update in &agent.updates {
            insert(
                &tx,
                "INSERT INTO agent_updates (
               agent_id, update_no, applied_at, energy, integrity, entropy, void_integral,
               coherence, lambda1, risk_score, void_active, elapsed, decision, decision_reason,
               health_status, process_id)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                update,
            )?;
        }
        for event in &agent.events {
            insert(
                &tx,
                "INSERT INTO agent_events (
               event_id, agent_id, event, occurred_at, reason, health_from, health_to, process_id)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                event,
            )?;
        }
    }
    tx.commit()
}

/// Every row of every table that the old schema has.
fn dump(conn: &Connection) -> rusqlite::Result<Vec<Vec<Row>>> {
    let table = |sql: &&str| {
        let mut statement = conn.prepare(sql)?;
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect())?;
        rows.collect()
    };
    TABLES.iter().map(table).collect()
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn a_migration_keeps_every_row(fleet in fleet()) {
        for frozen in FROZEN {
            let folder = tempfile::tempdir()?;
            let path = folder.path().join("governance.db");
            let mut conn = Connection::open(&path)?;
            conn.pragma_update(None, "synchronous", "OFF")?;
            conn.execute_batch(frozen)?;
            // The one setting that a migration changes; and locks of the frozen agents, whose rows are kept by a rule.
            conn.execute_batch("PRAGMA foreign_keys = OFF; UPDATE settings SET limit_policy = 'refuse'")?;
            write(&mut conn, &fleet)?;
            let before = dump(&conn)?;
            prop_assert_eq!(before[1].len(), fleet.len());
            conn.close().map_err(|(_, error)| error)?;

            let store = Store::open(&path)?;
            let mut after = dump(&Connection::open(&path)?)?;
            for (new, old) in after.iter_mut().zip(&before) {
                // Columns come at the end, and say nothing of rows from before.
                let width = old.first().map_or(0, Vec::len);
                for row in new.iter_mut() {
                    row.truncate(width);
                }
            }
            // By their text: a NaN would differ from itself, and 0 be equal to -0.
            prop_assert_eq!(format!("{after:?}"), format!("{before:?}"));
            let agents = store.agents(&AgentFilter::default())?;
            prop_assert_eq!(agents.len(), fleet.len());
            for written in &fleet {
                let Value::Text(agent_id) = &written.row[0] else { unreachable!("an id is a text") };
                prop_assert!(agents.iter().any(|agent| agent.agent_id == *agent_id));
                prop_assert_eq!(store.history(agent_id, None)?.len(), written.updates.len());
                prop_assert_eq!(store.events(agent_id)?.len(), written.events.len());
            }
        }
    }
}
