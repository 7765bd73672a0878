//! Whatever a data folder of v1.0.3 holds, importing it succeeds or says why not; what was imported is sound and goes
//! on, and importing it again changes nothing.
//!
//! An input is the files of the folder, one after the other, each after a line `=== NAME`; what comes before the
//! first such line is `agent_metadata.json`.
#![no_main]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use govstore::{Lifecycle, Update};
use govstore_fuzz::{Scratch, assert_sound};
use libfuzzer_sys::fuzz_target;

const BEGINS_FILE: &[u8] = b"\n=== ";

fuzz_target!(|input: &[u8]| {
    let scratch = Scratch::get();
    let store = scratch.store();
    let folder = scratch.folder().join("data");
    fs::create_dir(&folder).expect("a folder");
    for (name, contents) in files(input) {
        let _ = fs::write(folder.join(OsStr::from_bytes(name)), contents); // some names are too long
    }

    let Ok(report) = store.import_v1(&folder) else { return };
    assert_sound(&store);
    for remark in &report.remarks {
        assert!(!remark.reason.is_empty(), "{remark:?}");
    }
    let again = store.import_v1(&folder).expect("a folder that was imported");
    assert_eq!(again.imported, []);
    assert_eq!(again.unchanged.len(), report.imported.len() + report.unchanged.len());
    for imported in &report.imported {
        let agent = store.agent(&imported.agent_id).expect("it was imported");
        assert_eq!(agent.total_updates, imported.total_updates);
        let history = store.history(&imported.agent_id, None).expect("its history");
        assert_eq!(history.len(), imported.history_rows);
        let updated = store.process_update(&imported.agent_id, &Update::default());
        match imported.lifecycle_status {
            Lifecycle::Active => {
                let report = updated.expect("an active agent goes on");
                assert_eq!(report.metrics.total_updates, imported.total_updates + 1);
            }
            _ => assert!(updated.is_err(), "{imported:?}"),
        }
    }
    assert_sound(&store);
});

/// The files of an input, by name. A name is one that a folder can have.
fn files(input: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut files = Vec::new();
    let (mut name, mut rest) = (&b"agent_metadata.json"[..], input);
    loop {
        let end = rest.windows(BEGINS_FILE.len()).position(|window| window == BEGINS_FILE);
        let (contents, next) = rest.split_at(end.unwrap_or(rest.len()));
        let usable =
            !name.is_empty() && name != b"." && name != b".." && !name.contains(&0) && !name.contains(&b'/');
        if usable {
            files.push((name, contents));
        }
        let Some(next) = next.strip_prefix(BEGINS_FILE) else { return files };
        let line_end = next.iter().position(|byte| *byte == b'\n').unwrap_or(next.len());
        name = &next[..line_end];
        rest = next.get(line_end + 1..).unwrap_or_default();
    }
}
