//! The MCP server as its clients meet it: the real binary, over its stdin and stdout.
//!
//! `tools`, `lifecycle`, `exports` and `resources` make every call through rmcp's own client, `bounded` weighs the answers,
//! `strict` gives arguments that are not right, `guarded` asks for what is not allowed, `from_v1` makes the calls of
//! docs/from-v1.0.3.md. `wire` sends what no client should, `unreadable` what nobody can read, and `impatient` too much of
//! it at once or reads too little. `life` starts servers and `ends` ends them in every way, `exhausted` takes from them what
//! they
//! need, `fleet` runs several on one database, `restarts` more of them than there are meant to be,
//! `suspended` stops one together with its client, `subscriptions` hears of changes, `prompts` asks for prompts and
//! completes ids, `introduced` tells servers apart by their clients, and `official` lets the official clients talk to one.

mod bounded;
mod client;
mod ends;
#[cfg(target_os = "linux")]
mod exhausted;
mod exports;
mod fleet;
mod from_v1;
mod guarded;
mod impatient;
mod introduced;
mod life;
mod lifecycle;
mod listing;
mod official;
mod prompts;
mod resources;
mod restarts;
mod strict;
mod subscriptions;
#[cfg(target_os = "linux")]
mod suspended;
mod tools;
mod unreadable;
mod wire;

type TestResult = Result<(), Box<dyn std::error::Error>>;
