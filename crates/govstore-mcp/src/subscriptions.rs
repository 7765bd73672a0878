//! Subscriptions: a client is told when what a resource says has changed, whichever process changed it.
//!
//! While there are subscriptions, a thread asks the database four times a second whether anybody has written to it, which
//! costs some microseconds; and at once, when a database on a server tells of an event. If so it reads the resources that are
//! subscribed to, and announces those that read otherwise than before. Without subscriptions there is no thread. It is none
//! of the threads that calls run on, since those may all wait for a lock.
//!
//! An announcement waits in its [`Listener`] until the client takes it. A resource that changes again meanwhile is not
//! announced twice: a client that doesn't read costs no memory.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use govstore::{ChangeWatch, Error};
use tokio::sync::Notify;

use super::refusal::Refusal;
use super::resource::{self, Address};
use super::session::Session;

/// How many subscriptions one client may have. Each costs a read whenever the database has changed.
const MAX: usize = 128;

/// How many listeners one client may have: each is a request that is under way for as long as it listens.
const MAX_LISTENERS: usize = 32;

/// How often the database is asked.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looking takes no more than one part in this many of the time.
const REST_FACTOR: u32 = 4;

/// How long a look waits for the database. It is tried again, and the end of the server waits for it.
const PATIENCE: Duration = Duration::from_millis(200);

/// Why there is no subscription.
#[derive(Debug, thiserror::Error)]
pub enum NotSubscribed {
    #[error("{MAX} resources are subscribed to, which is as many as may be; unsubscribe from one first")]
    TooMany,
    #[error("{MAX_LISTENERS} requests are listening, which is as many as may be; cancel one first")]
    TooManyListeners,
    #[error("this server is ending")]
    Ending,
    #[error("the system refuses a thread: {0}")]
    NoThread(#[from] io::Error),
}

/// What a client has subscribed to.
#[derive(Default)]
pub struct Subscriptions {
    shared: Arc<Shared>,
    /// The thread that looks, if there ever was one.
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// The database has told of an event. It is set with the state in hand, so that nobody who waits misses it.
    was_told: AtomicBool,
    changed: Condvar,
    hasher: RandomState,
}

#[derive(Default)]
struct State {
    listeners: Vec<Arc<Listener>>,
    subscriptions: Vec<Subscription>,
    /// There is something to look at, whether the database has changed or not.
    must_look: bool,
    is_watched: bool,
    has_ended: bool,
}

struct Subscription {
    /// As the client wrote it.
    uri: String,
    address: Address,
    /// What the resource said when it was last looked at.
    seen: Digest,
    listener: Arc<Listener>,
}

/// What stands for the text of a resource; `None` while there is none.
pub type Digest = Option<u64>;

impl Subscriptions {
    /// A listener without subscriptions, until they are removed. It hears of the end of the server in any case.
    pub fn listen(&self) -> Result<Arc<Listener>, NotSubscribed> {
        let mut state = self.shared.state();
        if state.has_ended {
            return Err(NotSubscribed::Ending);
        }
        if state.listeners.len() >= MAX_LISTENERS {
            return Err(NotSubscribed::TooManyListeners);
        }
        let listener = Arc::<Listener>::default();
        state.listeners.push(Arc::clone(&listener));
        Ok(listener)
    }

    /// What the resource says now. It may block.
    pub fn digest(&self, session: &Session, address: &Address) -> Result<Digest, Refusal> {
        self.shared.digest(session, address)
    }

    /// Announces to `listener` when the resource no longer says what it said at `seen`.
    pub fn add(
        &self,
        session: &Session,
        uri: String,
        address: Address,
        seen: Digest,
        listener: &Arc<Listener>,
    ) -> Result<(), NotSubscribed> {
        let mut state = self.shared.state();
        if state.has_ended {
            return Err(NotSubscribed::Ending);
        }
        if state.subscriptions.iter().any(|known| known.is(&uri, listener)) {
            return Ok(());
        }
        if state.subscriptions.len() >= MAX {
            return Err(NotSubscribed::TooMany);
        }
        if !state.is_watched {
            let shared = Arc::clone(&self.shared);
            let session = Session::new(&session.store().with_lock_timeout(PATIENCE), session.offer.clone());
            let watch = move || shared.watch(&session);
            let thread = thread::Builder::new().name("subscriptions".to_owned()).spawn(watch)?;
            // One that was there before has ended, or is about to.
            *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
            state.is_watched = true;
        }
        state.subscriptions.push(Subscription { uri, address, seen, listener: Arc::clone(listener) });
        state.must_look = true; // it may have changed since `seen`
        Ok(())
    }

    /// Ends one subscription. What was not announced yet never is.
    pub fn remove(&self, uri: &str, listener: &Arc<Listener>) {
        self.retain(|subscription| !subscription.is(uri, listener));
        listener.forget(uri);
    }

    /// Ends a listener, with all its subscriptions.
    pub fn remove_all(&self, listener: &Arc<Listener>) {
        self.shared.state().listeners.retain(|known| !Arc::ptr_eq(known, listener));
        self.retain(|subscription| !Arc::ptr_eq(&subscription.listener, listener));
    }

    fn retain(&self, keep: impl FnMut(&Subscription) -> bool) {
        self.shared.state().subscriptions.retain(keep);
        self.shared.changed.notify_one();
    }

    /// Ends all subscriptions: the server ends.
    pub fn end(&self) {
        let mut state = self.shared.state();
        state.has_ended = true;
        state.subscriptions.clear();
        for listener in state.listeners.drain(..) {
            listener.end();
        }
        drop(state);
        self.shared.changed.notify_one();
    }
}

impl Drop for Subscriptions {
    /// Waits for the thread, which has the database open.
    fn drop(&mut self) {
        self.end();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the subscriptions has panicked");
        }
    }
}

impl Subscription {
    fn is(&self, uri: &str, listener: &Arc<Listener>) -> bool {
        self.uri == uri && Arc::ptr_eq(&self.listener, listener)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn digest(&self, session: &Session, address: &Address) -> Result<Digest, Refusal> {
        match resource::read(session, address) {
            Ok(text) => Ok(Some(self.hasher.hash_one(text))),
            Err(Refusal::Store(Error::AgentNotFound { .. })) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Looks again and again for as long as there are subscriptions.
    fn watch(self: &Arc<Self>, session: &Session) {
        let mut changes = None;
        let mut has_failed = false;
        loop {
            let began = Instant::now();
            let looked = self.look(session, &mut changes);
            if let Err(refusal) = &looked
                && !has_failed
            {
                tracing::warn!(%refusal, "cannot look for changes of resources; trying again");
            }
            has_failed = looked.is_err();
            let rest = began.elapsed() * REST_FACTOR;
            let is_wanted = |state: &mut State| !state.has_ended && !state.subscriptions.is_empty();
            let waited = self.changed.wait_timeout_while(self.state(), rest, is_wanted);
            let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let is_idle = |state: &mut State| is_wanted(state) && !self.was_told.load(Ordering::Relaxed);
            let waited = self.changed.wait_timeout_while(state, LOOK_EVERY.saturating_sub(rest), is_idle);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            self.was_told.store(false, Ordering::Relaxed);
            if !is_wanted(&mut state) {
                state.is_watched = false;
                return;
            }
        }
    }

    /// Watches the database, which may tell of events by itself.
    fn begin(self: &Arc<Self>, session: &Session) -> govstore::Result<ChangeWatch> {
        let mut watch = session.store().watch_changes()?;
        let shared = Arc::downgrade(self);
        watch.call_on_event(move || {
            if let Some(shared) = shared.upgrade() {
                let _state = shared.state();
                shared.was_told.store(true, Ordering::Relaxed);
                shared.changed.notify_one();
            }
        })?;
        Ok(watch)
    }

    /// Announces what has changed since the last look.
    fn look(self: &Arc<Self>, session: &Session, changes: &mut Option<ChangeWatch>) -> Result<(), Refusal> {
        let has_changed = match changes {
            Some(changes) => changes.has_changed(),
            None => self.begin(session).map(|watch| {
                *changes = Some(watch);
                true
            }),
        };
        let addresses = {
            let mut state = self.state();
            state.must_look |= has_changed.as_ref().is_ok_and(|has_changed| *has_changed);
            if !std::mem::take(&mut state.must_look) {
                return has_changed.map(drop).map_err(Refusal::from);
            }
            let addresses = state.subscriptions.iter().map(|subscription| subscription.address.clone());
            addresses.collect::<HashSet<_>>()
        };
        let mut now: HashMap<Address, Digest> = HashMap::new();
        let mut failure = has_changed.err().map(Refusal::from);
        for address in addresses {
            match self.digest(session, &address) {
                Ok(digest) => drop(now.insert(address, digest)),
                Err(refusal) => failure = Some(refusal),
            }
        }
        let mut state = self.state();
        state.must_look |= failure.is_some();
        for subscription in &mut state.subscriptions {
            if let Some(digest) = now.get(&subscription.address)
                && *digest != subscription.seen
            {
                subscription.seen = *digest;
                subscription.listener.announce(&subscription.uri);
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// What is to be announced to a client, each resource once.
#[derive(Default)]
pub struct Listener {
    due: Mutex<Due>,
    is_due: Notify,
}

#[derive(Default)]
struct Due {
    uris: VecDeque<String>,
    has_ended: bool,
}

impl Listener {
    /// The next resource that has changed, once there is one; `None` when the server ends. For one caller at a time.
    pub async fn next(&self) -> Option<String> {
        loop {
            {
                let mut due = self.due();
                if due.has_ended {
                    return None;
                }
                if let Some(uri) = due.uris.pop_front() {
                    return Some(uri);
                }
            }
            self.is_due.notified().await;
        }
    }

    fn announce(&self, uri: &str) {
        let mut due = self.due();
        if !due.uris.iter().any(|known| known == uri) {
            due.uris.push_back(uri.to_owned());
        }
        drop(due);
        self.is_due.notify_one();
    }

    fn forget(&self, uri: &str) {
        self.due().uris.retain(|known| known != uri);
    }

    fn end(&self) {
        self.due().has_ended = true;
        self.is_due.notify_one();
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use govstore::{Store, Update};
    use tempfile::TempDir;

    use super::*;
    use crate::Offer;

    type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

    /// A client with subscriptions, and the database that others write to.
    struct Subscribed {
        subscriptions: Subscriptions,
        listener: Arc<Listener>,
        session: Session,
        others: Store,
        _folder: TempDir,
    }

    impl Subscribed {
        fn to(uris: &[&str]) -> TestResult<Self> {
            let folder = tempfile::tempdir()?;
            let others = Store::open(folder.path().join("governance.db"))?;
            let session = Session::new(&Store::open(others.path())?, Offer::default());
            let subscriptions = Subscriptions::default();
            let new =
                Self { listener: subscriptions.listen()?, subscriptions, session, others, _folder: folder };
            uris.iter().try_for_each(|uri| new.subscribe(uri))?;
            Ok(new)
        }

        fn subscribe(&self, uri: &str) -> TestResult {
            let address = Address::parse(uri).ok_or("no such resource")?;
            let seen = self.subscriptions.digest(&self.session, &address)?;
            Ok(self.subscriptions.add(&self.session, uri.to_owned(), address, seen, &self.listener)?)
        }

        fn update(&self, agent_id: &str) -> TestResult {
            self.others.process_update(agent_id, &Update::new())?;
            Ok(())
        }

        /// What the client is told next, within a second.
        fn told(&self) -> Option<String> {
            let deadline = Instant::now() + Duration::from_secs(1);
            loop {
                let polled = pin!(self.listener.next()).poll(&mut Context::from_waker(Waker::noop()));
                match polled {
                    Poll::Ready(told) => return told,
                    Poll::Pending if Instant::now() > deadline => return None,
                    Poll::Pending => thread::sleep(Duration::from_millis(5)),
                }
            }
        }

        fn is_watched(&self) -> bool {
            self.subscriptions.shared.state().is_watched
        }
    }

    #[test]
    fn what_others_change_is_announced_within_a_second_and_nothing_else() -> TestResult {
        let client = Subscribed::to(&["govstore://agents/a", "govstore://fleet"])?;
        client.update("b")?; // the first agent of the fleet
        assert_eq!(client.told().as_deref(), Some("govstore://fleet"));
        client.update("a")?; // it appears
        assert_eq!(client.told().as_deref(), Some("govstore://agents/a"));
        assert_eq!(client.told().as_deref(), Some("govstore://fleet"));
        client.update("b")?;
        assert_eq!(client.told(), None, "nobody has asked for b, and the fleet counts as before");
        client.others.pause("a", Some("lunch"))?;
        assert_eq!(client.told().as_deref(), Some("govstore://agents/a"));
        assert_eq!(client.told().as_deref(), Some("govstore://fleet"));
        Ok(())
    }

    #[test]
    fn a_client_that_does_not_read_has_each_resource_waiting_once() -> TestResult {
        let client = Subscribed::to(&["govstore://agents/a", "govstore://agents/b"])?;
        for _ in 0..3 {
            client.update("a")?;
            client.update("b")?;
            thread::sleep(2 * LOOK_EVERY);
        }
        assert_eq!(client.listener.due().uris.len(), 2);
        assert!(client.told().is_some() && client.told().is_some());
        assert_eq!(client.told(), None);
        Ok(())
    }

    #[test]
    fn nobody_looks_once_the_last_one_has_unsubscribed_and_again_for_the_next_one() -> TestResult {
        let client = Subscribed::to(&[])?;
        assert!(!client.is_watched());
        client.subscribe("govstore://agents/a")?;
        client.subscribe("govstore://agents/a")?; // as well as once
        assert!(client.is_watched());
        client.subscriptions.remove("govstore://agents/a", &client.listener);
        let deadline = Instant::now() + Duration::from_secs(10);
        while client.is_watched() {
            assert!(Instant::now() < deadline, "the thread goes on");
            thread::sleep(Duration::from_millis(5));
        }
        client.update("a")?;
        client.subscribe("govstore://agents/a")?;
        assert_eq!(client.told(), None, "that was before");
        client.update("a")?;
        assert_eq!(client.told().as_deref(), Some("govstore://agents/a"));
        Ok(())
    }

    #[test]
    fn there_is_an_end_to_listeners() -> TestResult {
        let client = Subscribed::to(&[])?;
        for _ in 1..MAX_LISTENERS {
            client.subscriptions.listen()?;
        }
        let refused = client.subscriptions.listen().err().ok_or("one too many")?;
        assert!(refused.to_string().contains("cancel one first"), "{refused}");
        client.subscriptions.remove_all(&client.listener);
        client.subscriptions.listen()?;
        Ok(())
    }

    #[test]
    fn there_is_an_end_to_subscriptions() -> TestResult {
        let client = Subscribed::to(&[])?;
        for n in 0..MAX {
            client.subscribe(&format!("govstore://agents/{n}"))?;
        }
        let refused = client.subscribe("govstore://agents/one-more").expect_err("one too many");
        assert!(refused.to_string().contains("unsubscribe"), "{refused}");
        client.subscriptions.end();
        assert_eq!(client.told(), None);
        let refused = client.subscribe("govstore://agents/0").expect_err("it has ended");
        assert_eq!(refused.to_string(), "this server is ending");
        Ok(())
    }
}
