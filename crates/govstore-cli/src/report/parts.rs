//! Small parts of the page that several of its sections have.

use maud::{Markup, html};

/// Labels and what they label.
pub fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! { dl { @for (label, fact) in facts { div { dt { (label) } dd { (fact) } } } } }
}

/// A word for a health, in its colour.
pub fn badge(health: &'static str) -> Markup {
    html! { span.badge.(health) { (health) } }
}
