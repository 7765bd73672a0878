//! `govstore run`: servers of others, wrapped. Real trees of processes and real pipes.
//!
//! `trees` end in every way, `bytes` pass unchanged, `registered` is what `ps` and the database know, `limited` are those of
//! which there may be so many, `governed` are calls that may not pass, `contained` are servers in containers, and `troubled`
//! is a database that is locked, full or gone.

#![cfg(target_os = "linux")]

mod bytes;
mod client;
mod contained;
mod governed;
mod limited;
mod official;
mod registered;
mod restarted;
mod tree;
mod trees;
mod troubled;

type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;
