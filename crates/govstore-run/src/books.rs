//! The books: this process in the registry, its heartbeat, the figures of the calls, and updates of the agent. All of it
//! on one thread, which alone waits for the database, so that a busy, full or lost one costs figures and never traffic.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use govstore::{Beat, Error, ProcessInfo, Registration, Store, StoreOptions, Update};

use crate::overheard::Overheard;
use crate::say::say;

/// How often to look whether the database can be opened again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How long the last figures may take to be written at the end.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// How much the thread may be told while it waits for the database.
const MOST_WORDS: usize = 1_000;

/// What is written into which database.
pub struct BookKeeping {
    pub database: Result<PathBuf, String>,
    pub store: StoreOptions,
    pub info: ProcessInfo,
    /// The server's name, by which the figures are kept.
    pub server: String,
    pub overheard: Arc<Overheard>,
    /// Called when a reaper has claimed this process.
    pub claimed: Box<dyn Fn() + Send>,
}

/// How the first attempt to register went.
#[derive(Debug)]
pub enum Opening {
    Registered,
    /// There are as many servers as may be.
    Refused(String),
    /// There is no database that can be written now; it is tried again.
    Unavailable,
}

/// What the thread is told.
pub enum Word {
    /// The client has introduced itself: this is for the registry at once.
    Introduced,
    /// This agent is to be updated.
    Update(String, Update),
    /// The server has ended.
    End,
}

/// The thread that keeps the books.
pub struct Books {
    words: SyncSender<Word>,
    is_over: Arc<AtomicBool>,
    opening: Receiver<Opening>,
    ended: Receiver<()>,
}

impl Books {
    /// Opens the database, and keeps the books until [`close`](Self::close).
    pub fn open(keeping: BookKeeping) -> io::Result<Self> {
        let (words, told) = sync_channel(MOST_WORDS);
        let (opened, opening) = channel();
        let (end, ended) = channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let keeper = Keeper { keeping, told, is_over: Arc::clone(&is_over), has_complained: false };
        thread::Builder::new().name("books".to_owned()).spawn(move || {
            keeper.keep(&opened);
            let _ = end.send(());
        })?;
        Ok(Self { words, is_over, opening, ended })
    }

    /// How the first attempt went, if it is over within `patience`.
    pub fn opening(&self, patience: Duration) -> Option<Opening> {
        self.opening.recv_timeout(patience).ok()
    }

    /// Where the thread is told; who tells it doesn't wait.
    pub fn words(&self) -> SyncSender<Word> {
        self.words.clone()
    }

    /// Writes what is left, and leaves the registry, as far as that goes in a moment.
    pub fn close(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.words.try_send(Word::End); // so many words that there is no room wake it as well
        let _ = self.ended.recv_timeout(END_PATIENCE);
    }
}

struct Keeper {
    keeping: BookKeeping,
    told: Receiver<Word>,
    is_over: Arc<AtomicBool>,
    has_complained: bool,
}

/// The database and this process in it.
struct Open {
    store: Store,
    registration: Registration,
    interval: Duration,
}

/// Why to stop.
enum Stop {
    /// The server has ended.
    Told,
    /// This database is of no use any more.
    Lost(String),
}

impl Keeper {
    fn keep(mut self, opened: &Sender<Opening>) {
        loop {
            let is_last = match self.register() {
                Ok(open) => {
                    self.keeping.overheard.set_store(Some(open.store.clone()));
                    let _ = opened.send(Opening::Registered); // afterwards: calls that are governed ask the store
                    let stop = self.keep_in(&open);
                    self.keeping.overheard.set_store(None);
                    match stop {
                        Stop::Told => {
                            let _ = open.registration.deregister(); // a reaper finds the row otherwise
                            true
                        }
                        Stop::Lost(why) => {
                            self.complain(&why);
                            false
                        }
                    }
                }
                Err(error @ (Error::TooManyOfName { .. } | Error::TooManyProcesses { .. })) => {
                    let _ = opened.send(Opening::Refused(error.to_string()));
                    // Only the first attempt can be refused: whoever runs already is not ended.
                    false
                }
                Err(error) => {
                    let _ = opened.send(Opening::Unavailable);
                    self.complain(&error.to_string());
                    false
                }
            };
            if is_last || self.is_told_to_end_within(TRY_AGAIN_AFTER) {
                return;
            }
        }
    }

    fn register(&self) -> govstore::Result<Open> {
        let database = self.keeping.database.as_ref().map_err(|reason| Error::CannotOpen {
            path: PathBuf::new(),
            source: io::Error::other(reason.clone()).into(),
        })?;
        let store = self.keeping.store.clone().open(database)?;
        let registration = store.register(self.keeping.info.clone())?;
        if let Some(client) = self.keeping.overheard.client() {
            store.note_client(client);
        }
        let interval = registration.heartbeat_interval()?;
        Ok(Open { store, registration, interval })
    }

    /// Keeps the books in a database for as long as it is there.
    fn keep_in(&self, open: &Open) -> Stop {
        let _ = open.store.reap(); // servers that died; what stands in the way is said by the next beat
        let mut interval = open.interval;
        let mut next = Instant::now() + interval;
        loop {
            match self.told.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Word::Update(agent, update)) => {
                    make_update(&open.store, &agent, &update);
                    if !self.is_over.load(Ordering::Relaxed) && Instant::now() < next {
                        continue; // an update is a heartbeat, too
                    }
                }
                Ok(Word::Introduced) => {
                    if let Some(client) = self.keeping.overheard.client() {
                        open.store.note_client(client);
                    }
                }
                Ok(Word::End) | Err(_) => {}
            }
            if self.is_over.load(Ordering::Relaxed) {
                for word in self.told.try_iter() {
                    if let Word::Update(agent, update) = word {
                        make_update(&open.store, &agent, &update);
                    }
                }
                let _ = self.write(open);
                return Stop::Told;
            }
            match self.write(open) {
                Ok(Beat::Alive | Beat::Superseded) => {
                    interval = open.registration.heartbeat_interval().unwrap_or(interval);
                    next = Instant::now() + interval;
                }
                Ok(Beat::Terminating) => {
                    (self.keeping.claimed)();
                    next = Instant::now() + interval;
                }
                Err(
                    error @ (Error::Displaced { .. }
                    | Error::CommitInDoubt { .. }
                    | Error::RefusedAfterDoubt { .. }),
                ) => return Stop::Lost(error.to_string()),
                Err(_) => next = Instant::now() + Registration::retry_after(interval),
            }
        }
    }

    /// Beats, and writes the figures. Those that certainly were not written wait for the next time.
    fn write(&self, open: &Open) -> govstore::Result<Beat> {
        let beat = open.registration.beat()?;
        let figures = self.keeping.overheard.take_figures();
        if let Err(error) = open.store.record_calls(&self.keeping.server, &figures) {
            if !error.is_in_doubt() {
                self.keeping.overheard.give_back(&figures);
            }
            return Err(error);
        }
        Ok(beat)
    }

    /// Says once what is missing.
    fn complain(&mut self, why: &str) {
        if !std::mem::replace(&mut self.has_complained, true) {
            say(&format!("the server runs without a registration and figures of its calls for now: {why}"));
        }
    }

    fn is_told_to_end_within(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while !self.is_over.load(Ordering::Relaxed) {
            match self.told.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(_) => {} // for a database that there is none of
                Err(_) => return false,
            }
        }
        true
    }
}

fn make_update(store: &Store, agent: &str, update: &Update) {
    if let Err(error) = store.process_update(agent, update) {
        say(&format!("no update of {agent}: {error}"));
    }
}
