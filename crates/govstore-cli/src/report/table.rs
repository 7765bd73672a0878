//! A table that scrolls by itself where the page is too narrow for it, by keyboard too. On a phone each row is a card,
//! with the titles that its cells have as `data-label`.

use maud::{Markup, html};

/// What a reader's software calls the table.
pub enum Called {
    /// As the heading with this id.
    AsHeading(&'static str),
    /// So.
    This(&'static str),
}

/// A table with one row of titles.
pub fn table(called: &Called, titles: &Markup, rows: &Markup) -> Markup {
    let (heading, name) = match called {
        Called::AsHeading(id) => (Some(id), None),
        Called::This(name) => (None, Some(name)),
    };
    html! {
        div.wide role="region" aria-labelledby=[heading] aria-label=[name] tabindex="0" {
            table {
                thead { tr { (titles) } }
                tbody { (rows) }
            }
        }
    }
}
