//! Waiting for the write lock, with real processes: who holds it has a name. A server has no such lock: there who writes
//! to other agents is in nobody's way, and tests/postgres has its own.
#![cfg(unix)]

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use govstore::{Error, HolderState, LockHolder, Store, Update};
use govstore_testkit::{Database, Server, TestResult};
use rustix::process::Signal;

const SHORT: Duration = Duration::from_millis(300);
const SLACK: Duration = Duration::from_secs(3);

/// Only Linux tells who holds a lock.
const TELLS_HOLDER: bool = cfg!(all(target_os = "linux", not(govstore_portable)));

/// A worker inside a transaction.
fn writer(database: &Database, name: &str) -> Server {
    let mut writer = Server::worker(database, &[name]);
    writer.tell("update tester");
    writer.expect_line("updated");
    writer.tell("write-slowly tester");
    writer.expect_line("inside");
    writer
}

fn update(store: &Store) -> govstore::Result<()> {
    store.process_update("writer", &Update::default()).map(drop)
}

/// A wait that has to end at `SHORT`, and who is said to have been in the way.
fn times_out<T: std::fmt::Debug>(work: impl FnOnce() -> govstore::Result<T>) -> (String, Option<LockHolder>) {
    let began = Instant::now();
    let outcome = work();
    let took = began.elapsed();
    let Err(error) = outcome else { panic!("{outcome:?}") };
    assert!((SHORT..SHORT + SLACK).contains(&took), "it took {took:?}");
    let message = error.to_string();
    let Error::LockTimeout { waited, holder } = error else { panic!("{error:?}") };
    assert!((SHORT..=took).contains(&waited));
    (message, holder)
}

#[test]
fn a_writer_stopped_inside_its_transaction_is_no_mystery() -> TestResult {
    let database = Database::in_a_file(&[])?;
    let store = database.store()?;
    update(&store)?;
    let mut writer = writer(&database, "the editor");
    writer.stop();
    let (message, holder) = times_out(|| update(&store.with_lock_timeout(SHORT)));
    if TELLS_HOLDER {
        let holder = holder.ok_or("no holder")?;
        assert_eq!((holder.pid, holder.process_id), (writer.pid(), Some(writer.process_id)));
        assert_eq!((holder.name.as_str(), holder.state), ("the editor", HolderState::Stopped));
        assert!(holder.registered_at.is_some());
        assert!(!holder.held_for.is_zero() && holder.held_for < SHORT + SLACK);
        let pid = writer.pid();
        for saying in [format!("PID {pid} (the editor"), "is stopped".into(), format!("kill -CONT {pid}")] {
            assert!(message.contains(&saying), "{saying}: {message}");
        }
    }

    writer.signal(Signal::CONT);
    writer.tell("");
    writer.expect_line("written");
    update(&store)?;
    writer.end();
    assert_eq!(store.agent("writer")?.total_updates, 2);
    assert_eq!(store.agent("tester")?.notes, "written slowly", "nothing is lost");
    Ok(())
}

/// The system lists its locks while others take and release theirs.
#[test]
fn a_holder_is_named_whatever_else_is_being_locked() -> TestResult {
    let database = Database::in_a_file(&[])?;
    let store = database.store()?;
    let _writer = writer(&database, "the editor");
    let others_are_at_it = AtomicBool::new(true);
    thread::scope(|scope| {
        for n in 0..4 {
            let path = database.folder().join(format!("other-{n}"));
            let others_are_at_it = &others_are_at_it;
            scope.spawn(move || {
                let files: Vec<File> = (0..4).map(|_| File::create(&path).unwrap()).collect();
                while others_are_at_it.load(Ordering::Relaxed) {
                    for file in &files {
                        file.lock_shared().unwrap();
                    }
                    for file in &files {
                        file.unlock().unwrap();
                    }
                }
            });
        }
        let hurried = store.with_lock_timeout(Duration::ZERO);
        let told =
            |error| matches!(error, Error::LockTimeout { holder, .. } if holder.is_some() == TELLS_HOLDER);
        let named = (0..200).filter(|_| update(&hurried).is_err_and(told)).count();
        others_are_at_it.store(false, Ordering::Relaxed);
        assert_eq!(named, 200);
    });
    Ok(())
}

#[test]
fn threads_of_one_process_queue_and_are_told_whom_they_wait_for() -> TestResult {
    let database = Database::in_a_file(&[])?;
    let store = database.store()?;
    update(&store)?;
    // A thread of this process is inside a transaction.
    thread::scope(|scope| -> TestResult {
        let (inside, is_inside) = mpsc::channel();
        let (leave, may_leave) = mpsc::channel::<()>();
        let store = &store;
        scope.spawn(move || {
            store.update_agent("writer", |_| {
                inside.send(()).unwrap();
                let _ = may_leave.recv();
                Ok::<_, Error>(())
            })
        });
        is_inside.recv()?;
        let (message, holder) = times_out(|| update(&store.with_lock_timeout(SHORT)));
        if TELLS_HOLDER {
            assert!(holder.is_some_and(|holder| holder.is_this_process()));
            assert!(message.contains("another thread of this process"), "{message}");
        }
        drop(leave);
        Ok(())
    })?;
    // A thread of this process waits itself for another one: that one is named to both.
    let mut writer = writer(&database, "the editor");
    let named: Vec<_> = thread::scope(|scope| {
        let waits: Vec<_> =
            (0..2).map(|_| scope.spawn(|| times_out(|| update(&store.with_lock_timeout(SHORT))).1)).collect();
        waits.into_iter().map(|wait| wait.join().unwrap()).collect()
    });
    if TELLS_HOLDER {
        assert!(
            named.iter().all(|holder| holder.as_ref().is_some_and(|h| h.pid == writer.pid())),
            "{named:?}"
        );
    }
    writer.tell("");
    writer.expect_line("written");
    writer.end();
    Ok(())
}

#[test]
fn a_timeout_that_is_changed_in_the_database_holds_from_then_on() -> TestResult {
    let database = Database::in_a_file(&[("lock_timeout_ms", "300")])?;
    let store = database.store()?;
    let mut writer = writer(&database, "the editor");
    times_out(|| update(&store));
    writer.tell("");
    writer.expect_line("written");
    writer.end();
    Ok(())
}

#[test]
fn what_is_released_in_time_is_acquired() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let mut writer = writer(&database, "the editor");
    thread::scope(|scope| -> TestResult {
        let waiting = scope.spawn(|| update(&store.with_lock_timeout(Duration::from_secs(30))));
        thread::sleep(SHORT); // a release at 0.3 s is the case itself
        writer.tell("");
        writer.expect_line("written");
        waiting.join().unwrap()?;
        Ok(())
    })?;
    writer.end();
    Ok(())
}
