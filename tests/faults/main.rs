//! What becomes of live processes, and of what they have acknowledged, when the world around them fails.
//!
//! `displaced`: the database or a file of it is moved, deleted or replaced under them. `damaged`: its bytes are not
//! what they were. `exhausted`: descriptors, memory, patience. A full disk is in `tests/cli/full_disk.rs`, files and
//! folders that may not be written in `tests/cli/bad_input.rs`, clock steps and freezes in `tests/reaper_spares.rs`,
//! forks in `tests/processes.rs`, and death in `tests/crash_storm`.
#![cfg(target_os = "linux")]

mod clock;
mod damaged;
mod displaced;
mod exhausted;
mod in_doubt;
