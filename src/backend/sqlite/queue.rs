//! The queue of a process's writers: first come, first served, so that its threads don't poll against each
//! other for SQLite's one write lock.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::busy::{self, LOOK_EVERY};
use crate::backend::deadline::Deadline;
use crate::error::{Error, Result};
use crate::os::lock;

#[derive(Default)]
pub(super) struct WriteQueue {
    /// The front one has its turn.
    line: Mutex<VecDeque<ThreadId>>,
    moved: Condvar,
}

impl WriteQueue {
    /// Waits for this thread's turn, which lasts until the guard drops. `None`: there was not enough time.
    pub fn enter(&self, wait: &Deadline) -> Result<Option<Turn<'_>>> {
        let me = thread::current().id();
        let mut line = self.line();
        if line.contains(&me) {
            return Err(Error::NestedWrite);
        }
        line.push_back(me);
        while line.front() != Some(&me) {
            let remaining = wait.remaining();
            if remaining.is_zero() {
                line.retain(|waiting| *waiting != me);
                return Ok(None);
            }
            let nap = remaining.min(LOOK_EVERY);
            line = self.moved.wait_timeout(line, nap).unwrap_or_else(PoisonError::into_inner).0;
            busy::watch();
        }
        Ok(Some(Turn { queue: self }))
    }

    /// Whether this thread has its turn, or waits for it.
    pub fn has_current_thread(&self) -> bool {
        self.line().contains(&thread::current().id())
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<ThreadId>> {
        lock(&self.line)
    }
}

/// A thread's turn to write.
pub(super) struct Turn<'q> {
    queue: &'q WriteQueue,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.line();
        line.pop_front();
        if !line.is_empty() {
            self.queue.moved.notify_all(); // a system call, even if nobody listens
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn within(ms: u64) -> Deadline {
        Deadline::within(Duration::from_millis(ms))
    }

    #[test]
    fn a_free_queue_is_entered_without_patience() {
        let queue = WriteQueue::default();
        assert!(matches!(queue.enter(&within(0)), Ok(Some(_))));
        assert!(matches!(queue.enter(&within(0)), Ok(Some(_))), "the first turn ended with its guard");
    }

    #[test]
    fn a_thread_that_enters_twice_is_told_so() {
        let queue = WriteQueue::default();
        let turn = queue.enter(&within(0));
        assert!(matches!(queue.enter(&within(5_000)), Err(Error::NestedWrite)));
        drop(turn);
    }

    #[test]
    fn turns_are_given_in_order_and_whoever_gave_up_is_passed_over() {
        let queue = WriteQueue::default();
        let (order, ordered) = mpsc::channel();
        let first = queue.enter(&within(0));
        thread::scope(|scope| {
            for (name, patience_ms) in [("impatient", 200), ("b", 10_000), ("c", 10_000)] {
                let before = queue.line().len();
                let (queue, order) = (&queue, order.clone());
                scope.spawn(move || {
                    let turn = queue.enter(&within(patience_ms)).unwrap();
                    order.send((name, turn.is_some())).unwrap(); // before the next one has its turn
                });
                while queue.line().len() == before {
                    thread::yield_now();
                }
            }
            assert_eq!(ordered.recv().unwrap(), ("impatient", false));
            drop(first);
            assert_eq!(ordered.recv().unwrap(), ("b", true));
            assert_eq!(ordered.recv().unwrap(), ("c", true));
        });
    }
}
