//! One connection: statements go out without waiting for each other's answers, so that several cost one round trip.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_postgres::{Client, Row};

use super::failure::Failure;
use super::runtime::{GivenUp, block_on};
use super::value::Statement;
use crate::backend::deadline::Deadline;

/// How much longer than a call's own deadline an answer is waited for: the server ends waits for locks by itself, and
/// says so.
const ANSWER_GRACE: Duration = Duration::from_millis(700);

/// One connection to the server.
pub(super) struct Link {
    client: Client,
    task: AbortHandle,
    /// Which history of the cluster the server goes on with: one more with each promotion of a standby.
    pub timeline: u32,
    /// Whether the server has warned of something since it was last asked, as that a commit was not replicated.
    warned: Arc<AtomicBool>,
    broken: AtomicBool,
}

/// Something to be sent.
pub(super) enum Step<'s> {
    /// Statements without parameters or answers.
    Batch(&'s str),
    /// A statement whose rows are wanted.
    Rows(&'s Statement),
    /// A statement of which the number of rows that it changed is wanted.
    Change(&'s Statement),
}

/// What came back for a step.
#[derive(Default)]
pub(super) struct Answer {
    pub rows: Vec<Row>,
    pub changed: u64,
}

impl Link {
    pub fn new(client: Client, task: AbortHandle, warned: Arc<AtomicBool>) -> Self {
        Self { client, task, timeline: 0, warned, broken: AtomicBool::new(false) }
    }

    /// Sends the steps, and waits for the answers of all.
    pub fn run(&self, steps: &[Step<'_>], wait: &Deadline) -> Result<Vec<Answer>, Failure> {
        self.run_until(steps, wait.remaining() + ANSWER_GRACE, || wait.is_cancelled())
    }

    /// The same for what must not be given up because the call was cancelled.
    pub fn run_uncancelled(&self, steps: &[Step<'_>], limit: Duration) -> Result<Vec<Answer>, Failure> {
        self.run_until(steps, limit + ANSWER_GRACE, || false)
    }

    fn run_until(
        &self,
        steps: &[Step<'_>],
        limit: Duration,
        is_cancelled: impl Fn() -> bool,
    ) -> Result<Vec<Answer>, Failure> {
        let has_nul = |step: &Step<'_>| match step {
            Step::Batch(_) => false,
            Step::Rows(statement) | Step::Change(statement) => {
                statement.parameters.iter().any(super::value::Parameter::has_nul)
            }
        };
        if steps.iter().any(has_nul) {
            return Err(Failure::Nul);
        }
        let answers = steps.iter().map(|step| Box::pin(self.answer(step)) as Answering<'_>).collect();
        let answered = match block_on(all(answers), limit, is_cancelled) {
            Ok(answered) => answered,
            Err(GivenUp::TimeIsOver) => Err(Failure::Silent(limit)),
            Err(GivenUp::Cancelled) => Err(Failure::Cancelled),
        };
        answered.inspect_err(|failure| {
            if failure.breaks_connection() {
                self.broken.store(true, Ordering::Relaxed);
            }
        })
    }

    /// Sends statements and waits for nothing.
    pub fn send(&self, batch: &str) {
        let steps = [Step::Batch(batch)];
        let _ = block_on(all(vec![Box::pin(self.answer(&steps[0]))]), Duration::ZERO, || false);
    }

    async fn answer(&self, step: &Step<'_>) -> Result<Answer, Failure> {
        match step {
            Step::Batch(sql) => {
                self.client.batch_execute(sql).await?;
                Ok(Answer::default())
            }
            Step::Rows(statement) => {
                let parameters: Vec<_> =
                    statement.parameters.iter().map(super::value::Parameter::typed).collect();
                let rows = self.client.query_typed(statement.sql, &parameters).await?;
                Ok(Answer { rows, changed: 0 })
            }
            Step::Change(statement) => {
                let parameters: Vec<_> =
                    statement.parameters.iter().map(super::value::Parameter::typed).collect();
                let changed = self.client.execute_typed(statement.sql, &parameters).await?;
                Ok(Answer { rows: Vec::new(), changed })
            }
        }
    }

    /// Whether it can be used.
    pub fn is_sound(&self) -> bool {
        !self.broken.load(Ordering::Relaxed) && !self.client.is_closed()
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

type Answering<'l> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + 'l>>;

/// Waits for all answers; the first failure, if there is one, as soon as it comes. A future sends its statement when it
/// is first polled, so all are sent before the first answer.
async fn all(mut answering: Vec<Answering<'_>>) -> Result<Vec<Answer>, Failure> {
    let mut answers: Vec<Option<Answer>> = answering.iter().map(|_| None).collect();
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
