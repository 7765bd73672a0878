//! Calls that are cancelled while they wait for a lock.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use govstore::{Cancellation, Error, ProcessInfo, Store, Update, UpdateReport};
use govstore_testkit::{Database, TestResult, wait_until};

/// Longer than any test takes: a call that gives up sooner was cancelled.
const LOCK_TIMEOUT: Duration = Duration::from_mins(10);

fn patient(database: &Database) -> TestResult<Store> {
    Ok(database.store()?.with_lock_timeout(LOCK_TIMEOUT))
}

fn assert_cancelled(result: &Result<UpdateReport, Error>) {
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
}

#[test]
fn a_call_that_waits_for_the_database_is_called_off_at_once_and_changes_nothing() -> TestResult {
    let database = Database::new(&[])?;
    let store = patient(&database)?;
    store.process_update("a", &Update::new())?;
    let blocker = database.hold_write_lock()?;
    for _ in 0..20 {
        let cancellation = Cancellation::new();
        let cancellable = store.cancelled_by(&cancellation);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| cancellable.process_update("a", &Update::new()));
            let pausing = scope.spawn(|| cancellable.pause("a", None).map(drop));
            thread::sleep(Duration::from_millis(5));
            let began = Instant::now();
            cancellation.cancel();
            assert_cancelled(&waiting.join().expect("no panic"));
            let paused = pausing.join().expect("no panic");
            assert!(matches!(paused, Err(Error::Cancelled)), "{paused:?}");
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        });
    }
    drop(blocker);
    assert_eq!(store.process_update("a", &Update::new())?.metrics.updates, 2);
    Ok(())
}

#[test]
fn of_updates_that_wait_together_those_that_are_cancelled_are_left_out() -> TestResult {
    const UPDATES: usize = 8;
    let database = Database::new(&[])?;
    let store = patient(&database)?;
    let blocker = database.hold_write_lock()?;
    let cancellations: Vec<_> = (0..UPDATES).map(|_| Cancellation::new()).collect();
    let results: Vec<_> = thread::scope(|scope| {
        let calls: Vec<_> = cancellations
            .iter()
            .map(|cancellation| {
                let store = store.cancelled_by(cancellation);
                let call = scope.spawn(move || store.process_update("a", &Update::new()));
                thread::sleep(Duration::from_millis(20)); // the first leads, and the others line up
                call
            })
            .collect();
        for cancelled in cancellations.iter().step_by(2) {
            cancelled.cancel(); // the one that leads among them
        }
        drop(blocker);
        calls.into_iter().map(|call| call.join().expect("no panic")).collect()
    });
    for (n, result) in results.iter().enumerate() {
        if n % 2 == 0 {
            assert_cancelled(result);
        } else {
            assert!(result.is_ok(), "{n}: {result:?}");
        }
    }
    assert_eq!(store.agent("a")?.total_updates, 4);
    assert_eq!(store.history("a", None)?.len(), 4);
    Ok(())
}

#[test]
fn a_call_that_waits_for_an_agent_is_called_off() -> TestResult {
    let database = Database::new(&[])?;
    let (holder, store) = (database.store()?, patient(&database)?);
    holder.process_update("a", &Update::new())?;
    let _registration = holder.register(ProcessInfo::new("holder", "1"))?;
    let lock = holder.lock_agent("a", None)?;
    let cancellation = Cancellation::new();
    let cancellable = store.cancelled_by(&cancellation);
    let (ended, has_ended) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let _ = ended.send(cancellable.process_update("a", &Update::new())); // a test that failed waits no more
        });
        assert!(has_ended.recv_timeout(Duration::from_millis(100)).is_err(), "it waits");
        cancellation.cancel();
        assert_cancelled(&has_ended.recv_timeout(Duration::from_secs(10)).expect("an end"));
    });
    drop(lock);
    store.process_update("a", &Update::new())?;
    assert_eq!(store.agent("a")?.total_updates, 2);
    Ok(())
}

#[test]
fn what_outlives_the_call_is_not_called_off() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    store.process_update("a", &Update::new())?;
    let cancellation = Cancellation::new();
    let cancellable = store.cancelled_by(&cancellation);
    let registration = cancellable.register(ProcessInfo::new("server", "1"))?;
    let lock = cancellable.lock_agent("a", None)?;
    cancellation.cancel();
    assert!(matches!(registration.beat()?, govstore::Beat::Alive));
    lock.release()?;
    wait_until("the lock to be gone", || store.locks().is_ok_and(|locks| locks.is_empty()));
    registration.deregister()?;
    Ok(())
}
