//! What is left of a wrapped server whose two guardians were both killed: the processes that have its run id in their
//! environments, and its container.
//!
//! The id is random, and a process gets it by descent alone. It takes the place of the open database as evidence.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::victim::{Ending, KILL_PATIENCE, POLL, Victim};
use crate::model::{Container, Outcome, RunId};
use crate::os::{self, Hold, Signal, System, clock};

/// How long the removal of a container may take.
pub(super) const CONTAINER_PATIENCE: Duration = Duration::from_secs(10);

impl Container {
    /// Removes the container, and the file with its id. `false` if there is none. Waits for the runtime for `patience` at
    /// most.
    ///
    /// # Errors
    ///
    /// The system's, where the runtime can't be run; the runtime's own words, where it fails; and one for an id file that
    /// isn't this user's, or has no id in it.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use govstore::{Container, ContainerRuntime};
    ///
    /// let container = Container::new(ContainerRuntime::Docker, "/run/user/1000/govstore/1.cid");
    /// container.remove(Duration::from_secs(10))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn remove(&self, patience: Duration) -> io::Result<bool> {
        os::remove_container(self.runtime.as_str(), &self.id_file, patience)
    }
}

/// So many looks in a row that find nobody say that nobody is left.
const LOOKS_IN_VAIN: u32 = 2;

/// Ends what is left of a run: SIGTERM, SIGCONT, a grace, SIGKILL until a look finds nobody; then its container goes.
pub(super) fn end(system: &dyn System, victim: &Victim, run_id: RunId) -> Ending {
    let mut hunt = Hunt {
        system,
        member: run_id.of_members(),
        keeper: run_id.of_keeper(),
        began: Instant::now(),
        signals: Vec::new(),
    };
    let mut ending = if clock::monotonic_ms() > victim.until_monotonic_ms {
        // This reaper was frozen for so long that its claim may be somebody else's by now.
        hunt.ending(Outcome::Denied, Some("the claim ran out before the signal".to_owned()))
    } else {
        hunt.end(Duration::from_millis(victim.grace_ms))
    };
    // A keeper that is there after all removes the container, too.
    let is_over = ending.outcome.ended_as().is_some() && ending.refusal.is_none();
    if is_over
        && let Some(container) = &victim.judgement.process.container
        && let Err(error) = container.remove(CONTAINER_PATIENCE)
    {
        ending.refusal = Some(format!("its container: {error}"));
    }
    ending
}

struct Hunt<'a> {
    system: &'a dyn System,
    member: String,
    keeper: String,
    began: Instant,
    signals: Vec<Signal>,
}

impl Hunt<'_> {
    fn end(&mut self, grace: Duration) -> Ending {
        let Some(told) = self.signal(&[Signal::Term, Signal::Cont]) else {
            return self.ending(Outcome::Gone, Some("its keeper is there after all".to_owned()));
        };
        wait_for_all(&told, self.began + grace);
        let killing = Instant::now();
        let mut outcome = if told.is_empty() { Outcome::Gone } else { Outcome::Terminated };
        // A look can miss a process that is born while it goes through the list, and one whose environment the kernel
        // replaces just then (`execve`). Two in a row would have to miss it.
        let mut looks_in_vain = 0;
        while looks_in_vain < LOOKS_IN_VAIN {
            let Some(left) = self.signal(&[Signal::Kill]) else {
                return self.ending(outcome, Some("its keeper is there after all".to_owned()));
            };
            if left.is_empty() {
                looks_in_vain += 1;
                thread::sleep(POLL);
                continue;
            }
            looks_in_vain = 0;
            outcome = Outcome::Killed;
            if killing.elapsed() > KILL_PATIENCE {
                return self.ending(Outcome::Survived, None);
            }
            wait_for_all(&left, killing + KILL_PATIENCE);
        }
        self.ending(outcome, None)
    }

    /// Signals all that are there now, and returns them; `None` if a keeper is there, whose work it is.
    fn signal(&mut self, signals: &[Signal]) -> Option<Vec<Box<dyn Hold>>> {
        let remains = self.system.remains(&self.member, &self.keeper)?;
        if remains.has_keeper {
            return None;
        }
        let held = remains.processes.into_iter();
        let held: Vec<_> =
            held.filter_map(|remnant| self.system.hold_remnant(remnant, &self.member).ok()).collect();
        for signal in signals {
            let mut has_reached = false;
            for hold in &held {
                has_reached |= hold.send(*signal).is_ok();
            }
            if has_reached && !self.signals.contains(signal) {
                self.signals.push(*signal);
            }
        }
        Some(held)
    }

    fn ending(&self, outcome: Outcome, refusal: Option<String>) -> Ending {
        Ending { outcome, signals: self.signals.clone(), took: self.began.elapsed(), refusal }
    }
}

fn wait_for_all(held: &[Box<dyn Hold>], until: Instant) {
    while Instant::now() < until && !held.iter().all(|hold| hold.has_exited()) {
        thread::sleep(POLL);
    }
}
