//! The clock that staleness is measured on: it ignores clock steps and stands still while the machine sleeps.

/// Milliseconds on that clock. All processes of one boot share it; another boot starts anew.
#[cfg(all(unix, not(target_vendor = "apple")))]
pub(crate) fn monotonic_ms() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    milliseconds(now.tv_sec, now.tv_nsec)
}

/// The same on Apple's systems, whose `CLOCK_MONOTONIC` goes on while the machine sleeps; `CLOCK_UPTIME_RAW`
/// is the one that does not. Both exist on every version that Rust supports, so the call cannot fail.
#[cfg(target_vendor = "apple")]
pub(crate) fn monotonic_ms() -> i64 {
    let clock = nix::time::ClockId::from_raw(nix::libc::CLOCK_UPTIME_RAW);
    clock.now().map_or(0, |now| milliseconds(now.tv_sec(), now.tv_nsec()))
}

/// Where there is no such clock to be had: the system's uptime, in whole seconds.
#[cfg(not(unix))]
pub(crate) fn monotonic_ms() -> i64 {
    let uptime_s = sysinfo::System::uptime().unwrap_or_default();
    milliseconds(i64::try_from(uptime_s).unwrap_or_default(), 0)
}

fn milliseconds(seconds: impl Into<i64>, nanoseconds: impl Into<i64>) -> i64 {
    seconds.into() * 1_000 + nanoseconds.into() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_at_a_millisecond_a_millisecond() {
        let (clock_before, before) = (monotonic_ms(), std::time::Instant::now());
        std::thread::sleep(std::time::Duration::from_millis(30));
        let went_on = monotonic_ms() - clock_before;
        assert!(went_on >= 29, "{went_on} ms");
        assert!(u128::try_from(went_on).unwrap() <= before.elapsed().as_millis() + 1, "{went_on} ms");
    }
}
