//! Runs any MCP server on stdio, in any language, so that it is registered, and ends with its client and with all that it
//! has started.
//!
//! Two processes stand between the client and the server's tree. The *front* has the client's pipes: it passes bytes on as
//! they come, and keeps the books in the database on a thread of its own. The *keeper* is the parent of whatever in the tree
//! has no other, and ends it: input closed, a grace, SIGTERM, a grace, SIGKILL, until nothing is left. Each of them sees the
//! other's end, and ends the tree then; if both are killed, the next reaper of any process does.
//!
//! ```no_run
//! use govstore::Store;
//! use govstore_run::{Graces, RunOptions, run};
//!
//! let options = RunOptions {
//!     command: vec!["npx".into(), "-y".into(), "@modelcontextprotocol/server-everything".into()],
//!     name: None,
//!     limit: Some(3),
//!     graces: Graces::default(),
//!     log_file: None,
//!     database: Ok("governance.db".into()),
//!     store: Store::options(),
//!     governance: None,
//!     restart_on_failure: false,
//! };
//! run(options)?.imitate(); // ends as the server has ended
//! # Ok::<(), govstore_run::RunError>(())
//! ```
//!
//! The program that calls [`run`] has to call [`inner`] first: it is started again as the keeper, and by that once more.

mod answer;
mod books;
mod client_out;
#[cfg(all(target_os = "linux", not(govstore_portable)))]
mod container;
#[cfg(all(target_os = "linux", not(govstore_portable)))]
mod control;
#[cfg(any(not(target_os = "linux"), govstore_portable))]
#[path = "portable/control.rs"]
mod control;
#[cfg(all(target_os = "linux", not(govstore_portable)))]
mod front;
mod gate;
mod input;
#[cfg(all(target_os = "linux", not(govstore_portable)))]
mod keeper;
mod mutex;
mod name;
mod options;
mod overheard;
mod pipe;
#[cfg(any(not(target_os = "linux"), govstore_portable))]
mod portable;
mod refused;
mod restart;
mod say;
mod scan;
mod start;
mod status;
mod traffic;
#[cfg(all(target_os = "linux", not(govstore_portable)))]
mod trampoline;
#[cfg(all(target_os = "linux", not(govstore_portable)))]
mod tree;
#[cfg(all(target_os = "linux", not(govstore_portable)))]
mod wake;

use std::ffi::OsString;
use std::process::ExitCode;

#[cfg(all(target_os = "linux", not(govstore_portable)))]
pub use front::run;
pub use options::{AgentName, Governance, Graces, RunOptions};
#[cfg(any(not(target_os = "linux"), govstore_portable))]
pub use portable::run;
pub use start::RunError;
pub use status::ServerStatus;

/// Does what this process was started for by [`run`], in a process of its own; `None` if it was not.
#[must_use]
#[cfg(all(target_os = "linux", not(govstore_portable)))]
pub fn inner(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let verb = arguments.next()?;
    match verb.to_str()? {
        keeper::VERB => Some(match keeper::main(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say::say(&error.to_string());
                ExitCode::FAILURE
            }
        }),
        trampoline::VERB => Some(trampoline::main(arguments)),
        _ => None,
    }
}

/// There is one process here, and it does nothing but run.
#[must_use]
#[cfg(any(not(target_os = "linux"), govstore_portable))]
pub fn inner(_arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    None
}
