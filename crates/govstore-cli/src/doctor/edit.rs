//! A keeper put in front of a server's command, or taken away, as changes of a text.
//!
//! The words that were there move as they are written, so that taking them back gives the same bytes. A list of
//! arguments that wasn't there before is told from an empty one by the blank behind its bracket: `[ "run"`.

use std::ops::Range;

use super::server::{Arguments, Launch};

/// One place of a text that is to become another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub span: Range<usize>,
    pub text: String,
}

/// Puts `own run --name NAME --` in front of the command.
pub fn wrap(text: &str, launch: &Launch, name: &str, own: &str) -> Vec<Edit> {
    let mut words = vec![quoted("run")];
    if name.starts_with('-') {
        words.push(quoted(&format!("--name={name}"))); // else it would be taken for an option
    } else if !name.is_empty() {
        words.extend([quoted("--name"), quoted(name)]);
    }
    words.extend([quoted("--"), text[launch.command.span.clone()].to_owned()]);
    let words = words.join(", ");
    let command = Edit { span: launch.command.span.clone(), text: quoted(own) };
    let arguments = match &launch.arguments {
        None => insert(launch.room.at, format!("{}[ {words} ]", launch.room.lead)),
        Some(Arguments { span, items }) => match items.first() {
            None => insert(span.start + 1, words),
            Some(first) => {
                let gap = &text[span.start + 1..first.span.start];
                let is_line = gap.contains('\n') && gap.trim().is_empty();
                insert(first.span.start, format!("{words},{}", if is_line { gap } else { " " }))
            }
        },
    };
    vec![command, arguments]
}

/// Takes away what is in front of the word `command_at` of the command line, which is among its arguments.
pub fn unwrap(text: &str, launch: &Launch, command_at: usize) -> Vec<Edit> {
    let Some(Arguments { span, items }) = &launch.arguments else { return Vec::new() };
    let inner = &items[command_at - 1];
    let command = Edit { span: launch.command.span.clone(), text: text[inner.span.clone()].to_owned() };
    let start = items[0].span.start;
    let cut = if command_at < items.len() {
        let comma_end = inner.comma_end.unwrap_or(inner.span.end);
        let rest = &text[comma_end..];
        start..comma_end + rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len()
    } else if was_put_there(text, launch, span) {
        launch.room.at..span.end
    } else {
        start..inner.comma_end.unwrap_or(inner.span.end)
    };
    vec![command, Edit { span: cut, text: String::new() }]
}

/// Whether the whole list is one that [`wrap`] made.
fn was_put_there(text: &str, launch: &Launch, list: &Range<usize>) -> bool {
    let between = launch.room.at..list.start;
    text.get(between).is_some_and(|lead| lead == launch.room.lead)
        && text[list.clone()].starts_with("[ \"run\"")
}

/// The text with each place changed. The places don't overlap.
pub fn apply(text: &str, edits: &[Edit]) -> String {
    let mut edits: Vec<&Edit> = edits.iter().collect();
    edits.sort_by_key(|edit| edit.span.start);
    let mut changed = String::with_capacity(text.len() + 256);
    let mut done = 0;
    for edit in edits {
        changed.push_str(&text[done..edit.span.start]);
        changed.push_str(&edit.text);
        done = edit.span.end;
    }
    changed.push_str(&text[done..]);
    changed
}

fn insert(at: usize, text: String) -> Edit {
    Edit { span: at..at, text }
}

/// A string in JSON, which is one in TOML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f") // TOML wants that one escaped
}
