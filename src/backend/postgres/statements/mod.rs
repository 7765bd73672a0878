//! The statements of the port, one file a noun.

mod agents;
mod calls;
mod copy;
mod events;
mod history;
mod hosts;
mod ledger;
mod locks;
mod processes;
mod settings;
