//! Processes are killed by the hundred, at random instants and at named points of the code, and nothing is lost.
//!
//! A storm is a run of [`scenes`], and of those about a file, which are SQLite's ([`files`]): real servers and programs
//! that link the library ([`child`]) work on one database until their [`fate`] has come. Once all of them are dead,
//! [`inspection`] compares the database with what they had said: every update that was acknowledged is there, once; the
//! database is sound; a fresh process gets every lock at once; and no place in the registry stays occupied. All that in
//! spite of `limit_policy` `refuse`: newcomers find room among the dead.
//!
//! A kill counts if the process really died of SIGKILL. `cargo test` has some hundred of them; as many as you like:
//!
//! ```sh
//! GOVSTORE_STORM_KILLS=1000 cargo test --test crash_storm -- --nocapture
//! ```
//!
//! It prints its seed; `GOVSTORE_STORM_SEED` makes the same choices again, though not the same instants.
#![cfg(target_os = "linux")]

mod child;
mod fate;
mod files;
mod inspection;
mod scenes;

use std::collections::BTreeMap;
use std::env;
use std::time::Instant;

use fate::HAS_CRASH_POINTS;
use govstore_testkit::{Database, TestResult};
use inspection::Ledger;

/// Kills in a run that nobody asked more of.
const KILLS: usize = 80;

/// Settings of the databases: frequent beats and scans, and no newcomer evicts anybody.
const SETTINGS: [(&str, &str); 2] = [("heartbeat_interval_s", "0.05"), ("limit_policy", "refuse")];

#[test]
fn nothing_is_lost_however_many_processes_are_killed() -> TestResult {
    let kills: usize = number("GOVSTORE_STORM_KILLS")?.unwrap_or(KILLS);
    let seed: u64 = number("GOVSTORE_STORM_SEED")?.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let began = Instant::now();
    let mut storm = Storm::default();
    while storm.kills() < kills {
        storm.rage(&mut random)?;
    }
    let Storm { deaths, acknowledged, untold } = &storm;
    eprintln!("{} kills in {:.1} s:", storm.kills(), began.elapsed().as_secs_f64());
    for (cause, count) in deaths {
        eprintln!("{count:7} {cause}");
    }
    eprintln!(
        "{acknowledged} updates were acknowledged and are there; {untold} more were made and not told."
    );
    assert!(*acknowledged > storm.kills(), "hardly anybody was at work");
    Ok(())
}

/// What a storm has done so far.
#[derive(Default)]
struct Storm {
    /// Kills, by their cause.
    deaths: BTreeMap<String, usize>,
    acknowledged: usize,
    /// Updates that were made and never acknowledged.
    untold: usize,
}

impl Storm {
    /// Every scene, on a new database.
    fn rage(&mut self, random: &mut fastrand::Rng) -> TestResult {
        let database = Database::new(&SETTINGS)?;
        let mut ledger = Ledger::new(&database);
        for round in 0..6 {
            self.count(scenes::at_random(&database, &mut ledger, random)?);
            if round % 2 == 1 {
                ledger.assert_no_place_stays_occupied()?; // in between, newcomers find the rows of the dead
            }
        }
        for _ in 0..2 {
            self.count(files::during_a_checkpoint(&database, &mut ledger)?);
        }
        ledger.assert_no_place_stays_occupied()?;
        self.acknowledged += ledger.acknowledged();
        self.untold += ledger.untold()?;
        if HAS_CRASH_POINTS {
            self.count(scenes::during_a_reaping()?);
            self.count(files::during_a_migration()?);
            self.count(files::during_a_backup(&database)?);
            self.count(files::during_a_restore()?);
        }
        Ok(())
    }

    fn count(&mut self, deaths: scenes::Deaths) {
        for cause in deaths {
            *self.deaths.entry(cause).or_default() += 1;
        }
    }

    fn kills(&self) -> usize {
        self.deaths.values().sum()
    }
}

/// A number from the environment.
fn number<N: std::str::FromStr>(variable: &str) -> Result<Option<N>, String> {
    let given = env::var(variable).ok();
    given.map(|text| text.parse().map_err(|_| format!("{variable} is no number: {text}"))).transpose()
}
