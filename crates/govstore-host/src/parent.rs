//! The process that started this one. When it is gone, nobody is left whom this server could serve, even if
//! its stdin stays open because another child of the parent has inherited the other end.

#[cfg(unix)]
pub use unix::Parent;

#[cfg(unix)]
mod unix {
    use std::sync::Arc;
    use std::time::Duration;
    use std::{io, thread};

    use rustix::process::{Pid, getppid};
    use tokio::sync::Notify;

    /// How often to look where the system doesn't tell.
    const LOOK_EVERY: Duration = Duration::from_millis(250);

    /// The parent of this process.
    #[derive(Debug, Clone, Copy)]
    pub struct Parent {
        /// `None` if it can't be seen, as from inside of a container.
        pid: Option<Pid>,
    }

    impl Parent {
        /// The present parent. This should be called early: a parent that was gone before is not missed.
        #[must_use]
        pub fn find() -> Self {
            Self { pid: getppid() }
        }

        /// Watches on a thread of its own. What this returns resolves when the parent is gone.
        pub fn watch(self) -> io::Result<impl Future<Output = ()>> {
            let gone = Arc::new(Notify::new());
            if let Some(pid) = self.pid {
                let gone = Arc::clone(&gone);
                thread::Builder::new().name("parent".to_owned()).spawn(move || {
                    wait(pid);
                    gone.notify_one();
                })?;
            }
            Ok(async move { gone.notified().await })
        }
    }

    /// Returns when `pid` is no longer our parent: the children of a process that ends get another one.
    fn wait(pid: Pid) {
        #[cfg(all(target_os = "linux", not(govstore_portable)))]
        if let Err(error) = wait_by_pidfd(pid) {
            tracing::info!(%error, "the parent can't be watched; looking for it now and then");
        }
        while getppid() == Some(pid) {
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Linux tells when a process ends, so that an idle server sleeps all the time.
    #[cfg(all(target_os = "linux", not(govstore_portable)))]
    fn wait_by_pidfd(pid: Pid) -> rustix::io::Result<()> {
        use rustix::event::{PollFd, PollFlags, poll};
        use rustix::process::{PidfdFlags, pidfd_open};

        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        if getppid() == Some(pid) {
            // It was still our parent after that, so the PID was still its own.
            poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None)?;
        }
        Ok(())
    }
}

/// Systems without parents: the client has to close stdin.
#[cfg(not(unix))]
#[derive(Debug, Clone, Copy)]
pub struct Parent;

#[cfg(not(unix))]
impl Parent {
    /// There is none to be found.
    #[must_use]
    pub const fn find() -> Self {
        Self
    }

    /// What this returns never resolves.
    pub fn watch(self) -> std::io::Result<impl Future<Output = ()>> {
        Ok(std::future::pending())
    }
}
