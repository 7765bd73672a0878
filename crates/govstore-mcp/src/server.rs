//! Answers the client's requests: calls go to the blocking threads, everything else is answered at once.

use std::pin::pin;
use std::sync::{Arc, OnceLock};

use govstore::{Cancellation, Error};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult, CustomRequest,
    CustomResult, DiscoverResult, ErrorCode, ErrorData, GetPromptRequestParams, GetPromptResponse,
    GetPromptResult, Implementation, InitializeRequestParams, InitializeResult, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams, PromptMessage,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, ResourceContents,
    ResourceUpdatedNotificationParam, Role, ServerCapabilities, ServerConfig, SubscribeRequestParams,
    SubscriptionFilter, Tool as Listing, UnsubscribeRequestParams,
};
use rmcp::service::{Peer, RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::completion;
use super::explained::explained;
use super::outbox::Outbox;
use super::places::Places;
use super::prompts::{self, Review};
use super::refusal::Refusal;
use super::resource::{self, Address};
use super::session::Session;
use super::subscriptions::{Listener, NotSubscribed, Subscriptions};
use super::tool::{Effect, Entry, refuse};
use super::tools::TOOLS;
use super::turns::Turns;

const INSTRUCTIONS: &str = "govstore governs agents: it judges their responses and keeps their state in one \
    database that all clients share. Before each response, call process_agent_update with your own agent_id \
    (the same name every time), the response_text and its complexity, then follow the decision: approve, \
    go on; revise, improve the response first; reject, stop and ask a person. get_governance_metrics tells \
    how an agent is doing, list_agents shows all of them. A result with success false says in `error` what to do.";

/// For a client that may not make updates.
const INSTRUCTIONS_TO_LOOK: &str = "govstore governs agents: it keeps their state in one database that all clients \
    share. This server lets you look: list_agents shows all agents, get_governance_metrics how one is doing.";

/// The server as the protocol sees it.
pub struct Server {
    session: Arc<Session>,
    turns: Turns,
    places: Places,
    outbox: Arc<Outbox>,
    subscriptions: Arc<Subscriptions>,
    /// For `resources/subscribe`, once a client has called it; each `subscriptions/listen` has a listener of its own.
    listener: OnceLock<Arc<Listener>>,
}

impl Server {
    pub fn new(session: Arc<Session>, outbox: Arc<Outbox>) -> Self {
        Self {
            session,
            turns: Turns::default(),
            places: Places::new(Arc::clone(&outbox)),
            outbox,
            subscriptions: Arc::default(),
            listener: OnceLock::new(),
        }
    }

    /// What the client has subscribed to, for whoever ends the conversation.
    pub fn subscriptions(&self) -> Arc<Subscriptions> {
        Arc::clone(&self.subscriptions)
    }

    /// Takes note of who the client is, unless that is known. A client of today says so with each request.
    fn meet(&self, context: &RequestContext<RoleServer>) {
        if !self.session.is_introduced()
            && let Some(client) = context.client_info()
        {
            self.session.introduce(&client, context.protocol_version().as_ref());
        }
    }

    /// Announces changes of these resources to a listener from now on.
    async fn subscribe_to(
        &self,
        uris: Vec<String>,
        listener: &Arc<Listener>,
        cancelled: impl Future<Output = ()>,
    ) -> Result<(), ErrorData> {
        let (subscriptions, listener) = (self.subscriptions(), Arc::clone(listener));
        let own = Arc::clone(&self.session); // and not the call's, since it goes on to be used
        let subscribe = move |session: &Session| {
            uris.into_iter().try_for_each(|uri| {
                let address = address(&uri)?;
                let seen =
                    subscriptions.digest(session, &address).map_err(|refusal| unread(&uri, &refusal))?;
                subscriptions
                    .add(&own, uri, address, seen, &listener)
                    .map_err(|refusal| not_subscribed(&refusal))
            })
        };
        self.session.store().note_activity();
        let failed = |refusal: Refusal| ErrorData::internal_error(refusal.to_string(), None);
        self.off_thread(cancelled, subscribe).await.map_err(failed).flatten()
    }

    /// The listener of `resources/subscribe`, with a task that passes on what it hears: one announcement after the other,
    /// each once the transport has taken the one before.
    fn listener(&self, peer: &Peer<RoleServer>) -> Result<&Arc<Listener>, ErrorData> {
        if let Some(listener) = self.listener.get() {
            return Ok(listener);
        }
        let listener = self.subscriptions.listen().map_err(|refusal| not_subscribed(&refusal))?;
        let (heard, outbox, peer) = (Arc::clone(&listener), Arc::clone(&self.outbox), peer.clone());
        tokio::spawn(async move {
            loop {
                outbox.room().await;
                let Some(uri) = heard.next().await else { return };
                let announced = peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri));
                if announced.await.is_err() {
                    return; // the client is gone
                }
            }
        });
        Ok(self.listener.get_or_init(|| listener))
    }

    /// Does `work` where blocking is allowed, once there is a place for it. What still waits when the client cancels it,
    /// or when the server ends, is not made. A panic in it is a refusal like any other, and is logged.
    async fn off_thread<T: Send + 'static>(
        &self,
        cancelled: impl Future<Output = ()>,
        work: impl FnOnce(&Session) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let mut cancelled = pin!(cancelled);
        let _place = tokio::select! {
            biased;
            () = &mut cancelled => return Err(Refusal::NotMade),
            place = self.places.wait() => place,
        };
        let cancellation = Cancellation::new();
        let session = self.session.cancelled_by(&cancellation);
        let mut work = spawn_blocking(move || work(&session));
        let worked = tokio::select! {
            worked = &mut work => worked,
            () = cancelled => {
                cancellation.cancel();
                work.await // which waits for no lock any more
            }
        };
        worked.map_err(|error| if error.is_panic() { Refusal::Panicked } else { Refusal::NotMade })
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let may_update = self.session.offer.has("process_agent_update");
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_prompts()
            .enable_completions()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("govstore", env!("CARGO_PKG_VERSION")))
            .with_instructions(if may_update { INSTRUCTIONS } else { INSTRUCTIONS_TO_LOOK })
    }

    /// The handshake of older clients.
    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let answer = self.negotiate_initialize(&request)?;
        self.session.introduce(&request.client_info, Some(&answer.protocol_version));
        context.peer.set_peer_info(request);
        Ok(answer)
    }

    /// What clients of today may begin with.
    async fn discover(&self, context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        self.meet(&context);
        let versions = self.supported_protocol_versions().into_owned();
        Ok(DiscoverResult::from_server_info(versions, self.get_info()))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.session.offer.tools().map(Entry::listing).collect()))
    }

    fn get_tool(&self, name: &str) -> Option<Listing> {
        self.session.offer.tools().find(|tool| tool.name == name).map(Entry::listing)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.meet(&context);
        let Some(tool) = TOOLS.iter().find(|tool| tool.name == request.name) else {
            return Err(ErrorData::invalid_params(format!("there is no tool {:?}", request.name), None));
        };
        if let Err(refusal) = self.session.offer.admits(tool) {
            return Ok(refuse(tool.name, &refusal).into());
        }
        let arguments = request.arguments.unwrap_or_default();
        let agent = arguments.get("agent_id").and_then(|id| id.as_str());
        let _turn = match agent {
            Some(agent_id) if tool.effect != Effect::Reads => {
                tokio::select! {
                    turn = self.turns.wait(agent_id) => Some(turn),
                    // By the client, which then sees no answer, or because the server ends.
                    () = context.ct.cancelled() => return Ok(refuse(tool.name, &Refusal::NotMade).into()),
                }
            }
            _ => None,
        };
        let call = move |session: &Session| {
            (tool.run)(session, arguments).map_err(|refusal| explained(refusal, session))
        };
        let called = self.off_thread(context.ct.cancelled(), call).await.flatten();
        let result = called.unwrap_or_else(|refusal| refuse(tool.name, &refusal));
        if !tool.records_activity || result.is_error == Some(true) {
            self.session.store().note_activity(); // recorded with the next beat: a read waits for no lock
        }
        if self.session.store().must_exit() {
            self.session.beat_now.notify_one();
        }
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resource::resources()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resource::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        self.meet(&context);
        let uri = request.uri;
        let address = address(&uri)?;
        let read = self.off_thread(context.ct.cancelled(), move |session| resource::read(session, &address));
        let read = read.await.flatten();
        self.session.store().note_activity();
        let text = read.map_err(|refusal| unread(&uri, &refusal))?;
        let contents = ResourceContents::text(text, &uri).with_mime_type("application/json");
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.meet(&context);
        self.subscribe_to(vec![request.uri], self.listener(&context.peer)?, context.ct.cancelled()).await
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        address(&request.uri)?;
        if let Some(listener) = self.listener.get() {
            self.subscriptions.remove(&request.uri, listener);
        }
        Ok(())
    }

    /// The resources among what a client of today wants to hear of. Nothing else that it may ask for ever changes.
    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let uris =
            requested.resource_subscriptions.iter().flatten().filter(|uri| Address::parse(uri).is_some());
        Some(SubscriptionFilter::builder().resource_subscriptions(uris.cloned()).build())
    }

    /// Announces changes until the client cancels this request. It has been told which resources are accepted; if others
    /// are among those that it asked for, this is an error that names one.
    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.meet(context.request_context());
        let listener = self.subscriptions.listen().map_err(|refusal| not_subscribed(&refusal))?;
        let listening = Listening { subscriptions: &self.subscriptions, listener };
        let uris = context.requested().resource_subscriptions.clone().unwrap_or_default();
        self.subscribe_to(uris, &listening.listener, context.cancelled()).await?;
        loop {
            let heard = tokio::select! {
                () = context.cancelled() => None,
                heard = async {
                    self.outbox.room().await;
                    listening.listener.next().await
                } => heard,
            };
            let Some(uri) = heard else { return Ok(()) }; // it is cancelled, or the server ends
            if context.sink().notify_resource_updated(uri).await.is_err() {
                return Ok(()); // the client is gone
            }
        }
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        self.meet(&context);
        let prefix = completion::prefix(request).map_err(|reason| ErrorData::invalid_params(reason, None))?;
        let found = self.off_thread(context.ct.cancelled(), move |session| completion::ids(session, prefix));
        let found = found.await.flatten();
        self.session.store().note_activity();
        Ok(CompleteResult::new(
            found.map_err(|refusal| ErrorData::internal_error(refusal.to_string(), None))?,
        ))
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(prompts::prompts()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        self.meet(&context);
        let review = Review::parse(&request.name, &request.arguments.unwrap_or_default())
            .map_err(|reason| ErrorData::invalid_params(reason, None))?;
        let text = self.off_thread(context.ct.cancelled(), move |session| review.text(session));
        let text = text.await.flatten();
        self.session.store().note_activity();
        let text = text.map_err(|refusal| match refusal {
            Refusal::Store(Error::AgentNotFound { .. } | Error::InvalidAgentId { .. }) => {
                ErrorData::invalid_params(refusal.to_string(), None)
            }
            other => ErrorData::internal_error(other.to_string(), None),
        })?;
        Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]).into())
    }

    /// Requests of an unknown method come here, and so do known ones whose parameters don't fit.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let method = request.method;
        Err(match method.as_str() {
            "tools/call" => ErrorData::invalid_params(
                "tools/call takes the name of a tool and an object of arguments",
                None,
            ),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                ErrorData::invalid_params(format!("{method} takes a uri"), None)
            }
            "subscriptions/listen" => {
                ErrorData::invalid_params("subscriptions/listen takes notifications to listen for", None)
            }
            "prompts/get" => ErrorData::invalid_params(
                "prompts/get takes the name of a prompt and an object of arguments",
                None,
            ),
            "completion/complete" => ErrorData::invalid_params(
                "completion/complete takes a ref and an argument with a name and a value",
                None,
            ),
            _ => {
                let message = format!("there is no method {method:?}");
                ErrorData::new(ErrorCode::METHOD_NOT_FOUND, message, None)
            }
        })
    }
}

/// Subscriptions of one `subscriptions/listen`, until it ends by whatever way.
struct Listening<'s> {
    subscriptions: &'s Subscriptions,
    listener: Arc<Listener>,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.subscriptions.remove_all(&self.listener);
    }
}

/// The resource that a URI names.
fn address(uri: &str) -> Result<Address, ErrorData> {
    Address::parse(uri).ok_or_else(|| missing(uri, format!("there is no resource {uri:?}")))
}

/// Why a resource could not be read.
fn unread(uri: &str, refusal: &Refusal) -> ErrorData {
    match refusal {
        Refusal::Store(Error::AgentNotFound { .. } | Error::InvalidAgentId { .. }) => {
            missing(uri, refusal.to_string())
        }
        other => ErrorData::internal_error(other.to_string(), None),
    }
}

fn not_subscribed(refusal: &NotSubscribed) -> ErrorData {
    ErrorData::invalid_request(refusal.to_string(), None)
}

fn missing(uri: &str, reason: String) -> ErrorData {
    ErrorData::resource_not_found(reason, Some(json!({ "uri": uri })))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::Offer;
    use govstore::Store;

    #[test]
    fn a_tool_that_panics_is_refused_and_the_next_one_works() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path().join("governance.db"))?;
        let server = Server::new(Arc::new(Session::new(&store, Offer::default())), Arc::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let panicked = server.off_thread(pending(), |_| -> () { panic!("as a tool never should") }).await;
            assert!(matches!(panicked, Err(Refusal::Panicked)), "{panicked:?}");
            let version = server.off_thread(pending(), |session| session.store().schema_version()).await?;
            assert!(version > 0);
            Ok(())
        })
    }
}
