//! What is learnt from the traffic: who the client is, that it uses the server, and how its calls of tools went.
//!
//! Both directions write into it as bytes pass, so it costs a map's look-up a message, and has no more entries than it
//! may have, whatever the client and the server say.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use govstore::{CallFigures, ClientInfo, Store};

use crate::mutex::lock;
use crate::scan::{Answer, Introduction, Message, Method, Short};

/// How many calls may wait for their answers and be counted.
const MOST_PENDING: usize = 10_000;

/// For how many tools figures are kept between two writes; calls of others are counted under one name.
const MOST_TOOLS: usize = 200;

/// The name under which these are counted.
const OTHERS: &str = "(others)";

/// What the traffic has said, for whoever keeps books.
#[derive(Debug, Default)]
pub struct Overheard {
    pending: Mutex<HashMap<Short, Pending>>,
    figures: Mutex<HashMap<String, CallFigures>>,
    client: Mutex<Introduction>,
    /// Whether every request is remembered until it is answered, and not calls alone.
    of_all_requests: bool,
    /// Where to say that the client uses this process; `None` while there is no database.
    store: Mutex<Option<Store>>,
}

/// A request that has no answer yet.
#[derive(Debug)]
struct Pending {
    /// `None`: no call of a tool.
    tool: Option<Short>,
    since: Instant,
}

impl Overheard {
    /// Nothing was heard yet.
    pub fn new(of_all_requests: bool) -> Self {
        Self { of_all_requests, ..Self::default() }
    }

    /// The ids of the requests that have no answer, which nobody will give any more.
    pub fn abandon(&self) -> Vec<Short> {
        lock(&self.pending).drain().map(|(id, _)| id).collect()
    }

    /// The client is about to say these. `true` if it has introduced itself just now.
    pub fn hear_client(&self, messages: impl ExactSizeIterator<Item = Message>) -> bool {
        if messages.len() == 0 {
            return false;
        }
        if let Some(store) = &*lock(&self.store) {
            store.note_activity();
        }
        let since = Instant::now();
        let mut introduced = None;
        let mut pending = lock(&self.pending);
        for mut message in messages {
            if let Some(cancelled) = &message.cancelled {
                pending.remove(&**cancelled); // it will not be answered
            }
            let is_call = message.method == Some(Method::CallTool);
            let is_remembered = is_call || (self.of_all_requests && message.method.is_some());
            if let Some(id) = message.id.take()
                && is_remembered
                && pending.len() < MOST_PENDING
            {
                let tool = is_call.then(|| message.tool.take().unwrap_or_default());
                pending.insert(id, Pending { tool, since });
            }
            introduced = message.introduction.filter(|said| said.name.is_some()).or(introduced);
        }
        drop(pending);
        introduced.is_some_and(|said| self.note_client(*said))
    }

    /// `true` if it is another one than before.
    fn note_client(&self, said: Introduction) -> bool {
        let mut client = lock(&self.client);
        let is_new = *client != said;
        *client = said;
        is_new
    }

    /// The server has said these.
    pub fn hear_server(&self, messages: impl Iterator<Item = Message>) {
        let mut pending = lock(&self.pending);
        let mut answered = Vec::new();
        for message in messages {
            if let (Some(id), Some(answer)) = (&message.id, message.answer)
                && let Some(Pending { tool: Some(tool), since }) = pending.remove(id)
            {
                answered.push((tool, since, answer));
            }
        }
        drop(pending);
        if answered.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut figures = lock(&self.figures);
        for (tool, since, answer) in answered {
            let (took, is_error) = (now.duration_since(since), answer == Answer::Failed);
            note(&mut figures, &String::from_utf8_lossy(&tool), |of_tool| of_tool.add(took, is_error));
        }
    }

    /// The client has said this, and the server will not hear of it. Returns the ids of those that wait for an answer.
    pub fn forget(&self, messages: &[Message]) -> Vec<Short> {
        let mut pending = lock(&self.pending);
        let ids = messages.iter().filter_map(|message| message.id.as_ref());
        ids.filter(|id| pending.remove(*id).is_some()).cloned().collect()
    }

    /// What the client calls itself.
    pub fn client_name(&self) -> Option<String> {
        lock(&self.client).name.clone()
    }

    /// Who the client is, once it has said so.
    pub fn client(&self) -> Option<ClientInfo> {
        let client = lock(&self.client);
        let name = client.name.as_deref()?;
        let info = ClientInfo::new(name, client.version.as_deref().unwrap_or_default());
        Some(match &client.protocol_version {
            Some(version) => info.protocol_version(version),
            None => info,
        })
    }

    /// Takes the figures since the last time.
    pub fn take_figures(&self) -> Vec<CallFigures> {
        std::mem::take(&mut *lock(&self.figures)).into_values().collect()
    }

    /// Takes figures back that could not be written.
    pub fn give_back(&self, unwritten: &[CallFigures]) {
        let mut figures = lock(&self.figures);
        for earlier in unwritten {
            note(&mut figures, earlier.tool(), |of_tool| of_tool.merge(earlier));
        }
    }

    /// From now on it is noted here that the client uses this process.
    pub fn set_store(&self, store: Option<Store>) {
        *lock(&self.store) = store;
    }

    /// The database, if there is one now.
    pub fn store(&self) -> Option<Store> {
        lock(&self.store).clone()
    }
}

/// Adds to the figures of a tool, or to those of the others where there are too many tools.
fn note(figures: &mut HashMap<String, CallFigures>, tool: &str, add: impl FnOnce(&mut CallFigures)) {
    if let Some(of_tool) = figures.get_mut(tool) {
        return add(of_tool);
    }
    let tool = if figures.len() < MOST_TOOLS { tool } else { OTHERS };
    add(figures.entry(tool.to_owned()).or_insert_with_key(|tool| CallFigures::new(tool)));
}
