//! Updates as lines of text: each a JSON object as the tool `process_agent_update` takes it.

use govstore::Update;

use crate::lines::Line;
use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde_json::{Map, Value};

/// The longest line that is read. A response of a million characters is well below.
pub const MAX_BYTES: usize = 16 << 20;

/// The agent and the update that a line holds; nothing in a blank one.
///
/// # Errors
///
/// What is wrong with the line, in words.
pub fn parse(line: &Line<'_>) -> Result<Option<(String, Update)>, String> {
    let bytes = match line {
        Line::Whole(bytes) => bytes.trim_ascii(),
        Line::TooLong => return Err(format!("longer than {} MiB", MAX_BYTES >> 20)),
    };
    let text = str::from_utf8(bytes).map_err(|e| format!("not UTF-8: {e}"))?;
    let text = text.trim_start_matches('\u{feff}'); // some editors begin a file with it
    if text.is_empty() {
        return Ok(None);
    }
    let Value::Object(mut fields) = serde_json::from_str(text).map_err(|e| not_json(&e))? else {
        return Err("not a JSON object".to_owned());
    };
    let agent_id = match fields.remove("agent_id") {
        Some(Value::String(agent_id)) => agent_id,
        Some(_) => return Err("agent_id is not a string".to_owned()),
        None => return Err("agent_id is missing".to_owned()),
    };
    match Update::deserialize(&fields) {
        Ok(update) => Ok(Some((agent_id, update))),
        Err(e) => Err(culprit(&fields).unwrap_or(e.to_string())),
    }
}

/// The first field that can't be part of an update, and why: `serde_json` itself names none.
fn culprit(fields: &Map<String, Value>) -> Option<String> {
    fields.iter().find_map(|(name, value)| {
        let alone = MapDeserializer::new(std::iter::once((name.as_str(), value)));
        let reason =
            Update::deserialize(alone).err()?.to_string().replace("expected f64", "expected a number");
        Some(if reason.starts_with("unknown field") { reason } else { format!("{name}: {reason}") })
    })
}

/// What `serde_json` says, without its line number: that of the file is another.
fn not_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    format!("not JSON: {reason} (column {})", error.column())
}
