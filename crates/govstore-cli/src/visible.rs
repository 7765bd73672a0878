//! Texts of strangers on a terminal: they may say what they like and do nothing.

use std::borrow::Cow;

/// `text` with everything that could act on a terminal written as an escape: ESC as `\u{1b}`.
pub fn visible(text: &str) -> Cow<'_, str> {
    escape(text, acts)
}

/// As [`visible`], but lines stay lines.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| acts(c) && c != '\n')
}

/// Whether a character does something other than stand in its place: control characters (C1 too, which some
/// terminals obey), line separators, and the marks that turn the direction of text around.
pub fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn escape(text: &str, hide: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&hide) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hide(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_escaped_and_what_is_read_stays() {
        assert_eq!(visible("\u{1b}[2Ja\tb\nc\r"), r"\u{1b}[2Ja\tb\nc\r");
        assert_eq!(visible("\u{9b}31m \u{202e}evil\u{7f}"), r"\u{9b}31m \u{202e}evil\u{7f}");
        assert_eq!(visible_lines("one\ntwo\u{7}"), "one\ntwo\\u{7}");
        for plain in ["été 2", "測試", "👩\u{200d}🚀", r"a\b"] {
            assert!(matches!(visible(plain), Cow::Borrowed(same) if same == plain), "{plain}");
        }
    }
}
