//! Signals: ends the claimed processes, all at once, each held and identified first.
//!
//! No transaction is open here.

use std::thread;
use std::time::{Duration, Instant};

use super::remains;
use super::victim::{Ending, KILL_PATIENCE, POLL, Victim};
use crate::model::Outcome;
use crate::os::{Hold, NoHold, Signal, System, clock};

/// Ends all victims: SIGTERM, SIGCONT so that a stopped process can obey, a grace, SIGKILL. In the order of
/// `victims`.
pub(crate) fn end_all(system: &dyn System, victims: &[Victim]) -> Vec<Ending> {
    // Those that are gone, and have left others.
    thread::scope(|scope| {
        let of_runs: Vec<_> = victims
            .iter()
            .map(|victim| {
                let run_id = victim.judgement.run_left?;
                Some(scope.spawn(move || remains::end(system, victim, run_id)))
            })
            .collect();
        let mut of_others = end_processes(system, victims).into_iter();
        let endings = of_runs.into_iter().map(|of_run| match of_run {
            Some(ended) => ended.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => of_others.next().expect("an ending for each"),
        });
        endings.collect()
    })
}

/// Ends those that are not gone themselves.
fn end_processes(system: &dyn System, victims: &[Victim]) -> Vec<Ending> {
    let began = Instant::now();
    let others = victims.iter().filter(|victim| victim.judgement.run_left.is_none());
    let mut pursuits: Vec<Pursuit> = others.map(|victim| Pursuit::begin(system, victim)).collect();

    let grace = victims.iter().map(|victim| victim.grace_ms).max().unwrap_or_default();
    wait_for_all(&mut pursuits, began, Duration::from_millis(grace), Outcome::Terminated);
    for pursuit in &mut pursuits {
        pursuit.send(Signal::Kill);
    }
    wait_for_all(&mut pursuits, Instant::now(), KILL_PATIENCE, Outcome::Killed);
    pursuits.into_iter().map(Pursuit::give_up).collect()
}

/// Looks until every victim has ended, or for as long as `patience`.
fn wait_for_all(pursuits: &mut [Pursuit], since: Instant, patience: Duration, outcome: Outcome) {
    loop {
        let mut all_ended = true;
        for pursuit in &mut *pursuits {
            all_ended &= pursuit.look(outcome);
        }
        if all_ended || since.elapsed() >= patience {
            return;
        }
        thread::sleep(POLL);
    }
}

/// One victim on its way out.
struct Pursuit {
    /// `None` once it is over.
    hold: Option<Box<dyn Hold>>,
    began: Instant,
    ending: Ending,
}

impl Pursuit {
    fn begin(system: &dyn System, victim: &Victim) -> Self {
        let process = &victim.judgement.process;
        let ending =
            Ending { outcome: Outcome::Survived, signals: Vec::new(), took: Duration::ZERO, refusal: None };
        let mut pursuit = Self { hold: None, began: Instant::now(), ending };
        if clock::monotonic_ms() > victim.until_monotonic_ms {
            // This reaper was frozen for so long that its claim may be somebody else's by now.
            pursuit.fail(NoHold::Denied(std::io::Error::other("the claim ran out before the signal")));
            return pursuit;
        }
        match system.hold(process.pid, process.start_ticks) {
            Ok(hold) => {
                pursuit.hold = Some(hold);
                pursuit.send(Signal::Term);
                pursuit.send(Signal::Cont);
            }
            Err(reason) => pursuit.fail(reason),
        }
        pursuit
    }

    /// Sends a signal, unless it is over.
    fn send(&mut self, signal: Signal) {
        let Some(hold) = &self.hold else { return };
        match hold.send(signal) {
            Ok(()) => self.ending.signals.push(signal),
            // It ended just now, and the next look says so; unless nothing had reached it.
            Err(NoHold::Gone) if !self.ending.signals.is_empty() => {}
            Err(reason) => self.fail(reason),
        }
    }

    /// Whether it is over, by `outcome` if it has ended just now.
    fn look(&mut self, outcome: Outcome) -> bool {
        if self.hold.as_ref().is_some_and(|hold| hold.has_exited()) {
            self.finish(outcome);
        }
        self.hold.is_none()
    }

    fn fail(&mut self, reason: NoHold) {
        match reason {
            NoHold::Gone => self.finish(Outcome::Gone),
            NoHold::Denied(error) => {
                self.ending.refusal = Some(error.to_string());
                self.finish(Outcome::Denied);
            }
        }
    }

    fn finish(&mut self, outcome: Outcome) {
        self.ending.outcome = outcome;
        self.ending.took = self.began.elapsed();
        self.hold = None;
    }

    fn give_up(mut self) -> Ending {
        if self.hold.is_some() {
            self.finish(Outcome::Survived);
        }
        self.ending
    }
}
