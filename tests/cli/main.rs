//! The command line: the real binary, on files of its own.

mod apply;
mod bad_input;
mod commands;
mod full_disk;
mod json;
mod lifecycle;
mod output;
mod support;
mod terminal;
