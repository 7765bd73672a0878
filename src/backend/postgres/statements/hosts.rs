//! Hosts: one boot of one machine, and the lease that its processes renew.

use crate::backend::postgres::transaction::Session;
use crate::backend::postgres::value::statement;

impl Session<'_> {
    /// Renews the lease of this host, unless that was done a moment ago; `is_new`: the host may not be known yet.
    ///
    /// A row that needs no renewal is not locked: else all processes of a host would wait for each other here.
    pub fn renew_lease(&self, is_new: bool) {
        if is_new {
            self.hold_back(statement!(
                "INSERT INTO hosts AS h (host_key, name, registered_at, beat_at, lease_until)
                 VALUES ($1, $2, clock_timestamp(), clock_timestamp(), clock_timestamp() + $3 * interval '1 ms')
                 ON CONFLICT (host_key) DO UPDATE SET
                   name = excluded.name, beat_at = excluded.beat_at, lease_until = excluded.lease_until,
                   cleared_at = NULL",
                self.host_key(),
                self.host_name(),
                LEASE_MS,
            ));
        } else {
            self.hold_back(statement!(
                "UPDATE hosts SET
                   beat_at = clock_timestamp(), lease_until = clock_timestamp() + $2 * interval '1 ms', cleared_at = NULL
                 WHERE host_key = $1 AND lease_until < clock_timestamp() + $3 * interval '1 ms'",
                self.host_key(),
                LEASE_MS,
                LEASE_MS - RENEW_AFTER_MS,
            ));
        }
    }
}

/// For how long a lease holds.
const LEASE_MS: i64 = 40_000;

/// How old a lease is before it is renewed: a little less than the longest interval between two heartbeats.
const RENEW_AFTER_MS: i64 = 8_000;
