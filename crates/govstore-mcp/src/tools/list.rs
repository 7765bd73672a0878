//! What agents there are, page by page.

use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::argument::{Count, unless_empty, words};
use crate::bounds::{LIST_BYTES, LISTED_AGENTS, fitting};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::shape::{Detail, NOTHING_IS_KNOWN, Snapshot, health_of, is_measured};
use crate::tool::{Effect, Field, Tool};
use govstore::{Agent, AgentFilter, AgentOrder, FleetHealth, Health, HealthStatus, Lifecycle, Timestamp};

/// The most agents that a page has, if the caller wants many.
const PAGE_MAX: u32 = 1_000;

pub struct ListAgents;

#[derive(Default, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct ListArguments {
    /// At most this many; left out, up to 50 and no more than fit.
    #[serde(default)]
    #[schemars(with = "Count<PAGE_MAX>")]
    limit: Option<Count<PAGE_MAX>>,
    /// Only agents after this id, as `next_page` has it.
    #[serde(default, deserialize_with = "unless_empty")]
    #[schemars(with = "String")]
    after: Option<String>,
    /// Only agents with this status.
    #[serde(default)]
    #[schemars(with = "String", extend("enum" = words::<Lifecycle>()))]
    lifecycle_status: Option<Lifecycle>,
    /// Only agents with this health.
    #[serde(default)]
    #[schemars(with = "String", extend("enum" = words::<HealthStatus>()))]
    health_status: Option<HealthStatus>,
    /// Only agents whose id has this text in it.
    #[serde(default, deserialize_with = "unless_empty")]
    #[schemars(with = "String")]
    query: Option<String>,
    /// full adds tags, notes and all figures.
    #[serde(default)]
    #[schemars(with = "Detail")]
    detail: Option<Detail>,
}

#[derive(Serialize)]
pub struct AgentList {
    /// In the order of their ids.
    agents: Vec<Row>,
    /// All agents, whatever was asked for.
    summary: FleetHealth,
    /// The agents that were asked for, on all pages.
    matching: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page: Option<NextPage>,
}

/// What to call again with for the agents that come after.
#[derive(Serialize)]
struct NextPage {
    after: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Row {
    Summary(AgentSummary),
    Full(Box<AgentRow>),
}

/// An agent in brief, by the names of v1.0.3.
#[derive(Serialize)]
struct AgentSummary {
    agent_id: String,
    lifecycle_status: Lifecycle,
    health_status: HealthStatus,
    last_update: Option<Timestamp>,
    total_updates: i64,
    metrics: SummaryMetrics,
}

#[derive(Serialize)]
struct SummaryMetrics {
    risk_score: Option<f64>,
    coherence: Option<f64>,
}

/// An agent as v1.0.3 lists it.
#[derive(Serialize)]
struct AgentRow {
    agent_id: String,
    lifecycle_status: Lifecycle,
    health_status: HealthStatus,
    health_message: String,
    created: Timestamp,
    last_update: Option<Timestamp>,
    update_count: i64,
    total_updates: i64,
    version: String,
    tags: Vec<String>,
    notes: String,
    metrics: Snapshot,
    /// v1.0.3's word for: this server has its figures. Here every server has those of every agent that was measured.
    loaded_in_process: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

impl Tool for ListAgents {
    const NAME: &'static str = "list_agents";
    const TITLE: &'static str = "List agents";
    const DESCRIPTION: &'static str = "List agents by id, whichever client updates them. Call it to find an \
        agent_id, or the agents that need a look (health_status critical). summary counts all agents, \
        matching those asked for; while there is a next_page, call again with what it has.";
    const EFFECT: Effect = Effect::Reads;
    const RESULT: &'static [Field] = &[("agents", "array"), ("summary", "object")];
    type Arguments = ListArguments;
    type Outcome = AgentList;

    fn call(session: &Session, arguments: ListArguments) -> Result<AgentList, Refusal> {
        list(session, arguments)
    }
}

/// One page of agents.
pub fn list(session: &Session, wanted: ListArguments) -> Result<AgentList, Refusal> {
    let is_bounded = wanted.limit.is_none() && !session.offer.as_v1_0_3;
    let by_default = if session.offer.as_v1_0_3 { Detail::Full } else { Detail::Summary };
    let detail = wanted.detail.unwrap_or(by_default);
    let limit = if is_bounded { Some(LISTED_AGENTS) } else { wanted.limit.map(|limit| limit.0) };
    let matching = AgentFilter::new()
        .lifecycle_status(wanted.lifecycle_status)
        .health_status(wanted.health_status)
        .id_contains(wanted.query);
    let from_here = matching.clone().after(wanted.after.clone()).limit(limit);

    let thresholds = session.store().settings()?.health_thresholds();
    let page = session.store().first_agents(AgentOrder::Id, &from_here)?;
    let all = match wanted.after {
        Some(_) => session.store().first_agents(AgentOrder::Id, &matching.limit(1))?.matching,
        None => page.matching,
    };
    let mut agents: Vec<Row> = page
        .agents
        .into_iter()
        .map(|agent| match detail {
            Detail::Summary => Row::Summary(AgentSummary::of(agent)),
            Detail::Full => {
                let health = health_of(&agent, &thresholds);
                Row::Full(Box::new(AgentRow::of(agent, health)))
            }
        })
        .collect();
    if is_bounded {
        let told = fitting(&agents, agents.len(), LIST_BYTES);
        agents.truncate(told.max(1)); // else a long one would be the end of all pages
    }
    let is_last = agents.len() as u64 == page.matching;
    let next_page =
        agents.last().filter(|_| !is_last).map(|last| NextPage { after: last.agent_id().to_owned() });
    Ok(AgentList { agents, summary: session.store().health()?, matching: all, next_page })
}

impl Row {
    fn agent_id(&self) -> &str {
        match self {
            Self::Summary(row) => &row.agent_id,
            Self::Full(row) => &row.agent_id,
        }
    }
}

impl AgentSummary {
    fn of(agent: Agent) -> Self {
        Self {
            agent_id: agent.agent_id,
            lifecycle_status: agent.lifecycle_status,
            health_status: agent.health_status,
            last_update: agent.last_update_at,
            total_updates: agent.total_updates,
            metrics: SummaryMetrics { risk_score: agent.risk_score, coherence: agent.coherence },
        }
    }
}

impl AgentRow {
    fn of(agent: Agent, health: Health) -> Self {
        let loaded_in_process = is_measured(&agent);
        Self {
            metrics: Snapshot::of(&agent),
            agent_id: agent.agent_id,
            lifecycle_status: agent.lifecycle_status,
            health_status: health.status,
            health_message: health.message,
            created: agent.created_at,
            last_update: agent.last_update_at,
            update_count: agent.update_count,
            total_updates: agent.total_updates,
            version: agent.version,
            tags: agent.tags,
            notes: agent.notes,
            loaded_in_process,
            note: (!loaded_in_process).then_some(NOTHING_IS_KNOWN),
        }
    }
}
