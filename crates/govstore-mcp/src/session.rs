//! What a call works with: the database, the export folder, and who this server is.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::Notify;

use govstore::{Actor, Cancellation, Store};

use super::offer::Offer;

/// One server's session with one client.
pub struct Session {
    /// Acts for a client without a name.
    store: Store,
    /// Acts for the client by the name that it gave.
    introduced: OnceLock<Store>,
    /// Which tools the client may call, and how long answers are.
    pub offer: Offer,
    pub started: Instant,
    /// Told when a call has found that this server must end: the next beat says why, and need not be waited for.
    pub must_end: Arc<Notify>,
}

impl Session {
    pub fn new(store: &Store, offer: Offer) -> Self {
        let store = store.acting_as(Actor::client(""));
        Self { store, introduced: OnceLock::new(), offer, started: Instant::now(), must_end: Arc::default() }
    }

    /// The same session, for one call that may be cancelled.
    pub fn cancelled_by(&self, cancellation: &Cancellation) -> Self {
        Self {
            store: self.store().cancelled_by(cancellation),
            introduced: OnceLock::new(),
            offer: self.offer.clone(),
            started: self.started,
            must_end: Arc::clone(&self.must_end),
        }
    }

    /// The database, acting for the client.
    pub fn store(&self) -> &Store {
        self.introduced.get().unwrap_or(&self.store)
    }

    /// Takes note of who the client is, once.
    pub fn introduce(&self, name: &str, version: &str) {
        self.introduced
            .get_or_init(|| self.store.acting_as(Actor::client(format!("{name} {version}").trim())));
    }

    /// The folder for exports, beside the database. Nothing outside of it is ever written.
    pub fn export_folder(&self) -> PathBuf {
        self.store().path().with_file_name("exports")
    }
}
