//! The MCP server as its clients meet it: the real binary, over its stdin and stdout.
//!
//! `tools` drives every tool through rmcp's own client, `wire` sends what no client should, `life` ends
//! servers in every way, `fleet` runs several on one database, and `python` lets the official Python client
//! talk to one.

#![cfg(all(feature = "cli", feature = "mcp"))]

mod client;
mod exports;
mod fleet;
mod life;
mod lifecycle;
mod listing;
mod python;
mod resources;
mod tools;
mod wire;

type TestResult = Result<(), Box<dyn std::error::Error>>;
