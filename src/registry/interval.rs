//! How often a process beats, and the beat as it is written.

use std::time::Duration;

use super::state::Identity;
use crate::backend::statements::{Transaction, TxResult};
use crate::model::Settings;
use crate::os::clock;

/// How long a process may let pass between two beats. Never so long that it could be taken for dead, whatever
/// the settings say.
pub(crate) fn interval_ms(settings: &Settings) -> i64 {
    settings.heartbeat_interval_ms().min(settings.stale_after_ms() / 3).max(1)
}

/// From which age on a beat came late: its process was stopped, frozen or starved. If others look stale because
/// of the same freeze, then it lasted longer than `stale_after_s` less one interval, which is at least two
/// thirds of `stale_after_s`; so half of it is sure to notice.
pub(crate) fn late_after_ms(settings: &Settings) -> i64 {
    settings.stale_after_ms() / 2
}

/// How long after a beat that failed, as of a busy or a full database, the next one is tried: at once. A judge who
/// can write waits an interval to see whether others can.
pub(crate) fn retry_after(interval: Duration) -> Duration {
    (interval / 10).min(Duration::from_secs(1))
}

/// Writes a heartbeat.
pub(super) fn save(
    tx: &dyn Transaction,
    process_id: i64,
    identity: &Identity,
    settings: &Settings,
) -> TxResult<()> {
    tx.save_heartbeat(
        process_id,
        &identity.here.boot_id,
        clock::monotonic_ms(),
        interval_ms(settings).min(tx.longest_interval_ms()),
        late_after_ms(settings),
    )
}
