//! The MCP server as its clients meet it: the real binary, over its stdin and stdout.
//!
//! `tools`, `lifecycle`, `exports` and `resources` make every call through rmcp's own client, `wire` sends what
//! no client should, `life` starts servers and `ends` ends them in every way, `exhausted` takes from them what they
//! need, `fleet` runs several on one database, `restarts` more of them than there are meant to be,
//! `suspended` stops one together with its client, `subscriptions` hears of changes, `prompts` asks for prompts and
//! completes ids, `introduced` tells servers apart by their clients, and `official` lets the official clients talk to one.

mod client;
mod ends;
#[cfg(target_os = "linux")]
mod exhausted;
mod exports;
mod fleet;
mod introduced;
mod life;
mod lifecycle;
mod listing;
mod official;
mod prompts;
mod resources;
mod restarts;
mod subscriptions;
#[cfg(target_os = "linux")]
mod suspended;
mod tools;
mod wire;

type TestResult = Result<(), Box<dyn std::error::Error>>;
