//! The one thread of a store that reads and writes its connections, and how others wait for it.
//!
//! A call of ours blocks its thread until a future is done, and never inside a runtime: so it works, and can't panic,
//! wherever it is called from, a runtime of the caller's included.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How often a thread that waits looks whether its call was cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long the connections may take to say goodbye.
const FAREWELL: Duration = Duration::from_millis(100);

/// The thread, until it is dropped.
pub(super) struct Runtime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("govstore-postgres".to_owned()).spawn(move || {
            runtime.block_on(async {
                let _ = stopped.await;
                let until = Instant::now() + FAREWELL;
                while Handle::current().metrics().num_alive_tasks() > 0 && Instant::now() < until {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    pub const fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Why a future was given up.
pub(super) enum GivenUp {
    TimeIsOver,
    Cancelled,
}

/// Blocks this thread until the future is done, or `limit` is over, or `is_cancelled` says so.
pub(super) fn block_on<F: Future>(
    future: F,
    limit: Duration,
    is_cancelled: impl Fn() -> bool,
) -> Result<F::Output, GivenUp> {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let began = Instant::now();
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(value);
        }
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(GivenUp::TimeIsOver);
        }
        if is_cancelled() {
            return Err(GivenUp::Cancelled);
        }
        thread::park_timeout(left.min(LOOK_EVERY));
    }
}
