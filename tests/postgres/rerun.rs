//! Transactions that are lost to others and run again: what they do is done once.

use std::thread;
use std::time::Duration;

use govstore::{Store, Update};
use govstore_testkit::{Connected, Database, TestResult, wait_until};

use crate::copying::fill;
use crate::{database, update};

/// Has the server lose one transaction in three at its commit, as it may lose one to another.
fn lose_one_in_three(database: &Database) -> TestResult {
    let tables = [
        "agents",
        "agent_updates",
        "agent_events",
        "agent_locks",
        "processes",
        "heartbeats",
        "settings",
        "tool_calls",
        "reap_events",
        "receipts",
    ];
    database.execute("CREATE TABLE lost (in_transaction bigint); CREATE SEQUENCE losses")?;
    database.execute(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
           IF coalesce(current_setting('test.decided', true), '') <> txid_current()::text THEN
             PERFORM set_config('test.decided', txid_current()::text, true);
             IF random() < 0.34 THEN
               PERFORM nextval('losses');
               RAISE EXCEPTION 'lost to another one' USING ERRCODE = 'serialization_failure';
             END IF;
           END IF;
           RETURN NULL;
         END $$",
    )?;
    for table in tables {
        database.execute(&format!(
            "CREATE CONSTRAINT TRIGGER lose AFTER INSERT OR UPDATE OR DELETE ON {table}
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lose()"
        ))?;
    }
    Ok(())
}

/// What all has been done, without its times and the numbers of processes.
fn story(database: &Database) -> TestResult<Vec<Vec<serde_json::Value>>> {
    let mut story = Vec::new();
    for sql in [
        "SELECT agent_id, lifecycle_status, lifecycle_actor, update_count, total_updates, notes, risk_score, coherence,
                void_integral, lambda1 FROM agents ORDER BY agent_id",
        "SELECT agent_id, update_no, risk_score, decision, health_status, key FROM agent_updates ORDER BY 1, 2",
        "SELECT agent_id, event, reason, health_from, health_to, actor FROM agent_events ORDER BY agent_id, event_id",
        "SELECT agent_id, token FROM agent_locks WHERE process_id IS NULL ORDER BY 1",
        "SELECT name, state FROM processes ORDER BY process_id",
        "SELECT server, tool, calls, errors FROM tool_calls ORDER BY 1, 2",
        "SELECT risk_healthy_max, history_limit FROM settings",
    ] {
        story.extend(database.rows(sql)?);
    }
    Ok(story)
}

#[test]
fn what_is_lost_now_and_then_and_runs_again_is_done_once() -> TestResult {
    let Some(server) = database()? else { return Ok(()) };
    let file = Database::in_a_file(&[])?;
    drop(server.store()?);
    lose_one_in_three(&server)?;
    let do_all = |database: &Database| -> TestResult {
        let store = Store::options().lock_timeout(Duration::from_secs(20)).open(database.address())?;
        fill(&store)?;
        let updates: Vec<_> = (0..60)
            .map(|n| (format!("group-{}", n % 7), Update::new().complexity(f64::from(n) / 60.0)))
            .collect();
        for made in store.process_updates(&updates) {
            made?;
        }
        store.set_setting("history_limit", "1001")?;
        Ok(())
    };
    do_all(&file)?;
    do_all(&server)?;
    assert!(server.count("SELECT last_value FROM losses")? > 100, "many were lost");
    let (wanted, found) = (story(&file)?, story(&server)?);
    for (wanted, found) in wanted.iter().zip(&found) {
        assert_eq!(wanted, found);
    }
    assert_eq!(wanted.len(), found.len());
    Ok(())
}

#[test]
fn a_group_whose_agent_somebody_else_has_just_made_is_made_once() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    let store = database.store()?;
    let other = Connected::to(&database.address())?;
    other.execute("BEGIN; INSERT INTO agents (agent_id, created_at) VALUES ('writer', now())")?;
    thread::scope(|scope| -> TestResult {
        let made =
            scope.spawn(|| store.process_updates(&[("writer", Update::new()), ("writer", Update::new())]));
        wait_until("it waits for the other", || {
            let waiting = "SELECT count(*) FROM pg_stat_activity
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            database.count(waiting).is_ok_and(|waiting| waiting > 0)
        });
        other.execute("COMMIT")?;
        for (number, made) in (1..).zip(made.join().expect("no panic")) {
            assert_eq!(made?.metrics.total_updates, number);
        }
        Ok(())
    })?;
    assert_eq!(update(&store, "writer")?, 3);
    Ok(())
}

#[test]
fn settings_that_are_changed_at_once_are_all_changed() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    let keys = ["risk_healthy_max", "coherence_healthy_min", "max_processes", "terminate_grace_ms"];
    let values = |key: &str, n: u32| match key {
        "risk_healthy_max" => format!("0.{:03}", 100 + n),
        "coherence_healthy_min" => format!("0.{:03}", 800 + n),
        _ => (10 + n).to_string(),
    };
    thread::scope(|scope| -> TestResult {
        let changing: Vec<_> = keys
            .map(|key| {
                let store = database.store();
                scope.spawn(move || -> govstore::Result<()> {
                    let store = store?;
                    for n in 0..40 {
                        store.set_setting(key, &values(key, n))?;
                        let kept = serde_json::to_value(store.settings()?).expect("settings are JSON");
                        assert_eq!(kept[key].to_string().parse::<f64>(), values(key, n).parse(), "{key}");
                    }
                    Ok(())
                })
            })
            .into();
        for changing in changing {
            changing.join().expect("no panic")?;
        }
        Ok(())
    })
}

#[test]
fn groups_that_have_the_same_agents_in_another_order_never_wait_for_each_other() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    let store = database.store()?;
    let agents: Vec<String> = (0..20).map(|n| format!("agent-{n}")).collect();
    for agent in &agents {
        update(&store, agent)?;
    }
    thread::scope(|scope| {
        for is_backwards in [false, true, false, true] {
            let (database, agents) = (&database, &agents);
            scope.spawn(move || {
                let store = database.store().expect("it is there");
                let mut group: Vec<_> = agents.iter().map(|agent| (agent.as_str(), Update::new())).collect();
                if is_backwards {
                    group.reverse();
                }
                for _ in 0..20 {
                    assert!(store.process_updates(&group).iter().all(Result::is_ok));
                }
            });
        }
    });
    assert_eq!(database.count("SELECT sum(total_updates)::bigint FROM agents")?, 20 + 4 * 20 * 20);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(database.count(deadlocks)?, 0);
    Ok(())
}
