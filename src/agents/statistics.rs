//! Figures over an agent's newest updates.

use super::row::find;
use crate::backend::statements::{Reader, TxResult};
use crate::model::{AgentId, WindowStatistics};

/// How many of the newest updates the statistics look at.
pub(super) const WINDOW: i64 = 1000;

/// |V| over which an update counts as void in the statistics, whatever the threshold was then.
const VOID_LIMIT: f64 = 0.15;

pub(crate) fn statistics(reader: &dyn Reader, id: AgentId<'_>) -> TxResult<WindowStatistics> {
    find(reader, id)?;
    reader.window_statistics(id.as_str(), WINDOW, VOID_LIMIT)
}
