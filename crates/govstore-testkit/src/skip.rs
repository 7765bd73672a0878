//! What single tests need and a machine may lack.

use std::process::{Command, Stdio};

/// Runs `command`, or says why the test was skipped. The portable side knows no PID namespaces, since systems
/// that are not Linux have none.
pub fn can(what: &str, command: &[&str]) -> bool {
    if cfg!(govstore_portable) && what.contains("PID namespace") {
        eprintln!("skipped: this is Linux's alone");
        return false;
    }
    let output = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).output();
    let able = output.is_ok_and(|output| output.status.success());
    if !able {
        eprintln!("skipped: this needs {what}");
    }
    able
}
