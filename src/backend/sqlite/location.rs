//! Whether a database may be used where it is.
//!
//! SQLite keeps the log of a database beside the name that it was opened by, and the index of the log in memory
//! that processes share. So two things cost acknowledged updates without a word: a file that is opened by two
//! names, each with a log of its own, and a file system whose users don't share memory. Both are refused before
//! the file is touched, and so is what isn't a file. Nothing is opened to find out: to close it again would cost
//! this process its locks.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::staging_file::{self, SIDE_FILES, folder_of};
use crate::error::{Error, Result};
use crate::os::{file_id, with_suffix};

/// What is put between the name of a database and the time when a restore replaced it.
const REPLACED: &str = ".replaced-";

/// File systems that others than the processes of this machine may write to, by their magic numbers, `statfs(2)`.
#[cfg(target_os = "linux")]
const SHARED_FILE_SYSTEMS: [(u32, &str); 21] = [
    (0x6573_5546, "FUSE or virtiofs"), // sshfs and the like; the folders that a virtual machine shares with its host
    (0x0102_1997, "9P"),               // the same: WSL's /mnt/c, QEMU, gVisor
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x564c, "NCP"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x1983_0326, "BeeGFS"),
    (0x4750_4653, "GPFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0xaad7_aaea, "PanFS"),
    (0xbeef_dead, "StorNext"),
    (0x786f_4256, "a VirtualBox share"),
    (0xbacb_acbc, "a VMware share"),
    (0x7c7c_6673, "a Parallels share"),
];

/// Refuses a folder on a file system that others than the processes of this machine may write to.
pub(super) fn refuse_shared_file_system(folder: &Path, database: &Path) -> Result<()> {
    match shared_file_system(folder) {
        Ok(Some(kind)) => Err(Error::SharedFileSystem { path: database.to_owned(), kind }),
        _ => Ok(()), // a folder that isn't there is for others to complain of
    }
}

/// Which file system that is shared with other machines a path lies on; `None` if it is a local one.
#[cfg(target_os = "linux")]
pub(super) fn shared_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    let magic = u32::try_from(rustix::fs::statfs(path)?.f_type).unwrap_or_default();
    Ok(SHARED_FILE_SYSTEMS.iter().find(|(known, _)| *known == magic).map(|(_, kind)| *kind))
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
pub(super) fn shared_file_system(_path: &Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}

/// Refuses a database that goes by two names. `real` is its path without symbolic links.
pub(super) fn refuse_other_names(real: &Path, force_hard_link: bool) -> Result<()> {
    if is_mount_point(real) {
        return Err(Error::MountPoint { path: real.to_owned() });
    }
    let others = other_names(real);
    if others == 0 {
        return Ok(()); // nearly always
    }
    let of_restores = remove_names_of_cut_off_restores(real);
    // Two looks, since a restore may give a name or take one meanwhile.
    let others = others.min(other_names(real));
    if others > of_restores && !force_hard_link {
        return Err(Error::HardLinked { path: real.to_owned(), others });
    }
    Ok(())
}

/// Refuses anything but files in the places where SQLite keeps files beside a database. It would wait for ever for
/// somebody to write into a pipe.
pub(super) fn refuse_odd_side_files(real: &Path) -> Result<()> {
    for path in SIDE_FILES.map(|suffix| with_suffix(real, suffix)) {
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.is_file() => {
                let kind = kind_of(&found);
                return Err(Error::OddSideFile { path, kind });
            }
            _ if is_mount_point(&path) => return Err(Error::MountPoint { path }),
            _ => {}
        }
    }
    Ok(())
}

fn kind_of(found: &Metadata) -> &'static str {
    if found.is_dir() {
        "a folder"
    } else if found.is_symlink() {
        "a symbolic link"
    } else {
        "a pipe, a socket or a device"
    }
}

/// Whether another file was mounted over this name. Kernels before 5.8 don't tell.
#[cfg(target_os = "linux")]
fn is_mount_point(path: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    found.is_ok_and(|found| {
        (found.stx_attributes & found.stx_attributes_mask).contains(StatxAttributes::MOUNT_ROOT)
    })
}

#[cfg(not(target_os = "linux"))]
fn is_mount_point(_path: &Path) -> bool {
    false
}

/// How many hard links the file has beside this one.
#[cfg(unix)]
pub(super) fn other_names(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;

    fs::metadata(path).map_or(0, |found| found.nlink().saturating_sub(1))
}

#[cfg(not(unix))]
pub(super) fn other_names(_path: &Path) -> u64 {
    0
}

/// Removes the second name that a restore gave to the database and didn't live to use. Returns how many such names
/// are there that are in use.
///
/// A restore gives that name on purpose, just before the backup gets the first one, and must not lose it then: it
/// would be the last name of the old database. It is safe to remove because of the order of three looks. First the
/// names are listed; then it is made sure that no restore is under way, which holds a lock on its partial file from
/// before it gives the name until the backup is in place; and then a name is removed only if it still means the same
/// file as the database does. So the restore that gave a listed name is over by the second look. If it got through,
/// the two names mean different files at the third. If it didn't, the name is left over; and a restore that begins
/// after the second look gives the old database another name, which isn't on the list.
///
/// Where a restore is under way the names are let be. A process that opens the database then waits for that restore's lock on
/// it, and finds out what has become of the file.
///
/// A name that has a log of its own is let be as well, and the database is refused for it: a restore moves the log of a
/// database along that is too damaged to be opened, and without that log it lacks its newest updates.
fn remove_names_of_cut_off_restores(real: &Path) -> u64 {
    let mut names = names_of_replaced(real).unwrap_or_default();
    names.retain(|name| is_same_file(real, name));
    if staging_file::is_any_under_way(real).unwrap_or(true) {
        return names.len() as u64;
    }
    for name in names {
        let has_log = ["-wal", "-journal"].iter().any(|suffix| with_suffix(&name, suffix).exists());
        if !has_log && is_same_file(real, &name) {
            let _ = fs::remove_file(&name); // where it can't be removed, the database is refused for it
        }
    }
    0
}

/// Names beside the database under which restores keep the databases that they replaced.
fn names_of_replaced(real: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(file_name) = real.file_name() else { return Ok(Vec::new()) };
    let is_replaced = |name: &[u8]| {
        name.strip_prefix(file_name.as_encoded_bytes())
            .and_then(|rest| rest.strip_prefix(REPLACED.as_bytes()))
            .is_some_and(|time| time.iter().all(|byte| byte.is_ascii_digit() || b"TZ.-".contains(byte)))
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder_of(real))? {
        let entry = entry?;
        if is_replaced(entry.file_name().as_encoded_bytes()) {
            names.push(entry.path());
        }
    }
    Ok(names)
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| file_id(&fs::symlink_metadata(path).ok()?);
    id(one).is_some_and(|one| id(other) == Some(one))
}
