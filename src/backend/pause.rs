//! A process that is to be stopped, as by Ctrl-Z, first waits until none of its threads holds a lock.
//!
//! A stopped process keeps its locks, and everybody else waits for it. So what takes a lock is a [`Section`], and
//! [`pause_writes`] waits until no thread is inside one and lets none begin. This is one gate for the whole
//! process: opening, closing and restoring a database take locks as well, and no store is there yet, or any more.
//!
//! Time that a process spends paused is not time that it waited: [`paused`] is what deadlines leave out.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::os::lock;

static GATE: Gate = Gate { state: Mutex::new(State { inside: 0, pauses: 0 }), changed: Condvar::new() };

/// How long this process has been paused until now, all pauses together.
static PAUSED_US: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// How many sections this thread is inside of; only the outermost one counts at the gate.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Whether this thread tries to get a lock just now, and holds none yet.
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// Waits until this process holds no lock on any database, and keeps it from taking one until the [`WritePause`]
/// drops: writes, and calls that open, close, vacuum or restore a database, wait meanwhile. Reads go on.
///
/// For a program that is about to be stopped, such as by a handler of SIGTSTP. A program that is stopped inside a
/// transaction keeps all others from writing until somebody wakes it. The wait is as long as the transaction that is
/// under way; a call that itself waits for a lock doesn't hold it up.
///
/// The time until the pause ends counts towards nobody's lock timeout. The thread that holds a pause must do none of
/// what waits for its end.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
/// let pause = govstore::pause_writes();
/// // No lock is held here: raise SIGSTOP. The next line is reached after SIGCONT.
/// drop(pause);
/// store.process_update("writer", &govstore::Update::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pause_writes() -> WritePause {
    let mut state = GATE.state();
    state.pauses += 1;
    while state.inside > 0 {
        state = GATE.wait(state);
    }
    WritePause { since: Instant::now() }
}

/// While this lives, the process takes no lock on a database. Made by [`pause_writes`].
#[must_use = "dropping it lets writes go on"]
#[derive(Debug)]
pub struct WritePause {
    since: Instant,
}

impl Drop for WritePause {
    fn drop(&mut self) {
        let paused_us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        PAUSED_US.fetch_add(paused_us, Ordering::Relaxed);
        GATE.state().pauses -= 1;
        GATE.changed.notify_all();
    }
}

/// How long this process has been paused in all, up to the end of its last pause.
pub(crate) fn paused() -> Duration {
    Duration::from_micros(PAUSED_US.load(Ordering::Relaxed))
}

/// Work of this thread that takes locks. While it lives, the process is not paused.
pub(crate) struct Section {
    /// Whether no other section of this thread is around it.
    outermost: bool,
    /// It belongs to its thread.
    _thread: PhantomData<*const ()>,
}

impl Section {
    /// Waits for the end of a pause, if there is one, and begins.
    pub fn begin() -> Self {
        let outermost = DEPTH.get() == 0;
        if outermost {
            GATE.enter();
        }
        DEPTH.set(DEPTH.get() + 1);
        Self { outermost, _thread: PhantomData }
    }

    /// Does what takes the first lock of this section. As long as it tries in vain, a pause may begin.
    pub fn first_lock<T>(&self, take: impl FnOnce() -> T) -> T {
        WAITS.set(self.outermost); // a section around this one may hold a lock already
        let taken = take();
        WAITS.set(false);
        taken
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if self.outermost {
            GATE.leave();
        }
    }
}

/// Between two tries for a lock: lets a pause begin, if one is wanted, and waits for its end.
pub(crate) fn give_way() {
    if WAITS.get() && GATE.state().pauses > 0 {
        GATE.leave();
        GATE.enter();
    }
}

struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Threads inside a section.
    inside: u32,
    /// Pauses that are wanted or under way.
    pauses: u32,
}

impl Gate {
    fn enter(&self) {
        let mut state = self.state();
        while state.pauses > 0 {
            state = self.wait(state);
        }
        state.inside += 1;
    }

    fn leave(&self) {
        let mut state = self.state();
        state.inside -= 1;
        if state.pauses > 0 {
            self.changed.notify_all(); // a system call, even if nobody listens
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn wait<'g>(&self, state: MutexGuard<'g, State>) -> MutexGuard<'g, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}
