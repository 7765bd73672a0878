//! Calls of the tools of wrapped servers.

use std::time::Duration;

use super::handle::Store;
use crate::error::Result;
use crate::model::{CallFigures, Timestamp, ToolCalls};

/// How long figures wait for the write lock, if `lock_timeout_ms` lets them. They can be written another time.
const PATIENCE: Duration = Duration::from_secs(1);

/// For how many tools of a server figures are kept in an hour: names are a stranger's.
const MOST_TOOLS: u32 = 200;

/// Under which name the calls of further tools are counted.
const OTHERS: &str = "(others)";

impl Store {
    /// Adds figures of calls to those of this hour, in one transaction. Of a server 200 tools an hour are kept apart; calls
    /// of others are counted as those of `(others)`.
    ///
    /// Waits for the write lock for a second at most: who records figures can keep them until the next time.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use std::time::Duration;
    ///
    /// use govstore::CallFigures;
    ///
    /// let mut figures = CallFigures::new("read_file");
    /// figures.add(Duration::from_millis(3), false);
    /// store.record_calls("files", &[figures])?;
    /// assert_eq!(store.calls(None)?[0].calls, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::LockTimeout`](crate::Error::LockTimeout), [`Error::DiskFull`](crate::Error::DiskFull): nothing was recorded.
    /// [`Error::CommitInDoubt`](crate::Error::CommitInDoubt): perhaps it was, so they should not be recorded again.
    pub fn record_calls(&self, server: &str, figures: &[CallFigures]) -> Result<()> {
        if figures.iter().all(|figures| figures.calls() == 0) {
            return Ok(());
        }
        let server = CallFigures::new(server).tool; // a name as any other
        self.write_within(PATIENCE.min(self.lock_timeout()), |tx| {
            let made = figures.iter().filter(|figures| figures.calls() > 0);
            made.into_iter().try_for_each(|figures| tx.add_calls(&server, figures, MOST_TOOLS, OTHERS))
        })
    }

    /// The calls of the tools of all servers, by server, the tool that was called most first: those of the full hour in which
    /// a moment lies that was `over` ago, and since then; `None`: all that are kept.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// use std::time::Duration;
    ///
    /// let of_today = store.calls(Some(Duration::from_hours(24)))?;
    /// assert!(of_today.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of any read, such as [`Error::Displaced`](crate::Error::Displaced).
    pub fn calls(&self, over: Option<Duration>) -> Result<Vec<ToolCalls>> {
        let ms = over.map(|over| i64::try_from(over.as_millis()).unwrap_or(i64::MAX));
        self.read(|reader| reader.tool_calls(ms.map(|ms| Timestamp::now().earlier_by_ms(ms))))
    }
}
