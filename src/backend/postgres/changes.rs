//! Whether anything was written, by whatever process.

use std::time::{Duration, Instant};

use super::connect::Notice;
use super::database::Database;
use super::link::Link;
use super::value::{Columns, statement};
use crate::backend::deadline::Deadline;
use crate::error::Result;

/// Between two tries to listen again, after a connection was lost.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What is asked again and again whether others have committed something.
pub(crate) struct Changes {
    /// The snapshot, which says what is committed: the numbers of transactions up to one, but for those that are under
    /// way. It moves when one ends that has written, in any database of the server: so it may say that there is
    /// something when there isn't, and never the other way.
    seen: String,
    listening: Option<Listening>,
}

/// Who is told at once of an event. What is told is no more than that: the rows are the truth, and asking goes on, since a
/// notification may be lost with its connection.
struct Listening {
    notice: Notice,
    /// `None` where a pooler would give the connection to others.
    link: Option<Link>,
    tried_at: Instant,
}

impl Changes {
    /// Looks from now on.
    pub fn begin(database: &Database, wait: &Deadline) -> Result<Self> {
        Ok(Self { seen: snapshot(database, wait)?, listening: None })
    }

    /// Has `notice` called from now on when somebody has written an event.
    pub fn listen(&mut self, database: &Database, wait: &Deadline, notice: Notice) -> Result<()> {
        let link = database.listen(&notice, wait)?;
        self.listening = Some(Listening { notice, link, tried_at: Instant::now() });
        Ok(())
    }

    /// Whether something was committed since the last look.
    pub fn look(&mut self, database: &Database, wait: &Deadline) -> Result<bool> {
        let now = snapshot(database, wait)?;
        if let Some(listening) = &mut self.listening
            && listening.link.as_ref().is_some_and(|link| !link.is_sound())
            && listening.tried_at.elapsed() > LISTEN_AGAIN_AFTER
        {
            listening.tried_at = Instant::now();
            if let Ok(link) = database.listen(&listening.notice, wait) {
                listening.link = link;
            }
        }
        let before = std::mem::replace(&mut self.seen, now);
        Ok(before != self.seen)
    }
}

fn snapshot(database: &Database, wait: &Deadline) -> Result<String> {
    database.look(wait, |session| session.one_row(statement!("SELECT pg_current_snapshot()::text"))?.take(0))
}
