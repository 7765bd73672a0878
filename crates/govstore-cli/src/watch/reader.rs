//! The thread that has the database, so that no lock and no large fleet ever holds up a key.
//!
//! It reads once a second, or less often where reading takes long, and does at once what a key asked for.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use govstore::{Agent, Error, Store};

use super::query::Query;
use super::snapshot::Snapshot;
use super::{Event, Exit, Failure};

/// From the beginning of one read to that of the next, at least.
const READ_EVERY: Duration = Duration::from_secs(1);

/// Reading takes no more than one part in this many of the time: a very large fleet is read less often.
const REST_FACTOR: u32 = 5;

/// How long a pause or a resume waits for the write lock. Somebody sits and waits for the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is kept as the reason of a pause.
const REASON: &str = "by hand, in govstore watch";

/// What the thread is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// From the next read on, show this.
    Show(Query),
    /// Pause an agent.
    Pause(String),
    /// Resume an agent.
    Resume(String),
}

/// What it says.
pub enum Answer {
    Read(Box<Snapshot>),
    /// An agent was paused or resumed, and is this now; or that was refused.
    Acted(Result<Box<Agent>, Error>),
    /// It could not read. It goes on if somebody was in the way, and has ended if not.
    NotRead(Failure),
}

pub struct Reader {
    requests: Sender<Request>,
    thread: JoinHandle<()>,
}

impl Reader {
    pub fn start(store: &Store, query: Query, answers: Sender<Event>) -> std::io::Result<Self> {
        let (requests, inbox) = mpsc::channel();
        let store = store.with_lock_timeout(PATIENCE);
        let thread = thread::Builder::new()
            .name("govstore-watch-reader".to_owned())
            .spawn(move || read_and_act(&store, query, &inbox, &answers))?;
        Ok(Self { requests, thread })
    }

    pub fn ask(&self, request: Request) {
        // A thread that has ended has said why, or has panicked, which its end tells.
        let _ = self.requests.send(request);
    }

    /// Waits until what it was asked for is done. A panic of the thread goes on here.
    pub fn end(self) {
        drop(self.requests);
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic); // it has been told of
        }
    }
}

fn read_and_act(store: &Store, mut query: Query, inbox: &Receiver<Request>, answers: &Sender<Event>) {
    let mut next_read = Instant::now();
    loop {
        let answer = match inbox.recv_timeout(next_read.saturating_duration_since(Instant::now())) {
            Ok(Request::Show(other)) => {
                query = other;
                continue;
            }
            Ok(Request::Pause(agent)) => Answer::Acted(store.pause(&agent, Some(REASON)).map(Box::new)),
            Ok(Request::Resume(agent)) => Answer::Acted(store.resume(&agent).map(Box::new)),
            Err(RecvTimeoutError::Timeout) => {
                let began = Instant::now();
                let read = read(store, &query);
                next_read = began + READ_EVERY.max(began.elapsed() * REST_FACTOR);
                read.map_or_else(Answer::NotRead, |snapshot| Answer::Read(Box::new(snapshot)))
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let goes_on = !matches!(&answer, Answer::NotRead(failure) if failure.exit() != Exit::BUSY);
        if answers.send(Event::Answer(answer)).is_err() || !goes_on {
            return;
        }
    }
}

fn read(store: &Store, query: &Query) -> Result<Snapshot, Failure> {
    Ok(Snapshot::read(store, query)?)
}

#[cfg(test)]
mod tests {
    use std::error::Error as AnyError;
    use std::fs;

    use govstore::{AgentOrder, Lifecycle, Update};
    use rusqlite::Connection;

    use super::*;

    type TestResult = Result<(), Box<dyn AnyError>>;

    /// For what is sure to come.
    const PATIENTLY: Duration = Duration::from_mins(1);

    struct Watched {
        folder: tempfile::TempDir,
        store: Store,
        reader: Reader,
        answers: Receiver<Event>,
    }

    fn query(order: AgentOrder) -> Query {
        Query::new(order, 10)
    }

    impl Watched {
        fn start() -> Result<Self, Box<dyn AnyError>> {
            let folder = tempfile::tempdir()?;
            let store = Store::open(folder.path().join("governance.db"))?;
            store.process_update("writer", &Update::default())?;
            let (events, answers) = mpsc::channel();
            let reader = Reader::start(&store, query(AgentOrder::Worst), events)?;
            Ok(Self { folder, store, reader, answers })
        }

        fn answer(&self) -> Result<Answer, Box<dyn AnyError>> {
            match self.answers.recv_timeout(PATIENTLY)? {
                Event::Answer(answer) => Ok(answer),
                _ => Err("something else than an answer".into()),
            }
        }

        fn snapshot(&self) -> Result<Box<Snapshot>, Box<dyn AnyError>> {
            match self.answer()? {
                Answer::Read(snapshot) => Ok(snapshot),
                Answer::NotRead(failure) => Err(failure.into()),
                Answer::Acted(_) => Err("nobody asked for that".into()),
            }
        }
    }

    #[test]
    fn it_reads_once_a_second_however_often_it_is_asked() -> TestResult {
        let watched = Watched::start()?;
        let mut before = watched.snapshot()?;
        assert_eq!(before.query.order, AgentOrder::Worst);
        for _ in 0..2 {
            for order in [AgentOrder::Risk, AgentOrder::Worst, AgentOrder::Id] {
                watched.reader.ask(Request::Show(query(order)));
            }
            let snapshot = watched.snapshot()?;
            assert_eq!(snapshot.query.order, AgentOrder::Id, "the last one that was asked for");
            let between = snapshot.read_at.to_utc() - before.read_at.to_utc();
            assert!(between.num_milliseconds() >= 990, "{between}");
            before = snapshot;
        }
        watched.reader.end();
        Ok(())
    }

    #[test]
    fn it_pauses_and_resumes_and_says_so() -> TestResult {
        let watched = Watched::start()?;
        watched.snapshot()?;
        let acted = |request| -> Result<_, Box<dyn AnyError>> {
            watched.reader.ask(request);
            loop {
                if let Answer::Acted(outcome) = watched.answer()? {
                    return Ok(outcome);
                }
            }
        };
        let agent = || "writer".to_owned();
        assert_eq!(acted(Request::Pause(agent()))??.lifecycle_status, Lifecycle::Paused);
        let last = watched.store.events("writer")?.pop().ok_or("an event")?;
        assert_eq!(last.reason.as_deref(), Some(REASON));
        assert!(matches!(acted(Request::Pause(agent()))?, Err(Error::WrongLifecycle { .. })));
        assert_eq!(acted(Request::Resume(agent()))??.lifecycle_status, Lifecycle::Active);

        // Somebody writes and writes: it is told who, and reading goes on.
        let blocker = Connection::open(watched.store.path())?;
        blocker.execute_batch("BEGIN IMMEDIATE")?;
        let refusal = acted(Request::Pause(agent()))?.expect_err("the database is locked");
        assert!(refusal.is_busy(), "{refusal}");
        assert_eq!(watched.snapshot()?.agents[0].agent.lifecycle_status, Lifecycle::Active);
        blocker.execute_batch("ROLLBACK")?;
        assert!(acted(Request::Pause(agent()))?.is_ok());
        watched.reader.end();
        Ok(())
    }

    #[test]
    fn a_database_that_was_taken_away_ends_it() -> TestResult {
        let watched = Watched::start()?;
        watched.snapshot()?;
        fs::rename(watched.store.path(), watched.folder.path().join("elsewhere.db"))?;
        let failure = loop {
            match watched.answer()? {
                Answer::NotRead(failure) => break failure,
                Answer::Read(_) => {} // it was read just before
                Answer::Acted(_) => return Err("nobody asked for that".into()),
            }
        };
        assert!(failure.to_string().contains("was moved, deleted or replaced"), "{failure}");
        watched.reader.ask(Request::Pause("writer".to_owned())); // nobody is there to do it
        watched.reader.end();
        Ok(())
    }
}
