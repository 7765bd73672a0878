//! Who holds the write lock, for the error of a wait that was in vain.

use rusqlite::Connection;

use super::busy;
use super::transaction::ReadConnection;
use crate::backend::holder::identify;
use crate::backend::statements::Reader;
use crate::error::Error;

/// Says in a [`Error::LockTimeout`] who holds the write lock, as far as that can be known.
pub(super) fn name_holder(error: Error, registry: Option<&Connection>) -> Error {
    match error {
        Error::LockTimeout { waited, holder: None } => {
            let holder = busy::last_look().map(|seen| {
                let registry = registry.map(ReadConnection);
                let registry = registry.as_ref().map(|registry| registry as &dyn Reader);
                identify(seen.pid, seen.since.elapsed(), registry)
            });
            Error::LockTimeout { waited, holder }
        }
        other => other,
    }
}
