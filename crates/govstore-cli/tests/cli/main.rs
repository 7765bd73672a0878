//! The command line: the real binary, on files of its own.
#![cfg(unix)]

mod apply;
mod backup;
mod bad_input;
mod check;
mod commands;
mod doctor;
mod faulty;
mod full_disk;
mod history;
mod import;
mod json;
mod keep;
mod lifecycle;
mod location;
#[cfg(unix)]
mod locks;
mod output;
#[cfg(unix)]
mod processes;
mod replacing;
mod report;
mod schema;
mod selftest;
mod spellings;
#[cfg(unix)]
mod support;
#[cfg(unix)]
mod suspend;
mod terminal;
mod watch;
