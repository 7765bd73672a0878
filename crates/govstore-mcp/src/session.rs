//! What a call works with: the database, the export folder, and who this server and its client are.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rmcp::model::{Implementation, ProtocolVersion};
use tokio::sync::Notify;

use govstore::{Actor, Cancellation, ClientInfo, Store};

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
    /// Told when the next heartbeat has something to say that should not wait for its time: that this server must end,
    /// or who its client is.
    pub beat_now: Arc<Notify>,
}

impl Session {
    pub fn new(store: &Store, offer: Offer) -> Self {
        let store = store.acting_as(Actor::client(""));
        Self { store, introduced: OnceLock::new(), offer, started: Instant::now(), beat_now: Arc::default() }
    }

    /// The same session, for one call that may be cancelled.
    pub fn cancelled_by(&self, cancellation: &Cancellation) -> Self {
        Self {
            store: self.store().cancelled_by(cancellation),
            introduced: OnceLock::new(),
            offer: self.offer.clone(),
            started: self.started,
            beat_now: Arc::clone(&self.beat_now),
        }
    }

    /// The database, acting for the client.
    pub fn store(&self) -> &Store {
        self.introduced.get().unwrap_or(&self.store)
    }

    /// Whether the client has said who it is.
    pub fn is_introduced(&self) -> bool {
        self.introduced.get().is_some()
    }

    /// Takes note of who the client is. The registry has it from the next heartbeat on, which comes at once: nobody waits
    /// for the database here. Events name the client as it introduced itself first.
    pub fn introduce(&self, client: &Implementation, protocol: Option<&ProtocolVersion>) {
        let Implementation { name, version, .. } = client;
        let known = ClientInfo::new(name, version);
        let known = match protocol {
            Some(protocol) => known.protocol_version(protocol.as_str()),
            None => known,
        };
        if self.store.note_client(known) {
            self.beat_now.notify_one();
        }
        let actor = || Actor::client(format!("{name} {version}").trim());
        self.introduced.get_or_init(|| self.store.acting_as(actor()));
    }

    /// The folder for exports, beside the database. Nothing outside of it is ever written.
    pub fn export_folder(&self) -> PathBuf {
        self.store().path().with_file_name("exports")
    }
}
