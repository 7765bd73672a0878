//! The main job.

use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::argument::{
    AgentId, ETHICAL_DRIFT_MAX, Numbers, PARAMETERS_MAX, RESPONSE_TEXT_MAX_CHARS, Text, or_default,
    unless_empty,
};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::tool::{Effect, Field, Tool};
use crate::wire;
use govstore::Update;

pub struct ProcessAgentUpdate;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct Arguments {
    /// The agent's own name, the same in every call; a new name makes a new agent.
    #[schemars(length(min = 1, max = 128))]
    agent_id: AgentId,
    /// 128 numbers; coherence falls with how far they moved since the call before, and left out they have not.
    #[serde(default)]
    #[schemars(with = "Numbers<PARAMETERS_MAX>")]
    parameters: Option<Numbers<PARAMETERS_MAX>>,
    /// Accepted and without effect.
    #[serde(default, deserialize_with = "or_default")]
    ethical_drift: Numbers<ETHICAL_DRIFT_MAX>,
    /// The whole response; its length and risky phrases count, and it is not stored.
    #[serde(default, deserialize_with = "or_default")]
    response_text: Text<RESPONSE_TEXT_MAX_CHARS>,
    /// How complex the task is, from 0 to 1.
    #[serde(default)]
    #[schemars(with = "f64", extend("default" = 0.5))]
    complexity: Option<f64>,
    /// Your name for this update: if no answer came, the same key and input again count once.
    #[serde(default, deserialize_with = "unless_empty")]
    #[schemars(with = "String", length(max = 200))]
    key: Option<String>,
}

#[derive(Serialize)]
pub struct Updated {
    #[serde(flatten)]
    report: wire::UpdateReport,
    /// Set if an argument was not taken as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Tool for ProcessAgentUpdate {
    const NAME: &'static str = "process_agent_update";
    const TITLE: &'static str = "Run a governance cycle";
    const DESCRIPTION: &'static str = "Judge a response before it is given, and advance the agent's state. \
        Call it once for each response; not to look (get_governance_metrics), nor again for another decision. \
        Do what decision.action says: approve, give the response; revise, improve it and have the new one \
        judged; reject, do not give it. If decision.require_human is true, stop, show a person \
        decision.reason and wait. metrics has state, risk and health; use sampling_params for the next \
        response.";
    const EFFECT: Effect = Effect::Adds;
    const RESULT: &'static [Field] = &[("decision", "object"), ("metrics", "object")];
    const RECORDS_ACTIVITY: bool = true;
    type Arguments = Arguments;
    type Outcome = Updated;

    fn call(session: &Session, arguments: Arguments) -> Result<Updated, Refusal> {
        let mut update = Update::new()
            .ethical_drift(arguments.ethical_drift.0)
            .response_text(arguments.response_text.0)
            .complexity(arguments.complexity.unwrap_or(f64::NAN));
        update.parameters = arguments.parameters.map(|parameters| parameters.0);
        update.key = arguments.key;
        let report = session.store().process_update(&arguments.agent_id.0, &update)?.into();
        Ok(Updated { report, note: arguments.complexity.and_then(clamped) })
    }
}

/// Says if a complexity counted as another one.
fn clamped(complexity: f64) -> Option<String> {
    let counted = complexity.clamp(0.0, 1.0);
    let is_within = (0.0..=1.0).contains(&complexity);
    (!is_within).then(|| format!("complexity {complexity} is not within 0 and 1, and counted as {counted}"))
}
