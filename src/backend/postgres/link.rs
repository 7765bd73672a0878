//! One connection: statements go out without waiting for each other's answers, so that several cost one round trip.
//!
//! To parse and plan a statement takes the server about as long as to run it, so a statement that comes again is
//! prepared. That works on a session of our own alone: behind a pooler, the next transaction may be on another session,
//! which knows nothing of it. Whether the session is our own is found out when the connection is made.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::failure::Failure;
use super::runtime::{GivenUp, block_on};
use super::value::Statement;
use crate::backend::deadline::Deadline;
use crate::os::lock;

/// How much longer than a call's own deadline an answer is waited for: the server ends waits for locks by itself, and
/// says so.
const ANSWER_GRACE: Duration = Duration::from_millis(600);

/// One connection to the server.
pub(super) struct Link {
    inner: Arc<Inner>,
    /// Where the connection is served.
    runtime: Handle,
    task: AbortHandle,
    /// How others see it, in `pg_stat_activity`.
    pub name: String,
    /// Which history of the cluster the server goes on with: one more with each promotion of a standby.
    pub timeline: u32,
    /// Whether the session at the server is this connection's own.
    pub is_direct: bool,
    /// Whether the server has warned of something since it was last asked, as that a commit was not replicated.
    warned: Arc<AtomicBool>,
    broken: AtomicBool,
}

struct Inner {
    client: Client,
    /// By their text, which is a constant: where it lies stands for it.
    prepared: Mutex<HashMap<usize, Preparation>>,
}

/// How far a statement has come.
enum Preparation {
    /// It was run once.
    Seen,
    Done(tokio_postgres::Statement),
}

/// Something to be sent.
pub(super) enum Step {
    /// Statements without parameters or answers.
    Batch(Cow<'static, str>),
    /// A statement whose rows are wanted.
    Rows(Statement),
    /// A statement of which the number of rows that it changed is wanted.
    Change(Statement),
}

impl Step {
    pub const fn batch(sql: &'static str) -> Self {
        Self::Batch(Cow::Borrowed(sql))
    }

    const fn statement(&self) -> Option<&Statement> {
        match self {
            Self::Batch(_) => None,
            Self::Rows(statement) | Self::Change(statement) => Some(statement),
        }
    }
}

/// What came back for a step.
#[derive(Default)]
pub(super) struct Answer {
    pub rows: Vec<Row>,
    pub changed: u64,
}

impl Link {
    pub fn new(
        client: Client,
        runtime: Handle,
        task: AbortHandle,
        name: String,
        warned: Arc<AtomicBool>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner { client, prepared: Mutex::default() }),
            runtime,
            task,
            name,
            timeline: 0,
            is_direct: false,
            warned,
            broken: AtomicBool::new(false),
        }
    }

    /// Sends the steps, and waits for the answers of all.
    pub fn run(&self, steps: Vec<Step>, wait: &Deadline) -> Result<Vec<Answer>, Failure> {
        self.run_until(steps, wait.remaining() + ANSWER_GRACE, || wait.is_cancelled())
    }

    /// The same for what must not be given up because the call was cancelled.
    pub fn run_uncancelled(&self, steps: Vec<Step>, limit: Duration) -> Result<Vec<Answer>, Failure> {
        self.run_until(steps, limit + ANSWER_GRACE, || false)
    }

    /// Whether the server answers in time; if not, this connection is of no use.
    pub fn ask(&self, patience: Duration) -> bool {
        self.run_until(vec![Step::batch("")], patience, || false).inspect_err(|_| self.give_up()).is_ok()
    }

    fn run_until(
        &self,
        steps: Vec<Step>,
        limit: Duration,
        is_cancelled: impl Fn() -> bool,
    ) -> Result<Vec<Answer>, Failure> {
        if steps.iter().filter_map(Step::statement).any(Statement::has_nul) {
            return Err(Failure::Nul);
        }
        // On the thread of the connection, so that all of them are there when it next writes to its socket.
        let (inner, prepares) = (Arc::clone(&self.inner), self.is_direct);
        let running = self.runtime.spawn(async move { inner.run(&steps, prepares).await });
        let abort = running.abort_handle();
        let answered = match block_on(running, limit, is_cancelled) {
            Ok(Ok(answered)) => answered,
            Ok(Err(ended)) => Err(Failure::Lost(ended.to_string())),
            Err(GivenUp::TimeIsOver) => Err(Failure::Silent(limit)),
            Err(GivenUp::Cancelled) => Err(Failure::Cancelled),
        };
        answered.inspect_err(|failure| {
            abort.abort();
            if failure.breaks_connection() {
                self.give_up();
            }
        })
    }

    /// Sends statements and waits for nothing.
    pub fn send(&self, batch: &'static str) {
        let inner = Arc::clone(&self.inner);
        drop(self.runtime.spawn(async move { inner.client.batch_execute(batch).await }));
    }

    /// Whether it can be used.
    pub fn is_sound(&self) -> bool {
        !self.broken.load(Ordering::Relaxed) && !self.inner.client.is_closed()
    }

    /// It is of no use any more.
    pub fn give_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Forgets warnings, and says whether there were any.
    pub fn take_warning(&self) -> bool {
        self.warned.swap(false, Ordering::AcqRel)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if !self.is_sound() {
            self.task.abort(); // it may be trying to send to somebody who never reads
        }
    }
}

impl Inner {
    async fn run(&self, steps: &[Step], prepares: bool) -> Result<Vec<Answer>, Failure> {
        if prepares {
            self.prepare(steps).await?;
        }
        all(steps.iter().map(|step| Box::pin(self.answer(step)) as Answering<'_, _>).collect()).await
    }

    async fn answer(&self, step: &Step) -> Result<Answer, Failure> {
        match step {
            Step::Batch(sql) => {
                self.client.batch_execute(sql).await?;
                Ok(Answer::default())
            }
            Step::Rows(statement) => {
                let typed = statement.typed();
                let rows = match self.prepared(statement) {
                    Some(prepared) => self.client.query(&prepared, &untyped(&typed)).await?,
                    None => self.client.query_typed(statement.sql, &typed).await?,
                };
                Ok(Answer { rows, changed: 0 })
            }
            Step::Change(statement) => {
                let typed = statement.typed();
                let changed = match self.prepared(statement) {
                    Some(prepared) => self.client.execute(&prepared, &untyped(&typed)).await?,
                    None => self.client.execute_typed(statement.sql, &typed).await?,
                };
                Ok(Answer { rows: Vec::new(), changed })
            }
        }
    }

    /// Prepares what comes for the second time, all in one round trip.
    async fn prepare(&self, steps: &[Step]) -> Result<(), Failure> {
        let mut wanted: Vec<&Statement> = Vec::new();
        for statement in steps.iter().filter_map(Step::statement) {
            let mut prepared = lock(&self.prepared);
            match prepared.get(&place(statement)) {
                Some(Preparation::Seen) if !wanted.iter().any(|other| place(other) == place(statement)) => {
                    wanted.push(statement);
                }
                Some(_) => {}
                None => drop(prepared.insert(place(statement), Preparation::Seen)),
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let preparing = wanted.iter().map(|statement| {
            Box::pin(async {
                let types: Vec<_> =
                    statement.parameters.iter().map(|parameter| parameter.typed().1).collect();
                Ok(self.client.prepare_typed(statement.sql, &types).await?)
            }) as Answering<'_, _>
        });
        let done = all(preparing.collect()).await?;
        for (statement, made) in wanted.iter().zip(done) {
            lock(&self.prepared).insert(place(statement), Preparation::Done(made));
        }
        Ok(())
    }

    /// The statement as it was prepared, if it was.
    fn prepared(&self, statement: &Statement) -> Option<tokio_postgres::Statement> {
        match lock(&self.prepared).get(&place(statement)) {
            Some(Preparation::Done(prepared)) => Some(prepared.clone()),
            _ => None,
        }
    }
}

type Answering<'l, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'l>>;

/// What stands for the text of a statement.
fn place(statement: &Statement) -> usize {
    statement.sql.as_ptr() as usize
}

fn untyped<'p>(typed: &[(&'p (dyn ToSql + Sync), Type)]) -> Vec<&'p (dyn ToSql + Sync)> {
    typed.iter().map(|(value, _)| *value).collect()
}

/// Waits for all answers; the first failure, if there is one, as soon as it comes. A future sends its statement when it
/// is first polled, so all are sent before the first answer.
async fn all<T>(mut answering: Vec<Answering<'_, T>>) -> Result<Vec<T>, Failure> {
    let mut answers: Vec<Option<T>> = answering.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut is_any_left = false;
        for (future, answer) in answering.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(Ok(answered)) => *answer = Some(answered),
                    // What comes after it fails because of it.
                    Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                    Poll::Pending => is_any_left = true,
                }
            }
        }
        if is_any_left { Poll::Pending } else { Poll::Ready(Ok(())) }
    })
    .await?;
    Ok(answers.into_iter().flatten().collect())
}
