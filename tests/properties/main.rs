//! Properties that hold whatever is done: of the store against a model of it ([`store`]), of the classifier against
//! the view ([`health`]), of groups of updates ([`group`]), of migrations ([`migration`]).
//!
//! Each tries a few dozen cases; `PROPTEST_CASES=10000 cargo test --release --test properties` tries more. What once
//! failed is in a `*.regressions` file beside its property, and is tried first.

mod dynamics;
mod group;
mod health;
mod migration;
mod model;
mod operation;
mod store;
mod world;

use std::env;

use proptest::test_runner::{Config, FileFailurePersistence};

/// `cases` unless `PROPTEST_CASES` says otherwise.
fn config(cases: u32) -> Config {
    let asked = Config::default();
    Config {
        cases: if env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { cases },
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 2_000, // a case writes a database
        ..asked
    }
}
