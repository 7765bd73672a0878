//! The self-test: does what govstore promises hold on this machine?
//!
//! Each check has a database of its own in a temporary folder and works on it as people and servers do: with
//! processes of the very program that was installed. It ends in a [`Finding`]: a figure, or what is wrong.

mod bench;
mod health;
mod integration;
mod locking;
mod processes;

pub use bench::{Bench, Finding};

/// One check: its name, and what it does.
pub type Check = (&'static str, fn(&Bench) -> Finding);

/// All checks, in order.
pub const CHECKS: [Check; 4] = [
    ("locking", locking::check),
    ("health", health::check),
    ("processes", processes::check),
    ("integration", integration::check),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_nothing_passes_no_check() -> std::io::Result<()> {
        for (name, check) in CHECKS {
            for program in ["true", "false", "/no/such/program"] {
                let bench = Bench::with(program.into())?;
                assert!(check(&bench).is_err(), "{name} passes with {program}");
            }
        }
        Ok(())
    }
}
