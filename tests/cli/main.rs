//! The command line: the real binary, on files of its own.
#![cfg(unix)]

mod apply;
mod backup;
mod bad_input;
mod check;
mod commands;
mod full_disk;
mod history;
mod json;
mod lifecycle;
#[cfg(unix)]
mod locks;
mod output;
#[cfg(unix)]
mod processes;
mod report;
mod selftest;
#[cfg(unix)]
#[path = "../server/mod.rs"]
mod server;
mod support;
#[cfg(unix)]
mod suspend;
mod terminal;
mod watch;
