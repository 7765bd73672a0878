//! Whether anything was written, without reading it.

use std::fmt;
use std::sync::Arc;

use super::handle::Store;
use crate::backend::Changes;
use crate::error::Result;

/// Tells whether anybody has written to a database, this process included. Made by [`Store::watch_changes`].
///
/// A look costs some microseconds, whatever the size of the database. What has changed it doesn't say, and heartbeats are
/// changes, too. It has a connection of its own for as long as it lives.
pub struct ChangeWatch {
    changes: Changes, // closed before the store, which folds the log in when it closes
    store: Store,
}

impl Store {
    /// Watches for changes from now on.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// let mut watch = store.watch_changes()?;
    /// assert!(!watch.has_changed()?);
    /// store.process_update("writer", &govstore::Update::new())?;
    /// assert!(watch.has_changed()?);
    /// assert!(!watch.has_changed()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch_changes(&self) -> Result<ChangeWatch> {
        let changes = self.backend().changes(&self.patience())?;
        Ok(ChangeWatch { changes, store: self.clone() })
    }
}

impl ChangeWatch {
    /// Calls `notice`, on a thread that must not be held up, as soon as somebody has written an event, so that whoever
    /// waits until it is time to look again needn't. A database in a file tells nobody, and neither does one behind a
    /// pooler: looking goes on as before.
    ///
    /// # Errors
    ///
    /// The server can't be reached.
    pub fn call_on_event(&mut self, notice: impl Fn() + Send + Sync + 'static) -> Result<()> {
        let wait = self.store.patience();
        self.store.backend().listen(&mut self.changes, &wait, Arc::new(notice))
    }

    /// Whether something was written since the last call, or since the watch was made.
    ///
    /// # Errors
    ///
    /// [`Error::Displaced`](crate::Error::Displaced): this watch sees nothing more.
    pub fn has_changed(&mut self) -> Result<bool> {
        let wait = self.store.patience();
        self.store.backend().has_changed(&mut self.changes, &wait)
    }
}

impl fmt::Debug for ChangeWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeWatch").field("store", &self.store).finish_non_exhaustive()
    }
}
