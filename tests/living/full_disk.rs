//! The same outage, because the disk is full: as SQLite meets it, in its log.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::outage::{nobody_is_harmed, one_that_hangs_is_ended};
use govstore_testkit::{Database, TestResult, can, test_server, test_worker};

/// Set where this test runs itself again on a small disk.
const SMALL_DISK: &str = "GOVSTORE_TEST_SMALL_DISK";

fn full(database: &Database) -> TestResult<Box<dyn FnOnce()>> {
    // The log would go on where it has room already: it is cut off, and while somebody reads, it can't begin anew.
    let reader = database.sql()?;
    reader.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    reader.execute_batch("BEGIN; SELECT count(*) FROM agents;")?;
    let filler = database.folder().join("filler");
    fill(&filler);
    Ok(Box::new(move || {
        fs::remove_file(filler).expect("it was written");
        drop(reader);
    }))
}

/// Makes a file as large as fits.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    while file.write_all(&[0; 512]).is_ok() {}
}

/// Runs a test again on a small disk of its own, and returns whether this is that run.
fn is_on_a_small_disk(name: &str) -> TestResult<bool> {
    if env::var_os(SMALL_DISK).is_some() {
        return Ok(true);
    }
    let folder = tempfile::tempdir()?;
    // There is room for the log, which is checkpointed at 4 MB.
    let mount = "mount -t tmpfs -o size=16m none \"$0\"";
    let namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"];
    let there = folder.path().to_str().ok_or("a path of plain characters")?;
    if !can("a mount namespace", &[&namespace[..], &[mount, there]].concat()) {
        return Ok(false);
    }
    let (_, _) = (test_server(), test_worker()); // they are built on a larger one
    let mut command = Command::new(namespace[0]);
    command.args(&namespace[1..]).arg(format!("{mount} && exec \"$@\"")).arg(there);
    command.arg(env::current_exe()?).args(["--exact", name, "--nocapture"]);
    let output = command.env(SMALL_DISK, "1").env("TMPDIR", folder.path()).output()?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    eprintln!("{said}");
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    Ok(false)
}

macro_rules! fleets {
    ($($name:ident: $count:literal;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn nobody_is_harmed_once_a_full_disk_has_room() -> TestResult {
                let name = concat!("full_disk::", stringify!($name), "::nobody_is_harmed_once_a_full_disk_has_room");
                if is_on_a_small_disk(name)? { nobody_is_harmed($count, full) } else { Ok(()) }
            }

            #[test]
            fn one_that_hangs_is_ended_once_a_full_disk_has_room() -> TestResult {
                let name = concat!("full_disk::", stringify!($name), "::one_that_hangs_is_ended_once_a_full_disk_has_room");
                if is_on_a_small_disk(name)? { one_that_hangs_is_ended($count, full) } else { Ok(()) }
            }
        }
    )*};
}

fleets! {
    of_one: 1;
    of_two: 2;
    of_four: 4;
    of_eight: 8;
}
