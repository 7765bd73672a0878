//! Who has the database's files open, as far as the system tells.

use std::path::Path;

/// PIDs of other processes that read an older state of the database, through which its log can't start over.
#[cfg(target_os = "linux")]
pub(crate) fn readers(database: &Path) -> Vec<u32> {
    use std::os::unix::fs::MetadataExt;

    // A reader locks one of five bytes of the -shm file. See "WAL-Index Locks" in
    // https://sqlite.org/walformat.html.
    const READ_MARKS: std::ops::RangeInclusive<u64> = 123..=127;

    let Ok(shm) = std::fs::metadata(super::holder::wal_index(database)) else { return Vec::new() };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut pids: Vec<u32> = locks
        .lines()
        .filter_map(|line| {
            // 1: POSIX ADVISORY READ 1234 fd:01:5678 124 124
            let mut fields = line.split_ascii_whitespace().skip(4);
            let pid = fields.next()?.parse().ok()?;
            let inode: u64 = fields.next()?.rsplit(':').next()?.parse().ok()?;
            let first: u64 = fields.next()?.parse().ok()?;
            (inode == shm.ino() && READ_MARKS.contains(&first)).then_some(pid)
        })
        .filter(|pid| *pid != std::process::id())
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// PIDs of processes that have a file open which was the database once and is no longer: it was moved, deleted or
/// replaced under them. Other users' processes can't be looked at.
#[cfg(target_os = "linux")]
pub(crate) fn displaced(database: &Path) -> Vec<u32> {
    use std::ffi::OsString;

    let Ok(database) = database.canonicalize() else { return Vec::new() };
    let deleted = crate::store::beside(&database, " (deleted)");
    let shm = super::holder::wal_index(&database);
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let open: Vec<OsString> =
            files.filter_map(|file| Some(std::fs::read_link(file.path()).ok()?.into_os_string())).collect();
        let has = |name: &Path| open.iter().any(|file| file == name.as_os_str());
        has(&deleted) || (has(&shm) && !has(&database))
    })
    .collect()
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn readers(_database: &Path) -> Vec<u32> {
    Vec::new()
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn displaced(_database: &Path) -> Vec<u32> {
    Vec::new()
}
