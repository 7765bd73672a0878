//! What a change of a text looks like: the changed lines alone, as `diff -U0` shows them.

use super::edit::{Edit, apply};

/// Lines that become other lines.
#[derive(Debug, PartialEq, Eq)]
pub struct Hunk {
    /// The number of the first line, from 1: before and after.
    pub first: (usize, usize),
    pub removed: Vec<String>,
    pub added: Vec<String>,
}

/// The lines that the edits change, from the top down.
pub fn difference(text: &str, edits: &[Edit]) -> Vec<Hunk> {
    let mut edits: Vec<Edit> = edits.to_vec();
    edits.sort_by_key(|edit| edit.span.start);
    // Edits on the same lines, or on the next, are one hunk: their lines, as a span of whole lines.
    let mut groups: Vec<(usize, usize, Vec<Edit>)> = Vec::new();
    for edit in edits {
        let start = text[..edit.span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[edit.span.end..].find('\n').map_or(text.len(), |length| edit.span.end + length + 1);
        match groups.last_mut() {
            Some((_, group_end, group)) if start <= *group_end => {
                *group_end = end.max(*group_end);
                group.push(edit);
            }
            _ => groups.push((start, end, vec![edit])),
        }
    }
    let (mut hunks, mut shift) = (Vec::new(), 0);
    for (start, end, mut group) in groups {
        for edit in &mut group {
            edit.span = edit.span.start - start..edit.span.end - start;
        }
        let old = &text[start..end];
        let new = apply(old, &group);
        let (mut removed, mut added) = (lines(old), lines(&new));
        let head = removed.iter().zip(&added).take_while(|(old, new)| old == new).count();
        removed.drain(..head);
        added.drain(..head);
        let tail = removed.iter().rev().zip(added.iter().rev()).take_while(|(old, new)| old == new).count();
        removed.truncate(removed.len() - tail);
        added.truncate(added.len() - tail);
        let first = text[..start].matches('\n').count() + 1 + head;
        let hunk = Hunk { first: (first, first.saturating_add_signed(shift)), removed, added };
        shift += hunk.added.len().cast_signed() - hunk.removed.len().cast_signed();
        hunks.push(hunk);
    }
    hunks
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(text: &str, old: &str, new: &str) -> Edit {
        let start = text.find(old).expect("it is there");
        Edit { span: start..start + old.len(), text: new.to_owned() }
    }

    #[test]
    fn only_changed_lines_are_shown() {
        let text = "one\ntwo\nthree\r\nfour\nfive";
        let hunk = |first, removed: &[&str], added: &[&str]| Hunk {
            first,
            removed: removed.iter().map(ToString::to_string).collect(),
            added: added.iter().map(ToString::to_string).collect(),
        };
        let edits = [edit(text, "five", "5\n6"), edit(text, "two", "2\n2a")];
        let expected = [hunk((2, 2), &["two"], &["2", "2a"]), hunk((5, 6), &["five"], &["5", "6"])];
        assert_eq!(difference(text, &edits), expected);
        // On neighbouring lines, on the same ones, and behind a line.
        let edits = [edit(text, "three", "3"), edit(text, "two", "2")];
        assert_eq!(difference(text, &edits), [hunk((2, 2), &["two", "three"], &["2", "3"])]);
        let edits = [edit(text, "tw", "T"), edit(text, "o\nthr", "O\nTHR")];
        assert_eq!(difference(text, &edits), [hunk((2, 2), &["two", "three"], &["TO", "THRee"])]);
        let behind = Edit { span: 3..3, text: "\nmore".to_owned() };
        assert_eq!(difference(text, &[behind]), [hunk((2, 2), &[], &["more"])]);
        assert!(difference(text, &[]).is_empty());
    }
}
