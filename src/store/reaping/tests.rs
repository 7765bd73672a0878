//! The reaper on both sides of the operating system, with real processes: Linux's own and the portable one.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::model::{Action, Outcome, ProcessInfo, ProcessState, ReapReport, Verdict};
use crate::os::{Here, Portable, Sighting, native, parent_pid};
use crate::registry::Identity;

type TestResult = Result<(), Box<dyn Error>>;

/// Runs a test on both sides.
fn on_each_system(test: impl Fn(&dyn System, &Store) -> TestResult) -> TestResult {
    let systems: [Box<dyn System>; 2] = [Box::new(native()?), Box::new(Portable::new()?)];
    for system in systems {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path().join("governance.db"))?;
        store.set_setting("terminate_grace_ms", "300")?;
        store.set_setting("heartbeat_interval_s", "0.05")?;
        test(&*system, &store)?;
    }
    Ok(())
}

/// A child that is put into the registry by the test, as it would have put itself there.
struct Subject {
    child: Child,
    process_id: i64,
}

impl Subject {
    /// `script` is run by a shell; its first line of output says that it is ready. It has the database open.
    fn start(system: &dyn System, store: &Store, script: &str) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new("sh")
            .args(["-c", &format!("{script}; echo ready; exec sleep 600 3<\"$0\"")])
            .arg(store.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line)?;
        let Sighting::Present(seen) = system.look_at(child.id()) else { panic!("the child is not seen") };
        let identity = Identity {
            info: ProcessInfo::new("subject", "1"),
            here: Here { pid: child.id(), start_ticks: seen.start_ticks, ..system.here().clone() },
            parent: None,
        };
        let process_id = store.write(|tx| registry::insert(tx, &identity, &tx.settings()?))?;
        Ok(Self { child, process_id })
    }

    fn stale(system: &dyn System, store: &Store, script: &str) -> Result<Self, Box<dyn Error>> {
        let subject = Self::start(system, store, script)?;
        subject.update(store, "UPDATE heartbeats SET monotonic_ms = monotonic_ms - 400000")?;
        // The echo comes before the exec, which opens the database.
        subject.wait_until_seen(system, |_| {
            !system.here().sees_open_files
                || store.backend().mark().is_on(subject.child.id(), system) == Some(true)
        });
        look_twice(system, store)?;
        Ok(subject)
    }

    /// Changes its rows.
    fn update(&self, store: &Store, sql: &str) -> Result<()> {
        store
            .backend()
            .sqlite()
            .expect("a file")
            .execute(&format!("{sql} WHERE process_id = {}", self.process_id))?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> TestResult {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits until the system sees it so.
    fn wait_until_seen(&self, system: &dyn System, as_expected: impl Fn(&Sighting) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !as_expected(&system.look_at(self.child.id())) {
            assert!(Instant::now() < deadline, "{:?}", system.look_at(self.child.id()));
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks twice at what is suspect, as a reaper does, and ends nobody yet.
fn look_twice(system: &dyn System, store: &Store) -> TestResult {
    for _ in 0..2 {
        let claimed = store.claim(system, &store.look(system)?)?;
        assert!(claimed.victims.is_empty(), "{:?}", claimed.plan);
        thread::sleep(Duration::from_millis(60));
    }
    Ok(())
}

const OBEDIENT: &str = ":";
const DEAF: &str = "trap '' TERM";

/// The one event of a report: verdict, signals, outcome.
fn event(report: &ReapReport) -> (&'static str, &str, &'static str) {
    let [event] = &report.events[..] else { panic!("{report:?}") };
    // One that obeys may be gone before the SIGCONT is sent.
    let signals = if event.signals == "TERM" { "TERM CONT" } else { event.signals.as_str() };
    (event.verdict.as_str(), signals, event.outcome.as_str())
}

#[test]
fn a_stale_process_is_asked_and_a_deaf_one_is_killed() -> TestResult {
    on_each_system(|system, store| {
        let mut obedient = Subject::stale(system, store, OBEDIENT)?;
        assert_eq!(event(&store.reap_with(system)?), ("stale", "TERM CONT", "terminated"));
        assert!(obedient.child.try_wait()?.is_some());

        let mut deaf = Subject::stale(system, store, DEAF)?;
        assert_eq!(event(&store.reap_with(system)?), ("stale", "TERM CONT KILL", "killed"));
        assert!(deaf.child.wait()?.code().is_none());
        Ok(())
    })
}

#[test]
fn a_stopped_process_is_seen_as_such_and_can_obey() -> TestResult {
    on_each_system(|system, store| {
        let subject = Subject::stale(system, store, OBEDIENT)?;
        subject.signal(Signal::STOP)?;
        subject.wait_until_seen(system, |seen| matches!(seen, Sighting::Present(seen) if seen.stopped));
        let report = store.reap_with(system)?;
        assert!(report.events[0].evidence.ends_with("it is stopped"), "{report:?}");
        assert_eq!(event(&report), ("stale", "TERM CONT", "terminated"));
        Ok(())
    })
}

#[test]
fn a_zombie_and_a_vanished_process_are_forgotten() -> TestResult {
    on_each_system(|system, store| {
        let mut subject = Subject::start(system, store, OBEDIENT)?;
        subject.child.kill()?;
        subject.wait_until_seen(system, |seen| matches!(seen, Sighting::Present(seen) if seen.exited));
        let report = store.reap_with(system)?;
        assert!(report.events[0].evidence.contains("zombie"), "{report:?}");
        assert_eq!(event(&report), ("exited", "", "forgotten"));

        let mut subject = Subject::start(system, store, OBEDIENT)?;
        subject.child.kill()?;
        subject.child.wait()?;
        assert_eq!(system.look_at(subject.child.id()), Sighting::Gone);
        assert_eq!(event(&store.reap_with(system)?), ("exited", "", "forgotten"));
        Ok(())
    })
}

#[test]
fn the_heir_of_a_pid_is_spared() -> TestResult {
    on_each_system(|system, store| {
        let mut heir = Subject::stale(system, store, OBEDIENT)?;
        heir.update(store, "UPDATE processes SET start_ticks = start_ticks - 1")?;
        assert_eq!(event(&store.reap_with(system)?), ("exited", "", "forgotten"));
        assert!(heir.child.try_wait()?.is_none(), "it lives");
        Ok(())
    })
}

#[test]
fn a_process_that_ends_between_claim_and_signal_is_recorded_as_gone() -> TestResult {
    on_each_system(|system, store| {
        let mut subject = Subject::stale(system, store, OBEDIENT)?;
        let scene = store.look(system)?;
        let claimed = store.claim(system, &scene)?;
        subject.child.kill()?;
        subject.child.wait()?;
        let endings = reaper::end_all(system, &claimed.victims);
        let events = store.record_endings(system, &claimed.victims, &endings)?;
        assert_eq!((events[0].signals.as_str(), events[0].outcome), ("", Outcome::Gone));
        assert!(store.processes()?.is_empty());
        Ok(())
    })
}

/// The PID goes to another process between claim and signal: whoever holds it now is not signalled.
#[test]
fn the_heir_of_a_pid_between_claim_and_signal_is_spared() -> TestResult {
    on_each_system(|system, store| {
        let mut heir = Subject::stale(system, store, OBEDIENT)?;
        let scene = store.look(system)?;
        let mut claimed = store.claim(system, &scene)?;
        claimed.victims[0].judgement.process.start_ticks -= 1; // the victim was the one before
        let endings = reaper::end_all(system, &claimed.victims);
        assert_eq!((endings[0].outcome, endings[0].signals.len()), (Outcome::Gone, 0));
        assert!(heir.child.try_wait()?.is_none(), "it lives");
        Ok(())
    })
}

#[test]
fn a_heartbeat_between_plan_and_claim_saves_its_process() -> TestResult {
    on_each_system(|system, store| {
        let subject = Subject::stale(system, store, OBEDIENT)?;
        let scene = store.look(system)?;
        let settings = store.settings()?;
        let plan = scene.plan_now(&settings, &store.memory());
        assert_eq!(plan.judgements[0].action, Action::End);
        subject.update(store, "UPDATE heartbeats SET monotonic_ms = monotonic_ms + 400000")?;
        let claimed = store.claim(system, &scene)?;
        assert!(claimed.victims.is_empty() && claimed.events.is_empty());
        assert_eq!(claimed.plan.judgements[0].verdict, Verdict::Alive);
        Ok(())
    })
}

#[test]
fn the_second_to_claim_gets_nothing() -> TestResult {
    on_each_system(|system, store| {
        let _subject = Subject::stale(system, store, OBEDIENT)?;
        let scenes = [store.look(system)?, store.look(system)?]; // both see a victim
        let victims = |scene| store.claim(system, scene).map(|claimed| claimed.victims.len());
        assert_eq!((victims(&scenes[0])?, victims(&scenes[1])?), (1, 0));
        Ok(())
    })
}

/// A reaper that was frozen between claim and signal, until another one took the claim over.
#[test]
fn a_claim_that_was_taken_over_is_not_recorded_twice() -> TestResult {
    on_each_system(|system, store| {
        let subject = Subject::stale(system, store, OBEDIENT)?;
        let scene = store.look(system)?;
        let slow = store.claim(system, &scene)?;
        subject.update(store, "UPDATE processes SET claim_until_monotonic_ms = 0")?;
        assert_eq!(event(&store.reap_with(system)?), ("stale", "TERM CONT", "terminated"));
        let endings = reaper::end_all(system, &slow.victims);
        assert!(store.record_endings(system, &slow.victims, &endings)?.is_empty());
        let acts = store.reap_events(10)?.into_iter().filter(|event| event.outcome != Outcome::Postponed);
        assert_eq!(acts.count(), 1);
        Ok(())
    })
}

/// Somebody else finds the victim gone, and forgets it, before the one that ended it comes to tell of it.
#[test]
fn a_signal_does_not_go_untold_where_its_victim_was_forgotten_first() -> TestResult {
    on_each_system(|system, store| {
        let mut subject = Subject::stale(system, store, OBEDIENT)?;
        let scene = store.look(system)?;
        let claimed = store.claim(system, &scene)?;
        let endings = reaper::end_all(system, &claimed.victims);
        subject.child.wait()?;
        subject.update(store, "UPDATE processes SET claim_until_monotonic_ms = 0")?; // as after a freeze
        let forgotten = store.reap_with(system)?;
        assert_eq!(event(&forgotten), ("exited", "", "forgotten"));
        let told = store.record_endings(system, &claimed.victims, &endings)?;
        assert_eq!((told[0].verdict, told[0].outcome), (Verdict::Stale, Outcome::Terminated));
        assert!(told[0].signals.starts_with("TERM"), "{told:?}");
        let state = store.read(|reader| reader.own_row(subject.process_id))?.map(|row| row.state);
        assert_eq!(state, Some(ProcessState::Terminated));
        Ok(())
    })
}

#[test]
fn a_claim_that_ran_out_sends_nothing() -> TestResult {
    on_each_system(|system, store| {
        let mut subject = Subject::stale(system, store, OBEDIENT)?;
        let scene = store.look(system)?;
        let mut claimed = store.claim(system, &scene)?;
        claimed.victims[0].until_monotonic_ms = 0;
        let endings = reaper::end_all(system, &claimed.victims);
        assert_eq!((endings[0].outcome, endings[0].signals.len()), (Outcome::Denied, 0));
        assert!(subject.child.try_wait()?.is_none(), "it lives");
        Ok(())
    })
}

#[test]
fn what_cannot_be_ended_is_tried_again_later_and_not_at_once() -> TestResult {
    on_each_system(|system, store| {
        let subject = Subject::stale(system, store, OBEDIENT)?;
        let scene = store.look(system)?;
        let claimed = store.claim(system, &scene)?;
        let survived =
            Ending { outcome: Outcome::Survived, signals: Vec::new(), took: Duration::ZERO, refusal: None };
        let events = store.record_endings(system, &claimed.victims, &[survived])?;
        assert_eq!(events[0].outcome, Outcome::Survived);
        assert!(store.reap_with(system)?.events.is_empty(), "not at once");
        subject.update(store, "UPDATE processes SET claim_until_monotonic_ms = 0")?;
        assert_eq!(event(&store.reap_with(system)?), ("stale", "TERM CONT", "terminated"));
        Ok(())
    })
}

#[test]
fn init_this_process_and_process_groups_cannot_be_held() -> TestResult {
    on_each_system(|system, _| {
        for pid in [0, 1, std::process::id(), u32::MAX, 1 << 31] {
            let start_ticks = match system.look_at(pid) {
                Sighting::Present(seen) => seen.start_ticks,
                _ => 0,
            };
            let refused = system.hold(pid, start_ticks).map(|hold| hold.send(crate::os::Signal::Cont));
            assert!(!matches!(refused, Ok(Ok(()))), "PID {pid}");
        }
        Ok(())
    })
}

const DATABASE_OF_A_DYING_REAPER: &str = "GOVSTORE_TEST_DATABASE";

/// Not a test: the reaper that the next test kills. It claims, and gets no further.
#[test]
#[ignore = "the next test runs it in a process of its own"]
fn a_reaper_that_gets_no_further_than_its_claim() -> TestResult {
    let Some(path) = std::env::var_os(DATABASE_OF_A_DYING_REAPER) else { return Ok(()) };
    let store = Store::open(Path::new(&path))?;
    let system = native()?;
    look_twice(&system, &store)?;
    let scene = store.look(&system)?;
    let claimed = store.claim(&system, &scene)?;
    println!("claimed {}", claimed.victims.len());
    loop {
        thread::park();
    }
}

#[test]
fn the_work_of_a_reaper_killed_between_claim_and_signal_is_finished_by_the_next() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path().join("governance.db"))?;
    store.set_setting("heartbeat_interval_s", "0.05")?;
    let system = native()?;
    let mut victim = Subject::stale(&system, &store, OBEDIENT)?;
    let this = "store::reaping::tests::a_reaper_that_gets_no_further_than_its_claim";
    let mut reaper = Command::new(std::env::current_exe()?)
        .args(["--exact", this, "--ignored", "--nocapture"])
        .env(DATABASE_OF_A_DYING_REAPER, store.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(reaper.stdout.take().unwrap());
    assert!(output.lines().map_while(std::result::Result::ok).any(|line| line.ends_with("claimed 1")));
    assert_eq!(store.processes()?[0].state.as_str(), "terminating");
    assert!(store.reap_with(&system)?.events.is_empty(), "its reaper lives");

    reaper.kill()?;
    reaper.wait()?;
    assert!(victim.child.try_wait()?.is_none(), "it was not signalled");
    let report = store.reap_with(&system)?;
    assert_eq!(event(&report), ("stale", "TERM CONT", "terminated"));
    assert!(report.events[0].evidence.starts_with("the reaper that claimed it at"), "{report:?}");
    assert!(victim.child.try_wait()?.is_some());
    Ok(())
}

#[test]
fn a_process_is_registered_once_and_its_name_is_made_to_fit() -> TestResult {
    on_each_system(|system, store| {
        let identity = Identity {
            info: ProcessInfo::new("", "v".repeat(300)),
            here: system.here().clone(),
            parent: system.parent(),
        };
        let ids = store.write(|tx| {
            Ok((registry::insert_again(tx, &identity)?, registry::insert_again(tx, &identity)?))
        })?;
        assert_eq!(ids.0, ids.1, "one process, one row");
        let process = &store.processes()?[0];
        assert_eq!((process.name.as_str(), process.version.len()), ("unnamed", 200));
        assert_eq!(process.parent_pid, parent_pid());
        Ok(())
    })
}
