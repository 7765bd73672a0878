//! What tools take: the types of single arguments, and how a call's arguments are read.
//!
//! Each type checks its own size and tells the schema about it, so the two can't differ. An error names the
//! argument, and where a name is unknown the nearest one. `null` stands for an argument that was left out and, in a list
//! of numbers, for NaN; schemas don't say so, since some clients refuse a type that is two types. `""` stands for a text
//! that was left out, where an empty one means nothing: models fill fields with it.

use std::borrow::Cow;
use std::str::FromStr;

use govstore::ParseWordError;
use rmcp::model::JsonObject;
use rmcp::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::refusal::Refusal;

/// A response, in characters: four times what a model writes in one go.
pub const RESPONSE_TEXT_MAX_CHARS: usize = 1 << 20;
/// A parameter vector. The dynamics use the first 128 numbers.
pub const PARAMETERS_MAX: usize = 10_000;
/// Ethical drift signals. v1.0.3 has three.
pub const ETHICAL_DRIFT_MAX: usize = 1_000;
/// Tags of one agent.
pub const TAGS_MAX: usize = 100;
/// One tag, in characters.
pub const TAG_MAX_CHARS: usize = 100;
/// The notes on one agent, in characters, with what was there before.
pub const NOTES_MAX_CHARS: usize = 100_000;
/// Why an agent is paused or archived, in characters.
pub const REASON_MAX_CHARS: usize = 4_000;

/// From this likeness on, two names are alike enough to ask whether the one was meant by the other.
const ALIKE: f64 = 0.7;

/// Reads a call's arguments.
pub fn parse<A: DeserializeOwned>(arguments: JsonObject) -> Result<A, Refusal> {
    serde_path_to_error::deserialize(Value::Object(arguments)).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        let reason = unknown(&path, &reason).unwrap_or_else(|| in_words_of_json(&reason));
        // A missing argument has no place; its reason names it.
        Refusal::Argument(if path == "." { reason } else { format!("{path}: {reason}") })
    })
}

/// What serde says, in the words of those who write JSON.
fn in_words_of_json(reason: &str) -> String {
    reason
        .replace("expected f64", "expected a number")
        .replace("expected u32", "expected a whole number")
        .replace("a sequence", "a list")
}

/// Says that there is no such argument, and which one may have been meant, or which there are. serde's sentence has
/// their names in backquotes.
fn unknown(name: &str, reason: &str) -> Option<String> {
    let names = reason.strip_prefix("unknown field `")?.strip_prefix(name)?;
    let names: Vec<&str> = names.split('`').skip(2).step_by(2).collect();
    let likeness = |known: &str| {
        if name.len() > 1 && known.contains(name) { 1.0 } else { strsim::jaro(name, known) }
    };
    let nearest = names.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    Some(match nearest {
        Some(nearest) if likeness(nearest) > ALIKE => format!("unknown argument; did you mean {nearest}?"),
        Some(_) => format!("unknown argument; the tool takes {}", names.join(", ")),
        None => "unknown argument; the tool takes none".to_owned(),
    })
}

/// The words of a type of the library, for the schema of an argument that takes one.
pub fn words<T: FromStr<Err = ParseWordError>>() -> &'static [&'static str] {
    "".parse::<T>().err().map(|error| error.expected).unwrap_or_default()
}

/// For a text that may be left out: `null` and `""` leave it out, too.
pub fn unless_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

/// For an argument that may be left out: `null` leaves it out, too.
pub fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The id of an agent. The library checks what else it may be.
#[derive(Debug, Clone)]
pub struct AgentId(pub String);

impl<'de> Deserialize<'de> for AgentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        if id.is_empty() {
            return Err(D::Error::custom("is empty; list_agents has the ids that there are"));
        }
        Ok(Self(id))
    }
}

impl JsonSchema for AgentId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AgentId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// How many, from 1 to `MAX`.
#[derive(Debug, Clone, Copy)]
pub struct Count<const MAX: u32>(pub u32);

impl<'de, const MAX: u32> Deserialize<'de> for Count<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let count = u32::deserialize(deserializer)?;
        if (1..=MAX).contains(&count) {
            Ok(Self(count))
        } else {
            Err(D::Error::custom(format!("is {count}; from 1 to {MAX} are allowed")))
        }
    }
}

impl<const MAX: u32> JsonSchema for Count<MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Count{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": MAX })
    }
}

/// Text of at most `MAX` characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text<const MAX: usize>(pub String);

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Counting takes a pass, and bytes are never fewer than characters.
        let length = if text.len() <= MAX { 0 } else { text.chars().count() };
        within(length, MAX, "characters").map_err(D::Error::custom)?;
        Ok(Self(text))
    }
}

impl<const MAX: usize> JsonSchema for Text<MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Text{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": MAX })
    }
}

/// At most `MAX` numbers, NaN where JSON has `null`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Numbers<const MAX: usize>(pub Vec<f64>);

impl<'de, const MAX: usize> Deserialize<'de> for Numbers<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let numbers = Vec::<Option<f64>>::deserialize(deserializer)?;
        within(numbers.len(), MAX, "numbers").map_err(D::Error::custom)?;
        Ok(Self(numbers.into_iter().map(|number| number.unwrap_or(f64::NAN)).collect()))
    }
}

impl<const MAX: usize> JsonSchema for Numbers<MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Numbers{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "number" }, "maxItems": MAX })
    }
}

/// The tags of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags(pub Vec<String>);

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tags = Vec::<Text<TAG_MAX_CHARS>>::deserialize(deserializer)?;
        within(tags.len(), TAGS_MAX, "tags").map_err(D::Error::custom)?;
        Ok(Self(tags.into_iter().map(|tag| tag.0).collect()))
    }
}

impl JsonSchema for Tags {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Tags".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let tag = generator.subschema_for::<Text<TAG_MAX_CHARS>>();
        json_schema!({ "type": "array", "items": tag, "maxItems": TAGS_MAX })
    }
}

/// Refuses what is larger than it may be.
pub fn within(size: usize, max: usize, unit: &str) -> Result<(), String> {
    if size <= max { Ok(()) } else { Err(format!("has {size} {unit}; at most {max} are allowed")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        text: Text<4>,
        #[serde(default, deserialize_with = "or_default")]
        numbers: Numbers<2>,
    }

    fn read(arguments: Value) -> Result<Arguments, String> {
        let Value::Object(arguments) = arguments else { panic!("{arguments} is no object") };
        parse(arguments).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn an_error_names_the_argument() {
        let error = |arguments| read(arguments).expect_err("a refusal");
        assert_eq!(error(json!({})), "missing field `text`");
        let unknown = |name: &str| error(json!({ "text": "a", name: 1 }));
        assert_eq!(unknown("txet"), "txet: unknown argument; did you mean text?");
        assert_eq!(unknown("num"), "num: unknown argument; did you mean numbers?");
        assert_eq!(unknown("`ey.[0]"), "`ey.[0]: unknown argument; the tool takes text, numbers");
        assert_eq!(error(json!({"text": 7})), "text: invalid type: integer `7`, expected a string");
        assert_eq!(error(json!({"text": "12345"})), "text: has 5 characters; at most 4 are allowed");
        let numbers = error(json!({"text": "", "numbers": [1, "x"]}));
        assert_eq!(numbers, "numbers[1]: invalid type: string \"x\", expected a number");
        let many = error(json!({"text": "", "numbers": [1, 2, 3]}));
        assert_eq!(many, "numbers: has 3 numbers; at most 2 are allowed");
    }

    #[test]
    fn sizes_are_counted_in_characters_and_null_is_nan() -> Result<(), String> {
        let arguments = read(json!({"text": "日本語だ", "numbers": [1, null]}))?;
        assert_eq!(arguments.text.0.len(), 12);
        assert!((arguments.numbers.0[0] - 1.0).abs() < f64::EPSILON);
        assert!(arguments.numbers.0[1].is_nan());
        assert!(read(json!({"text": "", "numbers": null}))?.numbers.0.is_empty());
        Ok(())
    }
}
