//! The file as people meet it: with the `sqlite3` shell, that of Debian 12 (3.40) included.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use govstore::{Error as StoreError, HolderState, Store, Update};

type TestResult = Result<(), Box<dyn Error>>;

/// Runs the shell, or says that it is not installed.
fn sqlite3(db: &Path, sql: &str) -> Option<Output> {
    match Command::new("sqlite3").arg("-header").arg(db).arg(sql).output() {
        Ok(output) => Some(output),
        Err(e) => {
            eprintln!("skipped: no sqlite3 shell ({e})");
            None
        }
    }
}

fn database(folder: &Path) -> Result<Store, govstore::Error> {
    let store = Store::open(folder.join("governance.db"))?;
    store.process_update("writer", &Update::new().complexity(0.1))?;
    store.process_update("tester", &Update::new().complexity(0.5))?;
    store.process_update("tester", &Update::new().complexity(1.0))?;
    Ok(store)
}

#[test]
fn the_views_read_well_while_the_store_is_open() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = database(folder.path())?;
    let queries = [
        (
            "SELECT agent_id, lifecycle_status, health_status, risk_score, total_updates FROM agent_health
             ORDER BY agent_id",
            "agent_id|lifecycle_status|health_status|risk_score|total_updates\n\
             tester|active|critical|0.303597|2\n\
             writer|active|healthy|0.033597|1\n",
        ),
        (
            "SELECT * FROM fleet_health",
            "total_agents|active|paused|archived|deleted|healthy|degraded|critical|fleet_status\n\
             2|2|0|0|0|1|0|1|critical\n",
        ),
        (
            "SELECT agent_id, update_no, decision, health_status, risk_score FROM recent_updates LIMIT 2",
            "agent_id|update_no|decision|health_status|risk_score\n\
             tester|2|revise|critical|0.3036\n\
             tester|1|approve|degraded|0.1536\n",
        ),
    ];
    for (sql, expected) in queries {
        let Some(output) = sqlite3(store.path(), sql) else { return Ok(()) };
        assert_eq!(
            String::from_utf8(output.stdout)?,
            expected,
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// The view has no function that the shell lacks: not `exp`, which SQLite has only where it was built with it.
#[test]
fn the_parts_of_each_risk_add_up_in_the_shell() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = database(folder.path())?;
    store.process_update("writer", &Update::new().response_text("sudo rm -rf /").parameters([0.5]))?;
    let queries = [
        (
            "SELECT count(*), count(*) FILTER (WHERE abs(length_part + complexity_part + coherence_part
               + pattern_part - risk_score) < 1e-12 AND length_part > 0) AS add_up FROM risk_parts",
            "count(*)|add_up\n4|4\n",
        ),
        (
            "SELECT update_no, round(complexity_part, 6) AS complexity, round(pattern_part, 6) AS pattern,
               text_length, patterns FROM risk_parts WHERE agent_id = 'writer' ORDER BY update_no",
            "update_no|complexity|pattern|text_length|patterns\n1|0.03|0.0|0|\n2|0.15|0.133333|13|sudo, rm -rf\n",
        ),
    ];
    for (sql, expected) in queries {
        let Some(output) = sqlite3(store.path(), sql) else { return Ok(()) };
        let complaints = String::from_utf8(output.stderr)?;
        assert_eq!((String::from_utf8(output.stdout)?.as_str(), complaints.as_str()), (expected, ""));
    }
    Ok(())
}

#[test]
fn a_careless_update_in_the_shell_is_refused_with_its_rule() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = database(folder.path())?;
    let before = (store.agent("tester")?, store.history("tester", None)?);
    let careless = [
        ("UPDATE agents SET risk_score = 9e999", "risk_score lies between 0 and 1"),
        ("UPDATE agents SET risk_score = -9e999", "risk_score lies between 0 and 1"),
        ("UPDATE agents SET energy = 9e999 - 9e999", "NOT NULL"), // NaN is NULL in SQLite
        ("UPDATE agents SET energy = 9e999", "energy lies between 0 and 1"),
        ("UPDATE agents SET integrity = 1.5", "integrity lies between 0 and 1"),
        ("UPDATE agents SET entropy = -0.1", "entropy lies between 0 and 1"),
        ("UPDATE agents SET void_integral = 9e999", "void_integral lies between -1 and 1"),
        ("UPDATE agents SET coherence = 9e999", "coherence lies between 0 and 1"),
        ("UPDATE agents SET lambda1 = 9e999", "lambda1 lies between 0 and 1"),
        ("UPDATE agents SET pi_integral = -9e999", "pi_integral lies between -5 and 5"),
        ("UPDATE agents SET elapsed = 9e999", "elapsed is finite"),
        ("UPDATE agents SET energy = 'high'", "cannot store TEXT value in REAL column"),
        ("UPDATE agents SET total_updates = 0", "total_updates never falls"),
        ("UPDATE agents SET update_count = 99", "update_count <= total_updates"),
        ("UPDATE agents SET lifecycle_status = 'gone'", "lifecycle_status is active"),
        ("UPDATE agents SET last_update_at = datetime('now')", "last_update_at is UTC"),
        ("UPDATE agents SET tags = 'production'", "tags is a JSON array"),
        ("UPDATE agents SET attributes = '[]'", "attributes is a JSON object"),
        ("UPDATE agents SET agent_id = ''", "agent_id has 1 to 128 characters"),
        ("UPDATE agents SET agent_id = 'a' || char(27)", "agent_id has no control characters"),
        ("UPDATE agents SET recent_void = x'00'", "recent_void holds"),
        ("UPDATE agent_updates SET risk_score = 9e999", "risk_score lies between 0 and 1"),
        ("UPDATE agent_updates SET void_integral = 9e999", "void_integral lies between -1 and 1"),
        ("UPDATE agent_updates SET elapsed = 9e999", "elapsed is finite"),
        ("UPDATE settings SET risk_healthy_max = 9e999", "risk_healthy_max <= risk_degraded_max"),
        ("INSERT INTO settings (settings_id) VALUES (2)", "settings has one row"),
        (
            "INSERT INTO agent_events (agent_id, event, occurred_at) VALUES ('tester', 'danced', 'now')",
            "event is",
        ),
        ("PRAGMA foreign_keys = ON; DELETE FROM agents", "FOREIGN KEY"),
    ];
    for (sql, rule) in careless {
        let Some(output) = sqlite3(store.path(), sql) else { return Ok(()) };
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{sql} was accepted");
        assert!(message.contains(rule), "{sql}: {message}");
    }
    assert_eq!((store.agent("tester")?, store.history("tester", None)?), before);
    Ok(())
}

/// Opening finds it; a store that is open already must not obey it.
#[test]
fn a_trigger_that_somebody_plants_acts_on_none_of_our_writes() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = database(folder.path())?;
    let before = store.history("tester", None)?.len();
    let planted = "
        CREATE TRIGGER all_is_well AFTER UPDATE ON agents
        BEGIN UPDATE agents SET risk_score = 0.01 WHERE agent_id = NEW.agent_id; END;
        CREATE TRIGGER forget AFTER INSERT ON agent_updates
        BEGIN DELETE FROM agent_updates WHERE agent_id = NEW.agent_id AND update_no < NEW.update_no; END";
    let Some(output) = sqlite3(store.path(), planted) else { return Ok(()) };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let report = store.process_update("tester", &Update::new().complexity(1.0))?;
    assert_eq!(store.agent("tester")?.risk_score, Some(report.metrics.risk_score));
    assert!(report.metrics.risk_score > 0.1, "{report:?}");
    assert_eq!(store.history("tester", None)?.len(), before + 1);
    assert!(matches!(Store::open(store.path()), Err(StoreError::ForeignSchema { .. })));
    Ok(())
}

#[test]
fn the_schema_works_in_the_shell_and_explains_every_column() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = database(folder.path())?;
    let Some(output) = sqlite3(store.path(), "PRAGMA integrity_check; PRAGMA foreign_key_check;") else {
        return Ok(());
    };
    assert_eq!(String::from_utf8(output.stdout)?, "integrity_check\nok\n");
    let Some(output) = sqlite3(store.path(), ".schema") else { return Ok(()) };
    let schema = String::from_utf8(output.stdout)?;
    let tables: Vec<&str> = schema
        .split("CREATE ")
        .filter(|part| part.starts_with("TABLE") && !part.starts_with("TABLE sqlite_"))
        .collect();
    assert!(tables.len() >= 4);
    for table in tables {
        assert!(table.contains("STRICT"), "{table}");
        // A column's comment stands on its first line.
        for line in table.lines().skip(1).filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
            let word = line.trim_start().split(' ').next().unwrap_or_default();
            let column = word.starts_with(|c: char| c.is_ascii_lowercase());
            assert!(!column || line.contains(" -- "), "no comment: {line}");
        }
    }
    Ok(())
}

#[test]
fn a_setting_that_is_changed_in_the_shell_is_followed() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = database(folder.path())?;
    let update = "UPDATE settings SET risk_healthy_max = 0.2, risk_degraded_max = 0.2";
    let Some(output) = sqlite3(store.path(), update) else { return Ok(()) };
    assert!(output.status.success(), "{output:?}");
    assert!((store.settings()?.risk_degraded_max - 0.2).abs() < f64::EPSILON);
    Ok(())
}

#[test]
fn a_holder_that_is_not_registered_has_its_commands_name() -> TestResult {
    const SHORT: Duration = Duration::from_millis(300);
    let folder = tempfile::tempdir()?;
    let store = database(folder.path())?;
    let update = |store: &Store| store.process_update("writer", &Update::default()).map(drop);
    let spawned = Command::new("sqlite3")
        .args(["-batch", "-bail"])
        .arg(store.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut shell) = spawned else {
        eprintln!("skipped: no sqlite3 shell");
        return Ok(());
    };
    let mut stdin = shell.stdin.take().ok_or("no stdin")?;
    writeln!(stdin, "BEGIN IMMEDIATE; SELECT 'inside';")?;
    BufReader::new(shell.stdout.take().ok_or("no stdout")?).read_line(&mut String::new())?;
    let began = Instant::now();
    let refused = update(&store.with_lock_timeout(SHORT));
    let took = began.elapsed();
    let zero = update(&store.with_lock_timeout(Duration::ZERO));
    drop(stdin);
    shell.wait()?;

    assert!((SHORT..SHORT + Duration::from_secs(3)).contains(&took), "it took {took:?}");
    let Err(error @ StoreError::LockTimeout { waited, .. }) = &refused else { panic!("{refused:?}") };
    assert!((SHORT..=took).contains(waited));
    // Only Linux tells who holds a lock.
    if cfg!(all(target_os = "linux", not(govstore_portable))) {
        let holder = error.holder().ok_or("no holder")?;
        assert_eq!((holder.pid, holder.name.as_str()), (shell.id(), "sqlite3"));
        assert_eq!((holder.process_id, holder.state), (None, HolderState::Running));
        let message = error.to_string();
        assert!(message.contains("(sqlite3)"), "{message}");
    }
    assert!(matches!(zero, Err(StoreError::LockTimeout { .. })), "zero tries once: {zero:?}");
    update(&store.with_lock_timeout(Duration::ZERO))?;
    Ok(())
}
