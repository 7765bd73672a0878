//! Bringing in what a v1.0.3 server left in its data folder.
//!
//! [`folder`] reads and judges every file before anything is written: [`metadata`] the agents, [`export`] one
//! history. [`rows`] then writes the agents that the database does not have, in one transaction. What cannot
//! be used becomes a remark, and the rest goes on; only a folder whose `agent_metadata.json` cannot be read
//! is refused.

mod export;
mod folder;
mod metadata;
mod report;
mod rows;

pub(crate) use folder::read;
pub use report::{ImportRemark, ImportReport, ImportedAgent};
pub(crate) use rows::insert;
