//! The requests that are under way, so that there are never too many of them.
//!
//! A request that is being answered takes some ten times the memory of its line. A client that sends ten
//! thousand at once has a few hundred of them under way, and the rest waits as lines. They do wait in memory
//! and not in the pipe: a client that writes everything before it reads anything would wait for us for ever.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, JsonRpcMessage, RequestId, ServerJsonRpcMessage,
};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Enough to keep every thread busy, and for a `ping` not to wait behind calls that do.
const MAX: usize = 256;

/// How long one more request waits at most. Should an answer ever get lost, the server gets slow and not stuck.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct UnderWay {
    ids: Mutex<HashSet<RequestId>>,
    fewer: Notify,
}

impl UnderWay {
    /// Waits until there is room for one more.
    pub async fn room(&self) {
        while self.ids().len() >= MAX {
            if timeout(PATIENCE, self.fewer.notified()).await.is_err() {
                return;
            }
        }
    }

    /// Takes note of what the client sent.
    pub fn received(&self, message: &ClientJsonRpcMessage) {
        match message {
            JsonRpcMessage::Request(request) => {
                self.ids().insert(request.id.clone());
            }
            JsonRpcMessage::Notification(notification) => {
                // What is cancelled gets no answer.
                if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.ended(id);
                }
            }
            _ => {}
        }
    }

    /// Takes note of what the server sends.
    pub fn sent(&self, message: &ServerJsonRpcMessage) {
        match message {
            JsonRpcMessage::Response(response) => self.ended(&response.id),
            JsonRpcMessage::Error(error) => {
                if let Some(id) = &error.id {
                    self.ended(id);
                }
            }
            _ => {}
        }
    }

    fn ended(&self, id: &RequestId) {
        if self.ids().remove(id) {
            self.fewer.notify_one();
        }
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use rmcp::model::ErrorData;
    use serde_json::{Value, json};

    use super::*;

    fn received(under_way: &UnderWay, message: Value) {
        under_way.received(&serde_json::from_value(message).expect("a message"));
    }

    fn has_room(under_way: &UnderWay) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let _entered = runtime.enter();
        let poll = pin!(under_way.room()).poll(&mut Context::from_waker(Waker::noop()));
        poll == Poll::Ready(())
    }

    #[test]
    fn there_is_room_again_once_one_is_answered_or_cancelled() {
        let under_way = UnderWay::default();
        for id in 0..MAX {
            assert!(has_room(&under_way), "{id}");
            received(&under_way, json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }));
        }
        assert!(!has_room(&under_way));
        let refusal = ErrorData::invalid_request("no", None);
        under_way.sent(&ServerJsonRpcMessage::error(refusal, Some(RequestId::Number(7))));
        assert!(has_room(&under_way));
        received(&under_way, json!({ "jsonrpc": "2.0", "id": "one more", "method": "ping" }));
        assert!(!has_room(&under_way));
        let cancelled = json!({ "requestId": "one more" });
        let notification =
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled });
        received(&under_way, notification);
        assert!(has_room(&under_way));
    }
}
