//! What the reaper may think of a process.

use crate::text_enum::text_enum;

text_enum! {
    /// What a registered process was judged to be.
    #[non_exhaustive]
    pub enum Verdict {
        /// It lives, or nothing speaks against it.
        Alive => "alive",
        /// It is gone: no process has its PID, or one that started at another time, or it is a zombie, or it
        /// belonged to an earlier boot.
        Exited => "exited",
        /// Its heartbeat is older than `stale_after_s`, and nobody has looked twice yet.
        Suspect => "suspect",
        /// It was identified, its heartbeat is older than `stale_after_s`, and has not moved between two looks, while it
        /// could have been written.
        Stale => "stale",
        /// Its client is gone, and it has had no activity for `stale_after_s`.
        Orphaned => "orphaned",
        /// It is one too many, and nobody uses it.
        Surplus => "surplus",
        /// It runs on another machine. Never signalled.
        Remote => "remote",
        /// It belongs to another namespace or another user, or cannot be looked at. Never signalled.
        Unverifiable => "unverifiable",
    }
}
