//! What the targets share: a folder that no disk has to write, and a database that is the same in every run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use govstore::{Durability, Store, StoreOptions, Update};

/// A folder for one run after the other. It stays behind when the fuzzer ends, in memory where there is `/dev/shm`.
pub struct Scratch {
    folder: PathBuf,
    /// A database with a few agents, as a file.
    database: Vec<u8>,
}

impl Scratch {
    /// The folder of this process.
    ///
    /// # Panics
    ///
    /// Where the folder can't be made: nothing can be tried then.
    pub fn get() -> &'static Self {
        static SCRATCH: OnceLock<Scratch> = OnceLock::new();
        SCRATCH.get_or_init(|| {
            let memory = Path::new("/dev/shm");
            let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
            let folder = parent.join(format!("govstore-fuzz-{}", std::process::id()));
            let mut scratch = Self { folder, database: Vec::new() };
            scratch.clear();
            let store = options().open(scratch.database()).expect("a new database");
            for (agent_id, updates) in [("writer", 12), ("reader", 1), ("paused", 1), ("default_agent", 1)] {
                for _ in 0..updates {
                    store.process_update(agent_id, &Update::default()).expect("an update");
                }
            }
            store.pause("paused", Some("for the fuzzer")).expect("an active agent");
            drop(store);
            scratch.database = fs::read(scratch.database()).expect("the database");
            scratch
        })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of the database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.join("governance.db")
    }

    /// Empties the folder.
    ///
    /// # Panics
    ///
    /// Where that can't be done.
    pub fn clear(&self) {
        let _ = fs::remove_dir_all(&self.folder); // there may be none
        fs::create_dir_all(&self.folder).expect("a folder");
    }

    /// A store on a database of its own: the agents `writer`, `reader`, `paused` and `default_agent`.
    ///
    /// # Panics
    ///
    /// Where it can't be opened.
    #[must_use]
    pub fn store(&self) -> Store {
        self.clear();
        fs::write(self.database(), &self.database).expect("room in memory");
        options().open(self.database()).expect("a database of this build")
    }
}

/// Nothing survives the fuzzer, so nothing has to reach a disk.
#[must_use]
pub fn options() -> StoreOptions {
    Store::options().durability(Durability::Normal)
}

/// Everything that anybody could read of a store is readable, and its figures are within their bounds.
///
/// # Panics
///
/// Where they are not: the fuzzer has found something.
pub fn assert_sound(store: &Store) {
    for agent in store.agents(&govstore::AgentFilter::default()).expect("every row can be read") {
        for share in [agent.energy, agent.integrity, agent.entropy, agent.lambda1] {
            assert!((0.0..=1.0).contains(&share), "{agent:?}");
        }
        for share in [agent.coherence, agent.risk_score].into_iter().flatten() {
            assert!((0.0..=1.0).contains(&share), "{agent:?}");
        }
        assert!((-1.0..=1.0).contains(&agent.void_integral), "{agent:?}");
        assert!(0 <= agent.update_count && agent.update_count <= agent.total_updates, "{agent:?}");
        let history = store.history(&agent.agent_id, None).expect("every row can be read");
        let newest = history.last().map(|row| row.update_no);
        assert!(newest.is_none_or(|newest| newest == agent.total_updates), "{agent:?}");
        store.events(&agent.agent_id).expect("every row can be read");
        store.window_statistics(&agent.agent_id).expect("every row can be read");
    }
    store.health().expect("the fleet");
}
