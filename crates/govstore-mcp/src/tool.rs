//! What a tool is, and the one place where its outcome becomes a tool result.

use std::sync::Arc;

use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool as Listing, ToolAnnotations};
use rmcp::schemars::generate::SchemaSettings;
use rmcp::schemars::transform::RecursiveTransform;
use rmcp::schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::argument;
use super::bounds;
use super::refusal::Refusal;
use super::session::Session;

/// What a call does to the database and the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Reads,
    /// It adds to what is there.
    Adds,
    /// It changes what is there, and a second call changes nothing more.
    Changes,
    /// It replaces or removes what is there; a second call may do so again.
    Replaces,
    /// It replaces or removes what is there, and a second call changes nothing more.
    Removes,
}

impl Effect {
    fn annotations(self) -> ToolAnnotations {
        ToolAnnotations::new()
            .read_only(self == Self::Reads)
            .destructive(matches!(self, Self::Replaces | Self::Removes))
            .idempotent(matches!(self, Self::Reads | Self::Changes | Self::Removes))
            .open_world(false)
    }
}

/// A field of a result, and its JSON type.
pub type Field = (&'static str, &'static str);

/// One tool.
pub trait Tool {
    const NAME: &'static str;
    /// For people.
    const TITLE: &'static str;
    /// For models: when to call it, when not, and what the fields of the result mean.
    const DESCRIPTION: &'static str;
    const EFFECT: Effect;
    /// The fields of a result that clients are told of: two at most, and objects without what is in them. Some clients
    /// check each answer against this, and every model pays for it.
    const RESULT: &'static [Field];
    /// Whether a call that is done has recorded the client's activity in a transaction of its own.
    const RECORDS_ACTIVITY: bool = false;
    type Arguments: DeserializeOwned + JsonSchema;
    /// The result, beside `success`: a struct.
    type Outcome: Serialize;

    /// Does the work. It may block.
    fn call(session: &Session, arguments: Self::Arguments) -> Result<Self::Outcome, Refusal>;
}

/// One row of the table of tools.
pub struct Entry {
    pub name: &'static str,
    pub effect: Effect,
    pub records_activity: bool,
    pub run: fn(&Session, JsonObject) -> Result<CallToolResult, Refusal>,
    listing: fn() -> Listing,
}

impl Entry {
    /// The row of `T`.
    pub const fn of<T: Tool>() -> Self {
        Self {
            name: T::NAME,
            effect: T::EFFECT,
            records_activity: T::RECORDS_ACTIVITY,
            run: run::<T>,
            listing: listing::<T>,
        }
    }

    /// What clients see in the list of tools.
    pub fn listing(&self) -> Listing {
        (self.listing)()
    }
}

fn run<T: Tool>(session: &Session, arguments: JsonObject) -> Result<CallToolResult, Refusal> {
    let outcome = argument::parse(arguments).and_then(|arguments| T::call(session, arguments))?;
    let mut result = serde_json::to_value(outcome).expect("an outcome has no map but of strings");
    if !session.offer.as_v1_0_3 {
        bounds::round(&mut result);
    }
    result["success"] = Value::Bool(true);
    Ok(structured(result))
}

/// As [`CallToolResult::structured`], which writes the text by way of `Display`, and takes twice as long.
fn structured(result: Value) -> CallToolResult {
    let text = serde_json::to_string(&result).unwrap_or_else(|_| result.to_string());
    let mut structured = CallToolResult::success(vec![ContentBlock::text(text)]);
    structured.structured_content = Some(result);
    structured
}

/// The result of a refused call.
pub fn refuse(tool: &str, refusal: &Refusal) -> CallToolResult {
    let reason = refusal.to_string();
    tracing::info!(tool, reason, "refused"); // a text is logged with its control characters escaped
    let mut result = json!({ "success": false, "error": reason });
    if refusal.is_in_doubt() {
        result["in_doubt"] = Value::Bool(true);
    }
    if let Some(warning) = refusal.warning() {
        result["warning"] = Value::String(warning);
    }
    CallToolResult::structured_error(result)
}

fn listing<T: Tool>() -> Listing {
    Listing::new(T::NAME, T::DESCRIPTION, arguments_schema::<T::Arguments>())
        .with_title(T::TITLE)
        .with_raw_output_schema(result_schema(T::RESULT))
        .with_annotations(T::EFFECT.annotations())
}

/// The schema of a result. Some clients check refusals against it too, so only `success` is required; it is not described,
/// and `error` neither, since a field takes the official Python client 0.3 ms in each call.
fn result_schema(fields: &[Field]) -> Arc<JsonObject> {
    let mut properties = JsonObject::new();
    for (name, of_type) in fields {
        properties.insert((*name).to_owned(), json!({ "type": of_type }));
    }
    Arc::new(JsonObject::from_iter([
        ("type".to_owned(), json!("object")),
        ("properties".to_owned(), properties.into()),
        ("required".to_owned(), json!(["success"])),
    ]))
}

/// The schema of arguments, without references and without what only Rust has a use for.
fn arguments_schema<T: JsonSchema>() -> JsonObject {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let plain = RecursiveTransform(|schema: &mut Schema| {
        schema.remove("title");
        schema.remove("format"); // double, int64
        if matches!(schema.get("default"), Some(Value::Null | Value::Bool(false))) {
            schema.remove("default"); // which is what left out means anyway
        }
        if let Some(Value::String(description)) = schema.get_mut("description") {
            *description = description.replace('\n', " ");
        }
    });
    let mut schema = settings.with_transform(plain).into_generator().into_root_schema_for::<T>();
    schema.remove("description"); // of the Rust type
    match schema.to_value() {
        Value::Object(mut object) => {
            object.entry("properties").or_insert_with(|| json!({})); // some clients refuse a tool without
            object
        }
        other => unreachable!("arguments are structs and not {other}"),
    }
}
