//! A client whose answer was lost makes its update again under the same key, until it is told: each update is then there
//! once, whatever was killed, cut off or cancelled meanwhile. (`faults` has what failing disks leave.)
//!
//! `cargo test` has some dozens of each; as many as you like:
//!
//! ```sh
//! GOVSTORE_STORM_KILLS=1000 GOVSTORE_STORM_CALLS=10000 cargo test --test retries
//! ```
#![cfg(target_os = "linux")]

mod groups;
mod lost_answers;

use std::collections::BTreeMap;

use govstore_testkit::{Database, TestResult};

/// How often, unless the environment asks for more.
fn times(variable: &str, usually: usize) -> usize {
    std::env::var(variable).ok().and_then(|times| times.parse().ok()).unwrap_or(usually)
}

/// Each of these keys is there once, and nothing else is.
fn assert_each_once(database: &Database, keys: &[String]) -> TestResult {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for row in database.rows("SELECT coalesce(key, 'an update without a key') FROM agent_updates")? {
        *found.entry(row[0].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let expected: BTreeMap<String, usize> = keys.iter().map(|key| (key.clone(), 1)).collect();
    let lost = expected.keys().filter(|key| !found.contains_key(*key)).count();
    let made_twice = found.values().filter(|times| **times > 1).count();
    assert_eq!((lost, made_twice), (0, 0), "lost, made twice");
    assert_eq!(found, expected);
    database.assert_numbered_without_gaps()?;
    database.assert_sound()
}
