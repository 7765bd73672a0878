//! Starting a server again that has failed: what its client is told meanwhile, and what the new one is told of it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::answer;
use crate::mutex::lock;
use crate::scan::{Message, Method, Short};
use crate::status::ServerStatus;

/// How often it is started again within [`WITHIN`], before its failure is the end.
const MOST: usize = 5;
const WITHIN: Duration = Duration::from_mins(1);

/// What a server has to be told before it can go on where another one has failed.
#[derive(Debug, Default)]
pub struct Handshake(Mutex<Said>);

#[derive(Debug, Default, Clone)]
pub struct Said {
    /// The id of `initialize`, and its line.
    pub initialize: Option<(Short, Vec<u8>)>,
    /// The line of `notifications/initialized`.
    pub initialized: Option<Vec<u8>>,
}

impl Handshake {
    /// The client has said this, and the server was told.
    pub fn note(&self, messages: &[Message], line: &[u8]) {
        let [message] = messages else { return };
        match (message.method, &message.id) {
            (Some(Method::Initialize), Some(id)) => {
                *lock(&self.0) = Said { initialize: Some((id.clone(), line.to_vec())), initialized: None };
            }
            (Some(Method::Initialized), _) => lock(&self.0).initialized = Some(line.to_vec()),
            _ => {}
        }
    }

    /// What is to be said to another server, of which these requests were not answered.
    pub fn to_repeat(&self, unanswered: &[Short]) -> Said {
        let mut said = lock(&self.0);
        if said.initialize.as_ref().is_some_and(|(id, _)| unanswered.contains(id)) {
            *said = Said::default(); // the client is told that it failed, and begins anew
        }
        said.clone()
    }
}

/// When it was started again.
#[derive(Debug, Default)]
pub struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// Whether it may be started again after this end. If so, that is counted.
    pub fn may_follow(&mut self, status: ServerStatus) -> bool {
        let now = Instant::now();
        self.0.retain(|at| now.duration_since(*at) < WITHIN);
        let may = status != ServerStatus::Exited(0) && self.0.len() < MOST;
        if may {
            self.0.push_back(now);
        }
        may
    }
}

/// The answers to requests that nobody will answer, as lines.
pub fn errors(unanswered: &[Short], status: ServerStatus) -> Vec<u8> {
    let how = match status {
        ServerStatus::Exited(code) => format!("exited with code {code}"),
        ServerStatus::Signaled(signal) => format!("was ended by signal {signal}"),
        ServerStatus::Unknown => "ended".to_owned(),
    };
    let message = format!(
        "the server {how} before it answered, and is started again; whether it has done what was asked is not known"
    );
    let lines = unanswered.iter().map(|id| answer::error(id, &message) + "\n");
    lines.collect::<String>().into_bytes()
}
