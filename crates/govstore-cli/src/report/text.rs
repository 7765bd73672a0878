//! Texts of strangers in HTML.
//!
//! Everything from the database that somebody else worded passes through here. maud escapes markup; what is
//! left is text that does something to the eye: see [`visible`].

use maud::{Markup, Render, html};

use super::visible::{visible, visible_lines};

/// More than this of one text is cut: a page is read by a person.
const SHOWN_CHARS: usize = 4_000;

/// A text on one line, in its own direction: a right-to-left name leaves its neighbours alone.
pub struct Name<'a>(pub &'a str);

impl Render for Name<'_> {
    fn render(&self) -> Markup {
        let (shown, cut) = cut(self.0);
        html! { bdi { (visible(shown)) (cut) } }
    }
}

/// A text whose lines stay lines, each in its own direction.
pub struct Lines<'a>(pub &'a str);

impl Render for Lines<'_> {
    fn render(&self) -> Markup {
        let (shown, cut) = cut(self.0);
        html! { div.lines dir="auto" { (visible_lines(shown)) (cut) } }
    }
}

/// The first part of a text, and what is said of the rest.
fn cut(text: &str) -> (&str, String) {
    match text.char_indices().nth(SHOWN_CHARS) {
        None => (text, String::new()),
        Some((end, _)) => {
            let rest = text[end..].chars().count();
            (&text[..end], format!("… ({rest} more characters)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stands_in_its_place_and_does_nothing() {
        let shown = Name("<script>\"&'\u{202e}\u{1b}[2J\0").render().into_string();
        assert_eq!(shown, r"<bdi>&lt;script&gt;&quot;&amp;'\u{202e}\u{1b}[2J\u{0}</bdi>");
        let lines = Lines("one\n</div>\t").render().into_string();
        assert_eq!(lines, "<div class=\"lines\" dir=\"auto\">one\n&lt;/div&gt;\\t</div>");
    }

    #[test]
    fn a_very_long_text_is_cut_between_characters() {
        let shown = Name(&"é".repeat(SHOWN_CHARS + 7)).render().into_string();
        assert_eq!(shown, format!("<bdi>{}… (7 more characters)</bdi>", "é".repeat(SHOWN_CHARS)));
    }
}
