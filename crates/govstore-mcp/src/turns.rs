//! Turns: the calls that change one agent are made one after the other, in the order in which they came.
//!
//! A client may send many updates without waiting for answers, and each update starts from the one before
//! it. So their order matters, while calls run on several threads. Different agents don't wait for each
//! other, and waiting takes no thread.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

/// Agents kept in mind before those that nobody waits for are forgotten.
const FORGET_OVER: usize = 64;

#[derive(Default)]
pub struct Turns {
    hasher: RandomState,
    /// By the hash of the agent's id, which may be long, and wrong: nobody has looked at it yet. Should two
    /// ids have the same, their agents wait for each other.
    queues: Mutex<HashMap<u64, Weak<Queue<()>>>>,
}

/// A call's turn to change an agent, until it is dropped.
pub type Turn = OwnedMutexGuard<()>;

impl Turns {
    /// Waits for a turn. Whoever called first gets it first.
    pub async fn wait(&self, agent_id: &str) -> Turn {
        self.queue(agent_id).lock_owned().await
    }

    fn queue(&self, agent_id: &str) -> Arc<Queue<()>> {
        let agent = self.hasher.hash_one(agent_id);
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(&agent).and_then(Weak::upgrade) {
            return queue;
        }
        if queues.len() >= FORGET_OVER {
            queues.retain(|_, queue| queue.strong_count() > 0);
        }
        let queue = Arc::new(Queue::new(()));
        queues.insert(agent, Arc::downgrade(&queue));
        queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
    }

    #[test]
    fn calls_for_one_agent_get_their_turns_in_the_order_in_which_they_came() {
        let order = Arc::new(Mutex::new(Vec::new()));
        runtime().block_on(async {
            let turns = Arc::new(Turns::default());
            let first = turns.wait("a").await;
            let calls: Vec<_> = (0..100)
                .map(|n| {
                    let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
                    tokio::spawn(async move {
                        let _turn = turns.wait("a").await;
                        order.lock().expect("no panic").push(n);
                    })
                })
                .collect();
            tokio::task::yield_now().await;
            drop(first);
            for call in calls {
                call.await.expect("no panic");
            }
        });
        assert_eq!(*order.lock().expect("no panic"), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn agents_do_not_wait_for_each_other_and_are_forgotten() {
        runtime().block_on(async {
            let turns = Turns::default();
            let held = turns.wait("held").await;
            for n in 0..10 * FORGET_OVER {
                drop(turns.wait(&n.to_string()).await);
            }
            assert!(turns.queues.lock().expect("no panic").len() <= FORGET_OVER);
            drop(held);
        });
    }
}
