//! What a check of a database finds.

use serde::Serialize;

use crate::text_enum::text_enum;

text_enum! {
    /// How a check came out.
    pub enum CheckStatus {
        /// As it should be.
        Ok => "ok",
        /// It works, and somebody should look at it.
        Warning => "warning",
        /// It is broken, or may break.
        Failed => "failed",
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// How it came out.
    pub status: CheckStatus,
    /// What was found, and what to do about it.
    pub detail: String,
}
