//! How much an answer tells of what may be long. A model pays for each byte, so what is left out is counted and not told.

use serde::Serialize;
use serde_json::{Map, Value};

/// Agents of a list, unless the caller says otherwise.
pub const LISTED_AGENTS: u32 = 50;
/// Processes of a list.
pub const PROCESSES: usize = 20;
/// Events of an agent.
pub const EVENTS: usize = 20;
/// Updates of a history, unless the caller says otherwise.
pub const UPDATES: u32 = 100;
/// Notes on an agent.
const NOTES_CHARS: usize = 500;
/// A reason, which has its place among many.
pub const REASON_CHARS: usize = 200;

/// What a list of agents or of processes takes at most, in bytes of JSON; a default answer is 5,000 tokens of 3.5 bytes
/// at most.
pub const LIST_BYTES: usize = 15_000;
/// What the events of one agent take.
pub const EVENTS_BYTES: usize = 6_000;
/// What its tags take, and its attributes.
const LABELS_BYTES: usize = 2_000;

/// How many items, from the first, are told: at most `max`, and those that fit into `bytes` of JSON.
pub fn fitting<'i, T: Serialize + 'i>(
    items: impl IntoIterator<Item = &'i T>,
    max: usize,
    bytes: usize,
) -> usize {
    let mut left = bytes;
    let fits = |item: &&T| {
        let size = serde_json::to_vec(item).map_or(usize::MAX, |json| json.len() + ",".len());
        left.checked_sub(size).map(|rest| left = rest).is_some()
    };
    items.into_iter().take(max).take_while(fits).count()
}

/// The first characters of a text, and how many more it has.
fn cut(text: String, max_chars: usize) -> (String, usize) {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => (text[..end].to_owned(), text[end..].chars().count()),
        None => (text, 0),
    }
}

/// A text that says itself how much of it is left out.
pub fn abridged(text: String, max_chars: usize) -> String {
    match cut(text, max_chars) {
        (text, 0) => text,
        (text, more) => format!("{text}… ({more} more characters)"),
    }
}

/// A figure for people: six places.
pub fn rounded(figure: f64) -> f64 {
    const PLACES: f64 = 1e6;
    let rounded = (figure * PLACES).round() / PLACES;
    if rounded.is_finite() { rounded + 0.0 } else { figure } // never -0
}

/// Rounds each figure of an answer, but for an agent's attributes: they are somebody else's.
pub fn round(answer: &mut Value) {
    match answer {
        Value::Number(number) if number.is_f64() => {
            let figure = number.as_f64().map(rounded);
            *answer = figure.into();
        }
        Value::Array(items) => items.iter_mut().for_each(round),
        Value::Object(fields) => {
            fields.iter_mut().filter(|(name, _)| *name != "attributes").for_each(|(_, value)| round(value));
        }
        _ => {}
    }
}

/// For fields that say how much is left out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What people say about an agent.
#[derive(Serialize)]
pub struct Labels {
    tags: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    tags_left_out: usize,
    notes: String,
    /// In characters.
    #[serde(skip_serializing_if = "is_zero")]
    notes_left_out: usize,
}

impl Labels {
    pub fn of(mut tags: Vec<String>, notes: String, whole: bool) -> Self {
        if whole {
            return Self { tags, tags_left_out: 0, notes, notes_left_out: 0 };
        }
        let told = fitting(&tags, usize::MAX, LABELS_BYTES);
        let tags_left_out = tags.len() - told;
        tags.truncate(told);
        let (notes, notes_left_out) = cut(notes, NOTES_CHARS);
        Self { tags, tags_left_out, notes, notes_left_out }
    }
}

/// The attributes that fit, in the order of their names, and how many more there are.
pub fn attributes(all: Map<String, Value>) -> (Map<String, Value>, usize) {
    let entries: Vec<(String, Value)> = all.into_iter().collect();
    let told = fitting(&entries, usize::MAX, LABELS_BYTES);
    let left_out = entries.len() - told;
    (entries.into_iter().take(told).collect(), left_out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        assert_eq!(fitting(&["a", "b", "c"], 2, 100), 2);
        assert_eq!(fitting(&["aa", "bb", "cc"], 9, 10), 2, "two of five bytes each");
        assert_eq!(abridged("日本語だ".to_owned(), 2), "日本… (2 more characters)");
        assert_eq!(abridged("日本".to_owned(), 2), "日本");
        let labels = Labels::of(vec!["t".repeat(100); 100], "n".repeat(1_234), false);
        assert_eq!((labels.tags.len(), labels.tags_left_out), (19, 81));
        assert_eq!((labels.notes.len(), labels.notes_left_out), (500, 734));
        let (told, left_out) = attributes(
            [("a", "x".repeat(1_500)), ("b", "y".repeat(1_500))]
                .map(|(name, text)| (name.to_owned(), text.into()))
                .into_iter()
                .collect(),
        );
        assert_eq!((told.len(), left_out), (1, 1));
    }

    #[test]
    fn figures_have_six_places_and_attributes_stay_as_they_are() {
        let mut answer = json!({ "a": [0.123_456_789, 1], "b": { "c": -1e-9 }, "attributes": { "d": 1e-9 } });
        round(&mut answer);
        assert_eq!(answer.to_string(), r#"{"a":[0.123457,1],"attributes":{"d":1e-9},"b":{"c":0.0}}"#);
    }
}
