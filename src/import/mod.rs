//! Bringing in what a v1.0.3 server left in its data folder.
//!
//! [`folder`] reads and judges every file before anything is written: [`metadata`] the agents, [`json`] and [`csv`]
//! (of [`records`]) one [`export`] each. [`local_time`] says what times without a zone mean. [`rows`] then writes the
//! agents that the database does not have, in one transaction. What cannot be used becomes a remark, and the rest
//! goes on; only a folder whose `agent_metadata.json` cannot be read is refused.

mod csv;
mod export;
mod folder;
mod json;
mod local_time;
mod metadata;
mod options;
mod records;
mod report;
mod rows;

pub use folder::V1Folder;
pub use options::ImportOptions;
pub use report::{ImportRemark, ImportReport, ImportedAgent};
pub(crate) use rows::insert;
