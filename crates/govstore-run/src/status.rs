//! How a server ended, and how to end likewise.

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerStatus {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// Nobody can tell, or it has not ended.
    Unknown,
}

#[cfg(all(target_os = "linux", not(govstore_portable)))]
impl From<rustix::process::WaitStatus> for ServerStatus {
    fn from(status: rustix::process::WaitStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, Some(signal)) => Self::Signaled(signal),
            (None, None) => Self::Unknown,
        }
    }
}

impl ServerStatus {
    /// Ends this process as the server ended.
    pub fn imitate(self) -> ! {
        let code = match self {
            Self::Exited(code) => code,
            Self::Unknown => 1,
            Self::Signaled(number) => {
                #[cfg(unix)]
                end_by(number);
                128 + number
            }
        };
        std::process::exit(code)
    }
}

#[cfg(unix)]
fn end_by(number: i32) {
    use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};

    // The server has dumped its core, if it was to.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = signal_hook::low_level::emulate_default_handler(number);
    // Not of the signals that have handlers: SIGKILL, for one. Rust's own handler of SIGSEGV and SIGBUS takes itself away
    // first, so that the second one counts.
    if let Some(signal) = Signal::from_named_raw(number) {
        for _ in 0..2 {
            let _ = kill_process(getpid(), signal);
        }
    }
}
