//! The report: one HTML page that needs nothing but itself.
//!
//! [`Snapshot`] is what was read for it, [`page`] sets it as HTML. The page runs no script and loads nothing,
//! which its own security policy repeats to the browser. Three things keep it whole whatever the database
//! holds: `maud` escapes what HTML would obey, [`text`] shows what would act on the eye (control characters,
//! marks that turn the direction of text) as escapes and keeps right-to-left names to themselves, and
//! [`line`] thins a history to the width of its plot.

mod agent;
mod line;
mod made_of;
mod page;
mod parts;
mod plot;
mod plots;
mod processes;
mod snapshot;
mod table;
mod text;

pub use page::{DOCTYPE, page};
pub use snapshot::{Limits, Snapshot};

use super::figures;
use super::visible;
