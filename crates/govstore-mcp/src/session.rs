//! What a call works with: the database, the export folder, and who this server is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;

use govstore::Store;

/// One server's session with one client.
pub struct Session {
    pub store: Store,
    pub started: Instant,
    /// Told when a call has found that this server must end: the next beat says why, and need not be waited for.
    pub must_end: Arc<Notify>,
}

impl Session {
    pub fn new(store: Store) -> Self {
        Self { store, started: Instant::now(), must_end: Arc::default() }
    }

    /// The folder for exports, beside the database. Nothing outside of it is ever written.
    pub fn export_folder(&self) -> PathBuf {
        self.store.path().with_file_name("exports")
    }
}
