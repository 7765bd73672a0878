//! The rules for agents: what an update does, which lifecycle changes are allowed, what an edit and a prune may touch.
//!
//! Each file has functions over statements. The row is the truth: nothing here keeps an agent in memory between calls.

pub(crate) mod edit;
pub(crate) mod event;
pub(crate) mod lifecycle;
pub(crate) mod prune;
mod row;
pub(crate) mod statistics;
pub(crate) mod update;

pub use edit::AgentEdit;
pub(crate) use row::find;
