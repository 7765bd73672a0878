//! Locks on agents, with real processes.
#![cfg(unix)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use govstore::{Error, EventKind, HolderState, ProcessInfo, Registration, Store, Update};
use govstore_testkit::{Database, Server, TestResult, wait_until};
use rustix::process::Signal;

/// A limit that a wait is to end at.
const SHORT: Duration = Duration::from_millis(300);
/// Not much after it, on a machine that has other things to do.
const SLACK: Duration = Duration::from_secs(3);

/// A database with the agents `writer` and `tester`.
fn database(settings: &[(&str, &str)]) -> Result<Database, Box<dyn std::error::Error>> {
    with_agents(Database::new(settings)?)
}

fn with_agents(database: Database) -> Result<Database, Box<dyn std::error::Error>> {
    let store = database.store()?;
    store.process_update("writer", &Update::default())?;
    store.process_update("tester", &Update::default())?;
    Ok(database)
}

fn registered(database: &Database) -> govstore::Result<(Store, Registration)> {
    let store = database.store()?;
    let registration = store.register(ProcessInfo::new("the test", "1"))?;
    registration.start_heartbeat()?;
    Ok((store, registration))
}

/// A worker that has `writer` locked.
fn holder(database: &Database, options: &[&str]) -> Server {
    let mut holder = Server::worker(database, options);
    holder.tell("lock writer");
    holder.expect_line("locked");
    holder
}

fn update(store: &Store) -> govstore::Result<()> {
    store.process_update("writer", &Update::default()).map(drop)
}

/// What an attempt without patience says when nobody happens to write: the database itself is taken for a moment
/// by each heartbeat.
fn between_beats<T>(attempt: impl Fn() -> govstore::Result<T>) -> govstore::Result<T> {
    let mut outcome = attempt();
    wait_until("a moment in which nobody writes", || {
        let taken = matches!(outcome, Err(Error::LockTimeout { .. }));
        if taken {
            outcome = attempt();
        }
        !taken
    });
    outcome
}

/// Waits for a lock with `limit`, and how long that took.
fn timed<T>(work: impl FnOnce() -> govstore::Result<T>) -> (govstore::Result<T>, Duration) {
    let began = Instant::now();
    (work(), began.elapsed())
}

#[test]
fn a_released_lock_can_be_taken_again_and_its_token_grows() -> TestResult {
    let database = database(&[])?;
    let (store, _registration) = registered(&database)?;
    let first = store.lock_agent("writer", None)?.token();
    let lock = store.lock_agent("writer", Some("to think"))?;
    assert!(lock.token() > first);
    let [held] = &store.locks()?[..] else { panic!("one lock") };
    assert_eq!((held.agent_id.as_str(), held.token), ("writer", lock.token()));
    assert_eq!((held.pid, held.name.as_deref()), (Some(std::process::id()), Some("the test")));
    assert_eq!((held.state, held.reason.as_deref()), (HolderState::Running, Some("to think")));
    let second = lock.token();
    lock.release()?;
    assert!(store.locks()?.is_empty());

    let mut other = Server::worker(&database, &[]);
    other.tell("lock writer");
    assert!(other.expect_line("locked").parse::<i64>()? > second, "in another process too");
    other.end();
    assert!(store.locks()?.is_empty(), "a process that ends releases what it holds");
    Ok(())
}

#[test]
fn an_error_or_a_panic_releases_the_lock_and_passes_unchanged() -> TestResult {
    let database = database(&[])?;
    let (store, _registration) = registered(&database)?;
    let failing = || -> Result<(), std::num::ParseIntError> {
        let _lock = store.lock_agent("writer", None).unwrap();
        let _number: i32 = "not a number".parse()?;
        Ok(())
    };
    assert_eq!(failing(), Err("not a number".parse::<i32>().unwrap_err()));
    assert!(store.locks()?.is_empty());

    let panicking = catch_unwind(AssertUnwindSafe(|| {
        let _lock = store.lock_agent("writer", None).unwrap();
        std::panic::resume_unwind(Box::new("the panic's own words"));
    }));
    assert_eq!(panicking.unwrap_err().downcast_ref(), Some(&"the panic's own words"));
    assert!(store.locks()?.is_empty());

    // Inside a transaction no other can be begun: the release comes with the next beat.
    let panicking = catch_unwind(AssertUnwindSafe(|| {
        let mut lock = store.lock_agent("writer", None).ok();
        let _ = store.update_agent("tester", |_| -> govstore::Result<()> {
            let _moved = lock.take();
            std::panic::resume_unwind(Box::new("inside"));
        });
    }));
    assert_eq!(panicking.unwrap_err().downcast_ref(), Some(&"inside"));
    update(&store)?;
    assert!(store.locks()?.is_empty());
    drop(store.with_lock_timeout(Duration::ZERO).lock_agent("writer", None)?);
    Ok(())
}

#[test]
fn locks_of_two_agents_nest_and_do_not_touch_a_third() -> TestResult {
    let database = database(&[])?;
    let (store, _registration) = registered(&database)?;
    let outer = store.lock_agent("writer", None)?;
    let inner = store.lock_agent("tester", None)?;
    assert_eq!(store.locks()?.len(), 2);
    let mut other = Server::worker(&database, &[]);
    other.tell("patience 0");
    other.tell("update a third");
    assert!(other.expect_line("failed").contains("no command"));
    other.tell("update third");
    assert_eq!(other.expect_line("updated"), "1");
    other.tell("lock third");
    other.expect_line("locked");
    drop(inner);
    assert_eq!(store.locks()?.len(), 2);
    other.tell("update tester");
    assert_eq!(other.expect_line("updated"), "2");
    drop(outer);
    other.tell("update writer");
    assert_eq!(other.expect_line("updated"), "2");
    other.end();
    Ok(())
}

#[test]
fn a_lock_held_elsewhere_ends_the_wait_on_time_and_names_agent_and_holder() -> TestResult {
    let database = database(&[])?;
    let holder = holder(&database, &["the editor"]);
    let (store, _registration) = registered(&database)?;
    let hurried = store.with_lock_timeout(SHORT);
    let attempts: [(&str, &dyn Fn() -> govstore::Result<()>); 4] = [
        ("lock", &|| hurried.lock_agent("writer", None).map(drop)),
        ("update", &|| update(&hurried)),
        ("edit", &|| hurried.update_agent("writer", |_| Ok(()))),
        ("reset", &|| hurried.reset("writer").map(drop)),
    ];
    for (name, attempt) in attempts {
        let (outcome, took) = timed(attempt);
        let error = outcome.expect_err(name);
        assert!((SHORT..SHORT + SLACK).contains(&took), "{name} took {took:?}");
        let Error::AgentLocked { agent_id, waited, holder: Some(named) } = &error else {
            panic!("{name}: {error:?}")
        };
        assert_eq!(agent_id, "writer");
        assert!((SHORT..=took).contains(waited));
        assert_eq!((named.pid, named.process_id), (holder.pid(), Some(holder.process_id)));
        assert_eq!((named.name.as_str(), named.state), ("the editor", HolderState::Running));
        assert!(named.registered_at.is_some());
        let message = error.to_string();
        for saying in ["\"writer\"", &format!("PID {} (the editor, registered", holder.pid()), "try again"] {
            assert!(message.contains(saying), "{message}");
        }
        assert_eq!(error.code(), "agent_locked");
    }
    assert_eq!(store.agent("writer")?.total_updates, 1);
    // An operator can always take an agent out of service, and reading needs no lock.
    store.pause("writer", None)?;
    store.resume("writer")?;
    let once = store.with_lock_timeout(Duration::ZERO);
    let outcome = between_beats(|| once.lock_agent("writer", None));
    assert!(matches!(outcome, Err(Error::AgentLocked { .. })), "zero tries once: {outcome:?}");
    holder.end();
    drop(between_beats(|| once.lock_agent("writer", None))?);
    Ok(())
}

#[test]
fn a_lock_that_is_released_in_time_is_acquired() -> TestResult {
    let database = database(&[])?;
    let mut holder = holder(&database, &[]);
    let (store, _registration) = registered(&database)?;
    let patient = store.with_lock_timeout(Duration::from_secs(2));
    let ((outcome, took), ()) = thread::scope(|scope| {
        let waiting = scope.spawn(|| timed(|| patient.lock_agent("writer", None).map(drop)));
        thread::sleep(SHORT); // the release at 0.3 s is the case itself
        holder.tell("release writer");
        (waiting.join().unwrap(), ())
    });
    holder.expect_line("released");
    outcome?;
    assert!(took >= SHORT.mul_f32(0.9), "{took:?}");
    holder.end();
    Ok(())
}

#[test]
fn another_thread_of_the_process_waits_and_the_same_one_is_told() -> TestResult {
    let database = database(&[])?;
    let (store, _registration) = registered(&database)?;
    let lock = store.lock_agent("writer", None)?;
    let (outcome, took) = timed(|| store.lock_agent("writer", None));
    assert!(
        matches!(outcome, Err(Error::AlreadyLocked { token, .. }) if token == lock.token()),
        "{outcome:?}"
    );
    assert!(took < SLACK, "it did not wait");
    update(&store)?;
    thread::scope(|scope| -> TestResult {
        let other = scope.spawn(|| {
            update(&store)?; // the lock belongs to the process
            timed(|| store.with_lock_timeout(SHORT).lock_agent("writer", None)).0.map(drop)
        });
        let Err(error) = other.join().unwrap() else { panic!("locked twice") };
        let Error::AgentLocked { holder: Some(holder), .. } = &error else { panic!("{error:?}") };
        assert!(holder.is_this_process());
        assert!(error.to_string().contains("another thread of this process"), "{error}");
        let (locked, after) = mpsc::channel();
        let store = &store;
        scope.spawn(move || locked.send(store.lock_agent("writer", None).map(drop)));
        drop(lock);
        after.recv()??;
        Ok(())
    })
}

#[test]
fn without_a_registration_or_an_agent_there_is_no_lock() -> TestResult {
    let database = database(&[])?;
    let store = database.store()?;
    assert!(matches!(store.lock_agent("writer", None), Err(Error::NotRegistered)));
    let _registration = store.register(ProcessInfo::new("the test", "1"))?;
    assert!(matches!(store.lock_agent("nobody", None), Err(Error::AgentNotFound { .. })));
    assert!(matches!(store.lock_agent("", None), Err(Error::InvalidAgentId { .. })));
    store.delete("tester")?;
    assert!(matches!(store.lock_agent("tester", None), Err(Error::WrongLifecycle { .. })));
    store.pause("writer", None)?;
    drop(store.lock_agent("writer", None)?);
    Ok(())
}

#[test]
fn a_killed_holder_is_in_nobodys_way() -> TestResult {
    let database = database(&[])?;
    let (store, _registration) = registered(&database)?;
    let mut last = 0;
    for buried in [true, false] {
        let mut holder = holder(&database, &[]);
        let (waiting, began) = (store.with_lock_timeout(Duration::from_secs(30)), mpsc::channel());
        let (token, death_to_lock) = thread::scope(|scope| -> Result<_, Error> {
            let locking = scope.spawn(|| {
                began.0.send(()).unwrap();
                let lock = waiting.lock_agent("writer", None)?;
                Ok::<_, Error>((lock.token(), Instant::now()))
            });
            began.1.recv().unwrap();
            if buried {
                holder.crash();
            } else {
                holder.crash_and_leave_a_zombie();
            }
            let death = Instant::now();
            let (token, locked) = locking.join().unwrap()?;
            Ok((token, locked.saturating_duration_since(death)))
        })?;
        assert!(token > last);
        last = token;
        assert!(death_to_lock < Duration::from_secs(2), "{death_to_lock:?} after its death was seen");
        eprintln!("acquired {death_to_lock:?} after the death of the holder was seen");
    }
    Ok(())
}

#[test]
fn an_update_goes_ahead_when_the_holder_was_killed() -> TestResult {
    let database = database(&[])?;
    let store = database.store()?;
    holder(&database, &[]).crash();
    let now = store.with_lock_timeout(Duration::ZERO);
    update(&now)?;
    assert!(store.locks()?.is_empty());
    holder(&database, &[]).crash();
    store.reap()?;
    assert!(store.locks()?.is_empty(), "the reaper clears it away too");
    Ok(())
}

#[test]
fn a_living_holder_is_not_robbed_however_old_its_lock_is() -> TestResult {
    let database = database(&[("heartbeat_interval_s", "0.05"), ("stale_after_s", "1")])?;
    let holder = holder(&database, &[]);
    assert_eq!(database.count("SELECT count(*) FROM agent_locks")?, 1);
    database.execute(
        "UPDATE agent_locks SET acquired_at = '2020-01-01T00:00:00.000Z', renewed_at = '2020-01-01T00:00:00.000Z'",
    )?;
    let (store, _registration) = registered(&database)?;
    let outcome = store.with_lock_timeout(Duration::from_secs(2)).lock_agent("writer", None);
    let Err(Error::AgentLocked { holder: Some(named), .. }) = &outcome else { panic!("{outcome:?}") };
    assert!(named.held_for > Duration::from_hours(24));
    let renewed_at = &database.rows("SELECT renewed_at FROM agent_locks")?[0][0];
    assert!(renewed_at.as_str() > Some("2026"), "renewed with the heartbeat: {renewed_at}");
    holder.end();
    Ok(())
}

#[test]
fn a_stopped_holder_keeps_its_lock_while_its_heartbeat_is_fresh() -> TestResult {
    let database = database(&[])?;
    let mut holder = holder(&database, &["the editor"]);
    holder.stop();
    let (store, _registration) = registered(&database)?;
    let outcome = store.with_lock_timeout(SHORT).lock_agent("writer", None);
    let Err(error @ Error::AgentLocked { holder: Some(named), .. }) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(named.state, HolderState::Stopped);
    let message = error.to_string();
    let wake = format!("kill -CONT {}", holder.pid());
    assert!(message.contains("is stopped") && message.contains(&wake), "{message}");
    assert_eq!(store.locks()?[0].state, HolderState::Stopped);

    holder.signal(Signal::CONT);
    holder.tell("update writer");
    assert_eq!(holder.expect_line("updated"), "2");
    holder.end();
    Ok(())
}

#[test]
fn a_holder_whose_heartbeat_is_stale_loses_the_lock_and_its_late_write_is_fenced() -> TestResult {
    let database = database(&[])?;
    let mut holder = holder(&database, &["late", "--no-heartbeat"]);
    holder.stop();
    database.age_heartbeat(holder.process_id, 301)?;
    database.age_activity(holder.process_id, 301)?; // nothing is used without a beat
    let store = database.store()?;
    let _registration = store.register(ProcessInfo::new("the test", "1"))?; // no heartbeat: it reaps nobody
    let lock = store.lock_agent("writer", None)?; // a second look, an interval after the first, is within its patience
    holder.signal(Signal::CONT);
    for command in ["update writer", "write-slowly writer"] {
        holder.tell(command);
        let told = holder.expect_line("failed");
        assert!(told.contains("lost its lock on agent \"writer\""), "{told}");
    }
    drop(lock);
    holder.tell("update writer");
    assert!(holder.expect_line("failed").contains("lost its lock"), "free is not his");
    assert_eq!(store.agent("writer")?.total_updates, 1);
    holder.tell("update tester");
    holder.expect_line("updated");
    holder.tell("release writer");
    holder.expect_line("released");
    holder.tell("update writer");
    assert_eq!(holder.expect_line("updated"), "2");
    holder.end();
    Ok(())
}

#[test]
fn a_holder_whose_row_is_gone_loses_the_lock_and_its_late_write_is_fenced() -> TestResult {
    let database = database(&[])?;
    let (store, _registration) = registered(&database)?;
    for taken_by_another in [true, false] {
        let mut holder = holder(&database, &["late", "--no-heartbeat"]);
        database.execute(&format!("DELETE FROM processes WHERE process_id = {}", holder.process_id))?;
        assert_eq!(store.locks()?[0].state, HolderState::Gone);
        if taken_by_another {
            drop(store.with_lock_timeout(Duration::ZERO).lock_agent("writer", None)?);
        } else {
            holder.tell("beat");
            assert_eq!(holder.expect_line("beat"), "Superseded");
        }
        holder.tell("update writer");
        assert!(holder.expect_line("failed").contains("lost its lock on agent \"writer\""));
        assert_eq!(store.agent("writer")?.total_updates, 1);
        holder.end();
    }
    Ok(())
}

#[test]
fn a_lock_waits_for_sqlites_write_lock_and_names_who_holds_that() -> TestResult {
    let database = with_agents(Database::in_a_file(&[])?)?;
    let mut writer = Server::worker(&database, &["slow writer"]);
    writer.tell("write-slowly tester");
    writer.expect_line("inside");
    let store = database.store()?;
    // Registering writes as well, so it has to be done before.
    writer.tell("");
    writer.expect_line("written");
    let _registration = store.register(ProcessInfo::new("the test", "1"))?;
    writer.tell("write-slowly tester");
    writer.expect_line("inside");
    let (outcome, took) = timed(|| store.with_lock_timeout(SHORT).lock_agent("writer", None));
    let Err(error @ Error::LockTimeout { .. }) = &outcome else { panic!("{outcome:?}") };
    assert!((SHORT..SHORT + SLACK).contains(&took), "{took:?}");
    if cfg!(all(target_os = "linux", not(govstore_portable))) {
        assert!(error.to_string().contains(&format!("PID {} (slow writer", writer.pid())), "{error}");
    }
    writer.tell("");
    writer.expect_line("written");
    assert!(store.locks()?.is_empty());
    drop(store.lock_agent("writer", None)?);
    writer.end();
    Ok(())
}

#[test]
fn a_release_that_finds_no_write_lock_is_made_with_the_next_beat() -> TestResult {
    let database = with_agents(Database::in_a_file(&[])?)?;
    let mut writer = Server::worker(&database, &[]);
    let store = database.store()?;
    let registration = store.register(ProcessInfo::new("the test", "1"))?;
    let lock = store.lock_agent("writer", None)?;
    writer.tell("write-slowly tester");
    writer.expect_line("inside");
    drop(lock);
    assert_eq!(store.locks()?.len(), 1);
    writer.tell("");
    writer.expect_line("written");
    let _ = registration.beat()?;
    assert!(store.locks()?.is_empty());
    writer.end();
    Ok(())
}

#[test]
fn an_operator_takes_a_lock_away_and_that_is_on_record() -> TestResult {
    let database = database(&[])?;
    let mut holder = holder(&database, &["the editor"]);
    let store = database.store()?;
    let taken = store.unlock_agent("writer", Some("it hangs"))?;
    assert_eq!((taken.pid, taken.process_id), (Some(holder.pid()), holder.process_id));
    assert!(matches!(store.unlock_agent("writer", None), Err(Error::NotLocked { .. })));
    assert!(matches!(store.unlock_agent("nobody", None), Err(Error::AgentNotFound { .. })));
    let event = store.events("writer")?.pop().ok_or("no event")?;
    assert_eq!(event.event, EventKind::Unlocked);
    assert_eq!(event.reason, Some(format!("taken from PID {} (the editor): it hangs", holder.pid())));
    update(&store.with_lock_timeout(Duration::ZERO))?;
    holder.tell("update writer");
    assert!(holder.expect_line("failed").contains("lost its lock on agent \"writer\""));
    holder.end();
    Ok(())
}

#[test]
fn a_forked_child_does_not_release_its_parents_lock() -> TestResult {
    let database = database(&[])?;
    let (store, _registration) = registered(&database)?;
    let lock = store.lock_agent("writer", None)?;
    match fork::fork() {
        Ok(fork::Fork::Child) => {
            drop(lock);
            std::process::exit(0);
        }
        Ok(fork::Fork::Parent(child)) => fork::waitpid(child)?,
        Err(e) => return Err(format!("cannot fork: {e}").into()),
    };
    assert_eq!(store.locks()?.len(), 1);
    update(&store)?;
    drop(lock);
    assert!(store.locks()?.is_empty());
    Ok(())
}

#[test]
fn eight_processes_count_to_320_under_the_lock() -> TestResult {
    const PROCESSES: usize = 8;
    const INCREMENTS: u64 = 40;
    const ROUNDS: u64 = 20;
    let database = database(&[("lock_timeout_ms", "60000")])?;
    let store = database.store()?;
    let mut workers: Vec<_> = (0..PROCESSES).map(|_| Server::worker(&database, &[])).collect();
    for round in 1..=ROUNDS {
        for worker in &mut workers {
            worker.tell(&format!("increment writer {INCREMENTS}"));
        }
        for worker in &mut workers {
            worker.expect_line("incremented");
        }
        let counter = store.agent("writer")?.attributes["counter"].as_u64();
        assert_eq!(counter, Some(round * INCREMENTS * PROCESSES as u64), "round {round}");
    }
    assert!(store.locks()?.is_empty());
    workers.into_iter().for_each(Server::end);
    wait_until("the registry to be empty", || store.processes().is_ok_and(|left| left.is_empty()));
    Ok(())
}
