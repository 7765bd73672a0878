//! What was read and is not answered yet: messages that wait, and the requests that are under way.
//!
//! A request that is being answered takes some ten times the memory of its line. A client that sends ten thousand at
//! once has a few hundred of them under way, and the rest waits as lines. With [`MAX_BYTES`] of both, input isn't read
//! any further: a client that writes more than that before it reads anything waits for ever. Results that the client
//! doesn't read hold back the requests that wait.
//!
//! Pings and cancellations wait for none of this: they come first among what was read, once the conversation has begun.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::model::{
    CancelledNotification, ClientJsonRpcMessage, ClientNotification, ClientRequest, JsonRpcMessage,
    RequestId, ServerJsonRpcMessage,
};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::batch::Members;
use crate::message_id::IdFinder;
use crate::outbox::Outbox;

/// Enough requests under way to keep every thread busy, and for reads not to wait behind calls of one agent.
const REQUESTS_MAX: usize = 256;

/// Pings and cancellations that wait; with more of them input isn't read any further either.
const FIRST_MAX: usize = 4_096;

/// What messages that wait and requests under way may have in all. One message may have as much alone.
pub const MAX_BYTES: usize = 16 << 20;

/// What a message takes beside its text.
const BESIDE_BYTES: usize = 64;

/// How long one more request waits at most. Should an answer ever get lost, the server gets slow and not stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the thread that reads hands over.
pub enum Incoming {
    /// A line that nobody has looked at yet. Until there is room for its request it stays that small.
    Line(Vec<u8>),
    /// What a long line means, and how long it is.
    Parsed(Box<ClientJsonRpcMessage>, usize),
    /// A batch, or what is left of it.
    Batch(Members),
}

impl Incoming {
    fn bytes(&self) -> usize {
        BESIDE_BYTES
            + match self {
                Self::Line(text) => text.len(),
                Self::Parsed(_, length) => *length,
                Self::Batch(members) => members.bytes(),
            }
    }

    /// Whether it is the request with this id, alone.
    fn is_request(&self, id: &RequestId) -> bool {
        match self {
            Self::Line(text) => {
                let ids = IdFinder::find(text);
                ids.first().and_then(|id| serde_json::from_str(id.as_str()).ok()).as_ref() == Some(id)
            }
            Self::Parsed(message, _) => {
                matches!(&**message, JsonRpcMessage::Request(request) if request.id == *id)
            }
            Self::Batch(_) => false,
        }
    }
}

/// What was read, between the thread that reads and the transport.
#[derive(Default)]
pub struct Inbox {
    state: Mutex<State>,
    /// The transport waits for it.
    changed: Notify,
    /// The thread that reads waits for it.
    room: Condvar,
    /// The end of the conversation waits for it.
    ended: Notify,
}

#[derive(Default)]
struct State {
    first: VecDeque<Incoming>,
    waiting: VecDeque<Incoming>,
    under_way: HashMap<RequestId, UnderWay>,
    /// Of all of them.
    bytes: usize,
    /// Threads that wait for room: the one that reads.
    in_wait: usize,
    /// The first message was taken, which is `initialize` as a rule: nothing comes before that.
    has_begun: bool,
    /// Nothing more is read.
    has_ended: bool,
    /// Nobody takes anything any more.
    is_closed: bool,
}

/// A request that is under way.
struct UnderWay {
    bytes: usize,
    /// It is answered when the client cancels it, or at the end.
    listens: bool,
}

/// What there is to be taken.
enum Taken {
    Message(Incoming),
    Nothing {
        /// Too many requests are under way.
        is_busy: bool,
    },
    /// Nothing more comes, and all is answered.
    End,
}

impl Inbox {
    /// Adds what was read, once there is room for it; `false` if nobody wants it any more.
    pub fn push(&self, incoming: Incoming) -> bool {
        let mut state = self.state();
        let bytes = incoming.bytes();
        while !state.is_closed && state.bytes > 0 && state.bytes + bytes > MAX_BYTES {
            state = self.wait_for_room(state);
        }
        state.bytes += bytes;
        state.waiting.push_back(incoming);
        let is_wanted = !state.is_closed;
        drop(state); // else whoever wakes waits for it at once
        self.changed.notify_one();
        is_wanted
    }

    /// Adds a message that comes first among what was read.
    pub fn push_first(&self, message: ClientJsonRpcMessage) -> bool {
        let mut state = self.state();
        while !state.is_closed && state.first.len() >= FIRST_MAX {
            state = self.wait_for_room(state);
        }
        state.bytes += BESIDE_BYTES;
        state.first.push_back(Incoming::Parsed(Box::new(message), 0));
        self.changed.notify_one();
        !state.is_closed
    }

    /// Adds a cancellation. A request that is under way hears of it first, and one that waits is gone.
    pub fn push_cancellation(&self, message: ClientJsonRpcMessage) -> bool {
        let mut state = self.state();
        let Some(id) = cancelled(&message) else { return !state.is_closed }; // of nothing
        if state.under_way.contains_key(id) {
            drop(state);
            return self.push_first(message);
        }
        if let Some(at) = state.waiting.iter().rposition(|waiting| waiting.is_request(id)) {
            let gone = state.waiting.remove(at).map_or(0, |gone| gone.bytes());
            self.release(&mut state, gone);
            return !state.is_closed;
        }
        drop(state);
        self.push(Incoming::Parsed(Box::new(message), 0)) // perhaps of a member of a batch
    }

    /// Puts back what was taken a moment ago.
    pub fn put_back(&self, incoming: Incoming) {
        let mut state = self.state();
        state.bytes += incoming.bytes();
        state.waiting.push_front(incoming);
        self.changed.notify_one();
    }

    /// Nothing more is read.
    pub fn end(&self) {
        self.state().has_ended = true;
        self.changed.notify_one();
        self.ended.notify_one();
    }

    /// Returns at the end of what is read, and then each time that a request is over. For one who waits.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Nobody takes anything any more.
    pub fn close(&self) {
        self.state().is_closed = true;
        self.room.notify_all();
    }

    /// Whether nothing more is read, and all that was read is answered.
    pub fn is_answered(&self) -> bool {
        self.state().is_answered()
    }

    /// The next message to be looked at, when there is room for its answer. `None`: nothing more comes, and all is answered.
    ///
    /// It may be dropped at any time and loses nothing.
    pub async fn next(&self, outbox: &Outbox) -> Option<Incoming> {
        let mut is_overdue = false;
        loop {
            let has_room = outbox.has_room();
            let is_busy = match self.take(outbox, is_overdue) {
                Taken::Message(incoming) => return Some(incoming),
                Taken::Nothing { is_busy } => is_busy,
                Taken::End => return None,
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = outbox.room(), if !has_room => {}
                () = sleep(PATIENCE), if has_room && is_busy => is_overdue = true,
            }
        }
    }

    fn take(&self, outbox: &Outbox, is_overdue: bool) -> Taken {
        let mut state = self.state();
        let is_busy = state.under_way.len() >= REQUESTS_MAX && !is_overdue;
        let is_first = !state.first.is_empty() && (state.has_begun || state.waiting.is_empty());
        let taken = if is_first && !outbox.is_stuffed() {
            state.first.pop_front()
        } else if outbox.has_room() && !is_busy {
            state.waiting.pop_front()
        } else {
            None
        };
        match taken {
            Some(incoming) => {
                state.has_begun = true;
                self.release(&mut state, incoming.bytes());
                Taken::Message(incoming)
            }
            None if state.is_answered() => Taken::End,
            None => Taken::Nothing { is_busy: is_busy && !state.waiting.is_empty() },
        }
    }

    /// Takes note of what the server is about to look at, of so many bytes.
    pub fn received(&self, message: &ClientJsonRpcMessage, bytes: usize) {
        if let JsonRpcMessage::Request(request) = message {
            let mut state = self.state();
            let listens = matches!(request.request, ClientRequest::SubscriptionsListenRequest(_));
            let before = state.under_way.insert(request.id.clone(), UnderWay { bytes, listens });
            state.bytes = state.bytes + bytes - before.map_or(0, |before| before.bytes);
        } else if let Some(id) = cancelled(message) {
            self.is_over(id); // what is cancelled gets no answer
        }
    }

    /// Takes note of what the server sends.
    pub fn sent(&self, message: &ServerJsonRpcMessage) {
        if let Some(id) = answered(message) {
            self.is_over(id);
        }
    }

    /// A request is under way no longer.
    fn is_over(&self, id: &RequestId) {
        let mut state = self.state();
        let was_busy = state.under_way.len() >= REQUESTS_MAX;
        let Some(request) = state.under_way.remove(id) else { return };
        self.release(&mut state, request.bytes);
        if was_busy || state.has_ended {
            self.changed.notify_one();
        }
        if state.has_ended {
            self.ended.notify_one();
        }
    }

    fn release(&self, state: &mut State, bytes: usize) {
        state.bytes -= bytes;
        if std::mem::take(&mut state.in_wait) > 0 {
            self.room.notify_all(); // a call to the system even where nobody waits
        }
    }

    fn wait_for_room<'s>(&self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        state.in_wait += 1;
        self.room.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_answered(&self) -> bool {
        self.has_ended
            && self.first.is_empty()
            && self.waiting.is_empty()
            && self.under_way.values().all(|request| request.listens)
    }
}

/// The request that a message answers.
pub fn answered(message: &ServerJsonRpcMessage) -> Option<&RequestId> {
    match message {
        JsonRpcMessage::Response(response) => Some(&response.id),
        JsonRpcMessage::Error(error) => error.id.as_ref(),
        _ => None,
    }
}

/// The request that a message cancels.
pub fn cancelled(message: &ClientJsonRpcMessage) -> Option<&RequestId> {
    let JsonRpcMessage::Notification(notification) = message else { return None };
    match &notification.notification {
        ClientNotification::CancelledNotification(CancelledNotification { params, .. }) => {
            params.request_id.as_ref()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};
    use std::thread;

    use rmcp::model::ErrorData;
    use serde_json::{Value, json};

    use super::*;

    fn message(value: Value) -> ClientJsonRpcMessage {
        serde_json::from_value(value).expect("a message")
    }

    fn request(id: impl Into<Value>) -> Value {
        json!({ "jsonrpc": "2.0", "id": id.into(), "method": "tools/list" })
    }

    fn cancellation(id: impl Into<Value>) -> ClientJsonRpcMessage {
        let params = json!({ "requestId": id.into() });
        message(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }))
    }

    fn line(value: &Value) -> Incoming {
        Incoming::Line(value.to_string().into_bytes())
    }

    fn answer(id: i64) -> ServerJsonRpcMessage {
        ServerJsonRpcMessage::error(ErrorData::invalid_request("no", None), Some(RequestId::Number(id)))
    }

    /// The next message, if there is one to be had now.
    fn next(inbox: &Inbox, outbox: &Outbox) -> Poll<Option<Incoming>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let _entered = runtime.enter();
        pin!(inbox.next(outbox)).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Takes what is next and makes it a request under way.
    fn begin(inbox: &Inbox, outbox: &Outbox) -> Option<RequestId> {
        let message = match next(inbox, outbox) {
            Poll::Ready(Some(Incoming::Line(line))) => serde_json::from_slice(&line).expect("a message"),
            Poll::Ready(Some(Incoming::Parsed(message, _))) => *message,
            Poll::Ready(Some(Incoming::Batch(_))) => panic!("there is none"),
            Poll::Ready(None) | Poll::Pending => return None,
        };
        inbox.received(&message, 10);
        match message {
            JsonRpcMessage::Request(request) => Some(request.id),
            _ => Some(RequestId::String("none".into())),
        }
    }

    #[test]
    fn there_is_room_again_once_one_is_answered_or_cancelled() {
        let (inbox, outbox) = (Inbox::default(), Outbox::default());
        for id in 0..=REQUESTS_MAX {
            assert!(inbox.push(line(&request(id))));
        }
        for id in (0..).take(REQUESTS_MAX) {
            assert_eq!(begin(&inbox, &outbox), Some(RequestId::Number(id)));
        }
        assert_eq!(begin(&inbox, &outbox), None);
        inbox.sent(&answer(7));
        assert_eq!(begin(&inbox, &outbox), Some(RequestId::Number(256)));
        assert!(inbox.push(line(&request("one more"))));
        assert_eq!(begin(&inbox, &outbox), None);
        assert!(inbox.push_cancellation(cancellation(8)));
        assert_eq!(begin(&inbox, &outbox), Some(RequestId::String("none".into())), "it comes first");
        assert_eq!(begin(&inbox, &outbox), Some(RequestId::String("one more".into())));
    }

    #[test]
    fn what_the_client_does_not_read_holds_back_requests_and_no_pings() {
        let (inbox, outbox) = (Inbox::default(), Outbox::default());
        assert!(inbox.push(line(&request(0))));
        assert_eq!(begin(&inbox, &outbox), Some(RequestId::Number(0)));
        outbox.push(vec![b' '; 5 << 20]).expect("an open box");
        assert!(inbox.push(line(&request(1))));
        assert_eq!(begin(&inbox, &outbox), None);
        let ping = message(json!({ "jsonrpc": "2.0", "id": 2, "method": "ping" }));
        assert!(inbox.push_first(ping.clone()));
        assert_eq!(begin(&inbox, &outbox), Some(RequestId::Number(2)));
        outbox.push(vec![b' '; 5 << 20]).expect("an open box");
        assert!(inbox.push_first(ping));
        assert_eq!(begin(&inbox, &outbox), None, "there is a limit even to pings");
    }

    #[test]
    fn a_ping_comes_first_but_not_before_the_beginning() {
        let (inbox, outbox) = (Inbox::default(), Outbox::default());
        let ping = |id: i64| message(json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }));
        assert!(inbox.push(line(&request(1))) && inbox.push(line(&request(2))));
        assert!(inbox.push_first(ping(3)) && inbox.push_first(ping(4)));
        let ids: Vec<_> = std::iter::from_fn(|| begin(&inbox, &outbox)).collect();
        assert_eq!(ids, [1, 3, 4, 2].map(RequestId::Number));
    }

    #[test]
    fn pings_without_end_are_not_all_held() {
        let (inbox, outbox) = (Arc::new(Inbox::default()), Outbox::default());
        let reader = Arc::clone(&inbox);
        let ping = message(json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }));
        let reading = thread::spawn(move || (0..=FIRST_MAX).all(|_| reader.push_first(ping.clone())));
        while inbox.state().first.len() < FIRST_MAX {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(20));
        assert!(!reading.is_finished());
        assert!(begin(&inbox, &outbox).is_some());
        assert!(reading.join().expect("no panic"), "there was room for the last");
    }

    #[test]
    fn a_request_that_waits_is_gone_when_it_is_cancelled() {
        let (inbox, outbox) = (Inbox::default(), Outbox::default());
        for id in 1..=3 {
            assert!(inbox.push(line(&request(id))));
        }
        let long = Incoming::Parsed(Box::new(message(request("long"))), 1_000);
        assert!(inbox.push(long));
        assert!(inbox.push_cancellation(cancellation(2)) && inbox.push_cancellation(cancellation("long")));
        assert!(inbox.push_cancellation(cancellation("unknown")));
        let ids: Vec<_> = std::iter::from_fn(|| begin(&inbox, &outbox)).collect();
        let none = RequestId::String("none".into()); // it may be in a batch
        assert_eq!(ids, [RequestId::Number(1), RequestId::Number(3), none]);
        inbox.sent(&answer(1));
        inbox.sent(&answer(3));
        assert_eq!(inbox.state().bytes, 0);
    }

    #[test]
    fn with_so_much_in_it_nothing_more_is_read() {
        let (inbox, outbox) = (Arc::new(Inbox::default()), Outbox::default());
        let long = || Incoming::Line(vec![b' '; MAX_BYTES - 100]);
        assert!(inbox.push(long()));
        let reader = Arc::clone(&inbox);
        let reading = thread::spawn(move || reader.push(long()) && reader.push(long()));
        thread::sleep(Duration::from_millis(20));
        assert!(next(&inbox, &outbox).is_ready());
        thread::sleep(Duration::from_millis(20));
        assert!(inbox.state().bytes <= MAX_BYTES && !reading.is_finished());
        inbox.close();
        assert!(!reading.join().expect("no panic"), "nobody wants it");
    }

    #[test]
    fn it_ends_when_all_is_answered() {
        let (inbox, outbox) = (Inbox::default(), Outbox::default());
        assert!(inbox.push(line(&request(1))));
        inbox.end();
        assert!(!inbox.is_answered());
        assert_eq!(begin(&inbox, &outbox), Some(RequestId::Number(1)));
        assert!(next(&inbox, &outbox).is_pending(), "its answer is to come");
        inbox.sent(&answer(1));
        assert!(inbox.is_answered());
        assert!(matches!(next(&inbox, &outbox), Poll::Ready(None)));
    }
}
