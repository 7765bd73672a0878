//! The main job.

use rmcp::schemars::JsonSchema;
use serde::Deserialize;

use crate::argument::{
    ETHICAL_DRIFT_MAX, Numbers, PARAMETERS_MAX, RESPONSE_TEXT_MAX_CHARS, Text, or_default,
};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::tool::{Effect, Tool};
use crate::wire;
use govstore::Update;

pub struct ProcessAgentUpdate;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct Arguments {
    /// The agent: a name of its own for each agent, the same in every call, such as `claude_code_cli`. A new
    /// name makes a new agent.
    #[schemars(length(min = 1, max = 128))]
    agent_id: String,
    /// The agent's parameter vector, 128 numbers; a shorter one is padded with zeros. Coherence measures how
    /// far it moved since the call before; left out, it has not moved.
    #[serde(default)]
    #[schemars(with = "Numbers<PARAMETERS_MAX>")]
    parameters: Option<Numbers<PARAMETERS_MAX>>,
    /// Ethical drift signals, three numbers. Accepted for compatibility; they have no effect.
    #[serde(default, deserialize_with = "or_default")]
    ethical_drift: Numbers<ETHICAL_DRIFT_MAX>,
    /// The response to be judged, whole. Its length and risky phrases in it count; it is not stored.
    #[serde(default, deserialize_with = "or_default")]
    response_text: Text<RESPONSE_TEXT_MAX_CHARS>,
    /// How complex the task is, from 0 to 1; 0.5 if left out.
    #[serde(default)]
    #[schemars(with = "f64", range(min = 0.0, max = 1.0), extend("default" = 0.5))]
    complexity: Option<f64>,
    /// A name of yours for this update, such as a turn's number. If you get no answer, call again with the same key
    /// and input: you get the answer of the first call, and it is not counted twice.
    #[serde(default)]
    #[schemars(with = "String", length(max = 200))]
    key: Option<String>,
}

impl Tool for ProcessAgentUpdate {
    const NAME: &'static str = "process_agent_update";
    const TITLE: &'static str = "Run a governance cycle";
    const DESCRIPTION: &'static str = "Run one governance cycle for an agent: judge a response before it is \
        given, and advance the agent's state. Call it once for each response. Returns a decision (approve; \
        revise: improve the response first; reject: stop and ask a person), the agent's metrics and health, \
        and sampling parameters for its next response. The first call makes the agent.";
    const EFFECT: Effect = Effect::Adds;
    const RECORDS_ACTIVITY: bool = true;
    type Arguments = Arguments;
    type Outcome = wire::UpdateReport;

    fn call(session: &Session, arguments: Arguments) -> Result<wire::UpdateReport, Refusal> {
        let mut update = Update::new()
            .ethical_drift(arguments.ethical_drift.0)
            .response_text(arguments.response_text.0)
            .complexity(arguments.complexity.unwrap_or(f64::NAN));
        update.parameters = arguments.parameters.map(|parameters| parameters.0);
        update.key = arguments.key.filter(|key| !key.is_empty()); // models fill fields with ""
        Ok(session.store().process_update(&arguments.agent_id, &update)?.into())
    }
}
