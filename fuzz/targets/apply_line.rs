//! Whatever the lines of `govstore apply` hold, each is applied or refused with a reason, and the database is sound.
#![no_main]

use govstore_fuzz::{Scratch, assert_sound};
use govstore_mcp::lines::Lines;
use govstore_mcp::update_line;
use libfuzzer_sys::fuzz_target;

/// Short of the real one, so that an input can have a line that is too long.
const MAX_BYTES: usize = 4 << 10;

fuzz_target!(|input: &[u8]| {
    assert!(MAX_BYTES < update_line::MAX_BYTES);
    let mut updates = Vec::new();
    let mut lines = Lines::new(input, MAX_BYTES);
    while let Some(line) = lines.read_next().expect("a slice can be read") {
        match update_line::parse(&line) {
            Ok(update) => updates.extend(update),
            Err(reason) => assert!(!reason.is_empty() && !reason.contains(" at line "), "{reason}"),
        }
    }
    assert_eq!(lines.bytes_read(), input.len() as u64);
    if updates.is_empty() {
        return; // the database is the slow part
    }
    let store = Scratch::get().store();
    for (agent_id, update) in &updates {
        let before = store.agent(agent_id).map_or(0, |agent| agent.total_updates);
        match store.process_update(agent_id, update) {
            Ok(report) => assert_eq!(report.metrics.total_updates, before + 1),
            Err(refused) => assert!(!refused.to_string().is_empty()),
        }
    }
    assert_sound(&store);
});
