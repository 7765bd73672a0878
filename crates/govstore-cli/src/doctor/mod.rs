//! MCP servers as clients are configured to start them, and `govstore run` in front of them or not.
//!
//! `places` knows where each client keeps its configuration. `formats` reads such a file into a list of servers, of
//! which each part knows where it stands in the text. `keeper` tells whether a server's command has a keeper in front;
//! `edit` puts it there or takes it away, as changes of spans of the text, so that everything else stays byte for byte.
//! `running` looks for the servers' processes. `survey` puts together what there is to say, and `plan` what there is to
//! change; `difference` shows such changes, and `rewrite` brings them to the disk.

pub mod difference;
mod edit;
mod formats;
mod jsonc;
mod keeper;
pub mod own;
pub mod places;
pub mod plan;
pub mod rewrite;
pub mod running;
mod server;
pub mod survey;
