//! Governance: whether a call of a tool may pass, and what is answered in its place.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use crate::answer;
use crate::books::Word;
use crate::say::say;
use govstore::{Error, Lifecycle, Update};
use serde_json::json;
use serde_json::value::RawValue;

use crate::options::{AgentName, Governance};
use crate::overheard::Overheard;
use crate::scan::{Message, Method};

/// Longest line of a client that is held until it is known what it says, in bytes. What a longer one says is known in
/// part, and it passes before its end.
pub const LONGEST_HELD: usize = 1 << 20;

/// Longest text of a call that an update is made of, in bytes.
const LONGEST_TEXT: usize = 64 << 10;

/// Whether calls of tools may pass.
pub struct Gate {
    governance: Governance,
    /// The thread that may wait for the database, and makes updates.
    books: SyncSender<Word>,
    has_complained: AtomicBool,
    has_lost_updates: AtomicBool,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// It doesn't pass, and this line is answered in its place, if it is not empty.
    Refuse(Vec<u8>),
}

impl Gate {
    pub fn new(governance: Governance, books: SyncSender<Word>) -> Self {
        Self {
            governance,
            books,
            has_complained: AtomicBool::new(false),
            has_lost_updates: AtomicBool::new(false),
        }
    }

    /// Judges a line by the messages in it. `line` is the whole of it, unless it is longer than may be held.
    pub fn judge(&self, messages: &[Message], line: Option<&[u8]>, overheard: &Overheard) -> Verdict {
        let is_call = |message: &&Message| message.method == Some(Method::CallTool);
        if !messages.iter().any(|message| is_call(&message)) {
            return Verdict::Pass;
        }
        if let Some(reason) = self.reason_to_refuse(overheard) {
            return Verdict::Refuse(refusals(messages, &reason));
        }
        if self.governance.update
            && let Some(agent) = self.agent(overheard)
        {
            self.update(agent, line.unwrap_or_default());
        }
        Verdict::Pass
    }

    /// Why no call may pass now, if so, in a sentence for the model.
    pub fn reason_to_refuse(&self, overheard: &Overheard) -> Option<String> {
        let Some(agent_id) = self.agent(overheard) else {
            return self.unknown("the client has not said who it is");
        };
        let Some(store) = overheard.store() else {
            return self.unknown("the governance database can't be reached");
        };
        let agent = match store.agent(&agent_id) {
            Ok(agent) => agent,
            Err(Error::AgentNotFound { .. }) => return None,
            Err(error) => return self.unknown(&error.to_string()),
        };
        let status = agent.lifecycle_status;
        if status == Lifecycle::Active {
            return None;
        }
        let by = match &agent.lifecycle_actor {
            Some(actor) => format!(" by {actor}"),
            None => String::new(),
        };
        let events = store.events(&agent_id).unwrap_or_default();
        let set = events.into_iter().rev().find(|event| event.event.as_str() == status.as_str());
        let because = set
            .and_then(|event| event.reason)
            .map_or(String::new(), |reason| format!(" Reason: {}.", reason.trim_end_matches('.')));
        Some(format!(
            "Agent {agent_id} is {status}{by}, so this call was not made.{because} Do not retry it; tell the person \
             whom you work for, who can resume the agent."
        ))
    }

    /// Nobody can tell whether the agent may call tools.
    fn unknown(&self, why: &str) -> Option<String> {
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            let what = if self.governance.fail_closed { "are refused" } else { "pass unasked" };
            say(&format!("calls of tools {what}, since {why}"));
        }
        let reason = format!(
            "This call was not made, since nobody can tell whether this agent may call tools: {why}. Retry it later, or \
             tell the person whom you work for."
        );
        self.governance.fail_closed.then_some(reason)
    }

    fn agent(&self, overheard: &Overheard) -> Option<String> {
        match &self.governance.agent {
            AgentName::Given(agent_id) => Some(agent_id.clone()),
            AgentName::Client => overheard.client_name(),
        }
    }

    /// Has one update made for a call: its text is that of the arguments, and its complexity what they say.
    fn update(&self, agent: String, line: &[u8]) {
        let arguments = arguments(line);
        let complexity = serde_json::from_str::<Complexity>(&arguments).ok().and_then(|said| said.complexity);
        let mut update = Update::new().response_text(cut(arguments));
        if let Some(complexity) = complexity.filter(|complexity| (0.0..=1.0).contains(complexity)) {
            update = update.complexity(complexity);
        }
        let lost = matches!(self.books.try_send(Word::Update(agent, update)), Err(TrySendError::Full(_)));
        if lost && !self.has_lost_updates.swap(true, Ordering::Relaxed) {
            say("the database is too slow for an update a call; some are left out");
        }
    }
}

#[derive(serde::Deserialize)]
struct Complexity {
    complexity: Option<f64>,
}

/// The arguments of a call, as the client wrote them; empty if it gave none.
fn arguments(line: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Call<'a> {
        #[serde(borrow)]
        params: Option<Params<'a>>,
    }
    #[derive(serde::Deserialize)]
    struct Params<'a> {
        #[serde(borrow)]
        arguments: Option<&'a RawValue>,
    }
    let call = serde_json::from_slice::<Call<'_>>(line).ok();
    let arguments = call.and_then(|call| call.params).and_then(|params| params.arguments);
    arguments.map_or(String::new(), |arguments| arguments.get().to_owned())
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST_TEXT));
    text
}

/// The answers to all requests of a line that doesn't pass, as a line. A call gets a result that the model reads.
pub fn refusals(messages: &[Message], reason: &str) -> Vec<u8> {
    let mut known = HashSet::new();
    let mut answers: Vec<String> = Vec::new();
    for message in messages {
        let (Some(id), Some(method)) = (&message.id, &message.method) else { continue };
        if !known.insert(id) {
            continue;
        }
        answers.push(if *method == Method::CallTool {
            let mut result = json!({ "content": [{ "type": "text", "text": reason }], "isError": true });
            if message.is_of_today {
                result["resultType"] = json!("complete");
            }
            format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, String::from_utf8_lossy(id))
        } else {
            answer::error(id, reason)
        });
    }
    let is_batch = messages.first().is_some_and(|message| message.is_in_batch);
    let mut line = match (answers.is_empty(), is_batch) {
        (true, _) => return Vec::new(),
        (false, true) => format!("[{}]", answers.join(",")),
        (false, false) => answers.concat(),
    };
    line.push('\n');
    line.into_bytes()
}
