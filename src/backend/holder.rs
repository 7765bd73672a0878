//! Who has a PID that holds a lock, in words for an error.

use std::time::Duration;

use super::statements::Reader;
use crate::liveness::{self, or_frozen};
use crate::model::{HolderState, LockHolder, OutOfReach};
use crate::os::{self, Sighting, System};

/// Says who has this PID now, with the help of the registry if it can be read.
pub(crate) fn identify(pid: u32, held_for: Duration, registry: Option<&dyn Reader>) -> LockHolder {
    let unknown = LockHolder {
        pid,
        name: String::new(),
        process_id: None,
        registered_at: None,
        held_for,
        state: HolderState::Unknown,
        out_of_reach: None,
    };
    let Ok(native) = os::native() else { return unknown };
    let sighting = native.look_at(pid);
    let pid_elsewhere = native.pid_elsewhere(pid);
    let holder = LockHolder {
        name: native.command(pid).unwrap_or_default(),
        state: or_frozen(liveness::doing(&sighting), &native, pid),
        out_of_reach: match &sighting {
            _ if pid_elsewhere.is_some() => Some(OutOfReach::AnotherNamespace),
            Sighting::Present(seen) if seen.uid != native.here().uid => Some(OutOfReach::AnotherUser),
            _ => None,
        },
        ..unknown
    };
    let (Sighting::Present(seen), Some(registry)) = (&sighting, registry) else { return holder };
    // In another PID namespace it has registered by the PID that it has there.
    let known = registry.process_by_identity(
        pid_elsewhere.unwrap_or(pid),
        seen.start_ticks,
        native.here(),
        pid_elsewhere.is_none(),
    );
    match known {
        Ok(Some(known)) => LockHolder {
            process_id: Some(known.process_id),
            name: known.name,
            registered_at: Some(known.registered_at),
            ..holder
        },
        // An error here must not hide the one that is being reported.
        Ok(None) | Err(_) => holder,
    }
}
