//! A pause of a process's writes: nothing is under way while it lasts, and nothing is lost by it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use govstore::{Update, pause_writes};
use govstore_testkit::{Database, TestResult};

#[test]
fn a_pause_waits_for_the_write_under_way_and_holds_the_next_ones_back() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    store.process_update("writer", &Update::default())?;
    let (inside, is_inside) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (paused, is_paused) = mpsc::channel();
    let (resume, resumed) = mpsc::channel::<()>();
    thread::scope(|scope| -> TestResult {
        scope.spawn({
            let store = &store;
            move || {
                store.update_agent("writer", |agent| {
                    agent.notes = "under way".to_owned();
                    inside.send(()).expect("the test waits");
                    released.recv().expect("the test goes on");
                    Ok::<_, govstore::Error>(())
                })
            }
        });
        is_inside.recv()?;
        scope.spawn(move || {
            let pause = pause_writes();
            paused.send(()).expect("the test waits");
            let _ = resumed.recv();
            drop(pause);
        });
        assert!(is_paused.recv_timeout(Duration::from_millis(200)).is_err(), "a transaction is open");
        release.send(())?;
        is_paused.recv()?;

        let (written, is_written) = mpsc::channel();
        let hasty = store.with_lock_timeout(Duration::from_millis(50));
        scope.spawn(move || {
            let report = hasty.process_update("writer", &Update::default());
            written.send(report.map_err(|error| error.to_string())).expect("the test waits");
        });
        assert!(is_written.recv_timeout(Duration::from_millis(200)).is_err(), "nothing is written meanwhile");
        let agent = store.agent("writer")?; // reads go on
        assert_eq!((agent.notes.as_str(), agent.total_updates), ("under way", 1));
        resume.send(())?;
        assert_eq!(is_written.recv()??.metrics.total_updates, 2, "the pause has cost it no patience");
        Ok(())
    })
}
