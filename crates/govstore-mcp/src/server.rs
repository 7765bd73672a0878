//! Answers the client's requests: calls go to the blocking threads, everything else is answered at once.

use std::pin::pin;
use std::sync::Arc;

use govstore::{Cancellation, Error};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CustomRequest, CustomResult, ErrorCode, ErrorData,
    Implementation, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
    ResourceContents, ServerCapabilities, ServerConfig, Tool as Listing,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::outbox::Outbox;
use super::places::Places;
use super::refusal::Refusal;
use super::resource::{self, Address};
use super::session::Session;
use super::tool::{Effect, Entry, refuse};
use super::tools::TOOLS;
use super::turns::Turns;
use crate::CALLS_AT_ONCE;

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
}

impl Server {
    pub fn new(session: Arc<Session>, outbox: Arc<Outbox>) -> Self {
        Self { session, turns: Turns::default(), places: Places::new(CALLS_AT_ONCE as usize, outbox) }
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
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().build();
        let may_update = self.session.offer.has("process_agent_update");
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("govstore", env!("CARGO_PKG_VERSION")))
            .with_instructions(if may_update { INSTRUCTIONS } else { INSTRUCTIONS_TO_LOOK })
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
        let Some(tool) = TOOLS.iter().find(|tool| tool.name == request.name) else {
            return Err(ErrorData::invalid_params(format!("there is no tool {:?}", request.name), None));
        };
        if let Err(refusal) = self.session.offer.admits(tool) {
            return Ok(refuse(tool.name, &refusal).into());
        }
        if let Some(client) = context.peer.peer_info() {
            self.session.introduce(&client.client_info.name, &client.client_info.version);
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
        let called =
            self.off_thread(context.ct.cancelled(), move |session| (tool.run)(session, arguments)).await;
        let result = called.unwrap_or_else(|refusal| refuse(tool.name, &refusal));
        if !tool.records_activity || result.is_error == Some(true) {
            self.session.store().note_activity(); // recorded with the next beat: a read waits for no lock
        }
        if self.session.store().must_exit() {
            self.session.must_end.notify_one();
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
        let uri = request.uri;
        let missing = |reason: String| ErrorData::resource_not_found(reason, Some(json!({ "uri": &uri })));
        let address = Address::parse(&uri).ok_or_else(|| missing(format!("there is no resource {uri:?}")))?;
        let read = self.off_thread(context.ct.cancelled(), move |session| resource::read(session, &address));
        let read = read.await.flatten();
        self.session.store().note_activity();
        let text = read.map_err(|refusal| match refusal {
            Refusal::Store(Error::AgentNotFound { .. }) => missing(refusal.to_string()),
            other => ErrorData::internal_error(other.to_string(), None),
        })?;
        let contents = ResourceContents::text(text, &uri).with_mime_type("application/json");
        Ok(ReadResourceResult::new(vec![contents]).into())
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
            "resources/read" => ErrorData::invalid_params("resources/read takes a uri", None),
            _ => {
                let message = format!("there is no method {method:?}");
                ErrorData::new(ErrorCode::METHOD_NOT_FOUND, message, None)
            }
        })
    }
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
