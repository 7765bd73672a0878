//! Everything that is Linux's alone: procfs to look at processes, pidfd to signal them.

use std::fs::File;
use std::io::Read;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{fs, io};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

use super::cgroup;
use super::file_id::{FileId, file_id};
use super::path::with_suffix;
use super::system::{
    Here, Hold, LockKind, NoHold, Parent, Presence, Remains, Remnant, Sighting, Signal, System,
};
use super::system::{gone_or_hidden, parent_pid, signalable};

/// Linux as this process sees it.
pub(crate) struct Linux {
    here: Here,
    /// Whether /proc counts PIDs as this process does. It need not: after `unshare --pid` it shows the
    /// namespace that it was mounted in, and its PIDs mean other processes.
    procfs_is_ours: bool,
}

impl Linux {
    /// Looks who we are.
    pub fn new() -> io::Result<Self> {
        let stat = Stat::read("self")?.ok_or_else(|| io::Error::other("/proc/self/stat is unreadable"))?;
        let machine = Machine::this()?;
        let here = Here {
            host_id: machine.id.clone(),
            boot_id: machine.boot_id.clone(),
            pid_namespace: Some(fs::metadata("/proc/self/ns/pid")?.ino()),
            // A kernel before 5.6 has none: then there is one clock for all.
            time_namespace: fs::metadata("/proc/self/ns/time").ok().map(|found| found.ino()),
            pid: std::process::id(),
            start_ticks: stat.start_ticks,
            uid: Some(rustix::process::getuid().as_raw()),
            sees_open_files: true,
        };
        Ok(Self { procfs_is_ours: stat.pid == here.pid, here })
    }
}

/// What stays the same for as long as any process lives, forked children included, and so is read once.
struct Machine {
    id: Option<String>,
    boot_id: String,
}

impl Machine {
    fn this() -> io::Result<&'static Self> {
        static THIS: OnceLock<Machine> = OnceLock::new();
        if let Some(known) = THIS.get() {
            return Ok(known);
        }
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(THIS.get_or_init(|| Self { id: machine_id(), boot_id }))
    }
}

/// What was seen of a process by its `/proc/PID/stat`, with what its `status` adds.
fn presence(pid: u32, stat: &Stat) -> Presence {
    let status = fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    Presence {
        start_ticks: stat.start_ticks,
        // Its real user. The folder's owner won't do: it is root for processes that may not be dumped.
        uid: status_field(&status, b"Uid:"),
        // A main thread may have ended before the others: then the process goes on.
        exited: matches!(stat.state, b'Z' | b'X' | b'x') && stat.threads <= 1,
        stopped: matches!(stat.state, b'T' | b't'),
        traced: stat.state == b't' || status_field(&status, b"TracerPid:").is_some_and(|tracer| tracer != 0),
    }
}

impl System for Linux {
    fn here(&self) -> &Here {
        &self.here
    }

    fn parent(&self) -> Option<Parent> {
        let pid = parent_pid()?;
        match self.look_at(pid) {
            // Still our parent, so it was alive, and the PID its own, when it was looked at.
            Sighting::Present(seen) if parent_pid() == Some(pid) => {
                Some(Parent { pid, start_ticks: seen.start_ticks })
            }
            _ => None,
        }
    }

    fn look_at(&self, pid: u32) -> Sighting {
        if !self.procfs_is_ours {
            return Sighting::Hidden("/proc shows another PID namespace than ours".to_owned());
        }
        match Stat::read(&pid.to_string()) {
            Ok(Some(stat)) => Sighting::Present(presence(pid, &stat)),
            Ok(None) => Sighting::Hidden(format!("/proc/{pid}/stat is unreadable")),
            // procfs may be mounted so that it hides other users' processes (hidepid).
            Err(e) if is_missing(&e) => gone_or_hidden(pid, "procfs hides it (hidepid)"),
            Err(e) => Sighting::Hidden(format!("/proc/{pid}/stat: {e}")),
        }
    }

    fn command(&self, pid: u32) -> Option<String> {
        if !self.procfs_is_ours {
            return None;
        }
        let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
        Some(String::from_utf8_lossy(name.trim_ascii_end()).into_owned())
    }

    /// Only this user's processes, and never this one.
    fn remains(&self, member: &str, keeper: &str) -> Option<Remains> {
        if !self.procfs_is_ours {
            return None;
        }
        let mut remains = Remains::default();
        for pid in all_pids().filter(|pid| *pid > 1 && *pid != self.here.pid) {
            // Looked at before its environment, so that a later owner of its PID would have to have it as well.
            let Sighting::Present(seen) = self.look_at(pid) else { continue };
            if seen.exited || seen.uid != self.here.uid {
                continue;
            }
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            if has_entry(&environment, keeper) {
                remains.has_keeper = true;
            } else if has_entry(&environment, member) {
                remains.processes.push(Remnant { pid, start_ticks: seen.start_ticks });
            }
        }
        Some(remains)
    }

    fn hold_remnant(&self, remnant: Remnant, member: &str) -> Result<Box<dyn Hold>, NoHold> {
        let pidfd = pidfd_open(signalable(remnant.pid)?, PidfdFlags::empty()).map_err(no_hold)?;
        // If both still match, the pidfd is of that very process, and nobody else's: see `hold`.
        let environment = fs::read(format!("/proc/{}/environ", remnant.pid)).unwrap_or_default();
        let is_member = has_entry(&environment, member);
        if !is_member || self.look_at(remnant.pid).rules_out(remnant.start_ticks) {
            return Err(NoHold::Gone);
        }
        Ok(Box::new(Pidfd(pidfd)))
    }

    fn is_frozen(&self, pid: u32) -> bool {
        self.procfs_is_ours && cgroup::is_frozen(pid)
    }

    fn pid_elsewhere(&self, pid: u32) -> Option<u32> {
        if !self.procfs_is_ours {
            return None;
        }
        pid_elsewhere(&fs::read(format!("/proc/{pid}/status")).ok()?)
    }

    /// From `/proc/locks`. On a file system whose files have another device number for `stat` than for the kernel
    /// (Btrfs), only the inode can be compared, and then the owner must have that very file open.
    ///
    /// `F_GETLK` on the byte would say no more: it too gives a PID as this namespace counts, and 0 for one that can't
    /// be seen from here. And it needs a descriptor of the file, which only a child may open and close: this process
    /// would lose its own locks.
    fn lock_owners(&self, file: &Path, kind: LockKind, bytes: RangeInclusive<u64>) -> Vec<u32> {
        if !self.procfs_is_ours {
            return Vec::new();
        }
        let Ok(metadata) = fs::metadata(file) else { return Vec::new() };
        let device =
            format!("{:02x}:{:02x}", rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
        let locks = all_locks().unwrap_or_default();
        let this_file = file_id(&metadata);
        let of_inode = locks.lines().filter_map(|line| locked_by(line, metadata.ino(), kind, &bytes));
        of_inode
            .filter(|(pid, on)| *on == device || self.has_open(*pid, this_file.as_slice()) == Some(true))
            .map(|(pid, _)| pid)
            .collect()
    }

    fn has_open(&self, pid: u32, files: &[FileId]) -> Option<bool> {
        if !self.procfs_is_ours {
            return None;
        }
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        // To look through the link is not to open the file; that would cost this process its locks on it.
        let open = descriptors.flatten().filter_map(|entry| fs::metadata(entry.path()).ok());
        Some(open.into_iter().any(|found| file_id(&found).is_some_and(|id| files.contains(&id))))
    }

    #[cfg(feature = "postgres")]
    fn has_open_in_memory(&self, pid: u32, name: &str) -> Option<bool> {
        if !self.procfs_is_ours {
            return None;
        }
        let wanted = PathBuf::from(format!("/memfd:{name} (deleted)"));
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        Some(descriptors.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|open| open == wanted)))
    }

    fn users_of(&self, files: &[FileId]) -> Vec<u32> {
        all_pids().filter(|pid| self.has_open(*pid, files) == Some(true)).collect()
    }

    /// Other users' processes can't be looked at.
    fn displaced(&self, database: &Path, wal_index: &Path) -> Vec<u32> {
        if !self.procfs_is_ours {
            return Vec::new();
        }
        let deleted = with_suffix(database, " (deleted)");
        all_pids()
            .filter(|pid| {
                let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
                let open: Vec<PathBuf> = files.filter_map(|file| fs::read_link(file.path()).ok()).collect();
                let has = |name: &Path| open.iter().any(|file| file == name);
                has(&deleted) || (has(wal_index) && !has(database))
            })
            .collect()
    }

    /// Opens a pidfd first and looks second. If the start still matches, the pidfd is of that very process:
    /// had it been of an earlier owner of the PID, that one would have had to end, and could not match; and a
    /// later owner started later.
    fn hold(&self, pid: u32, start_ticks: u64) -> Result<Box<dyn Hold>, NoHold> {
        let pidfd = pidfd_open(signalable(pid)?, PidfdFlags::empty()).map_err(no_hold)?;
        match self.look_at(pid) {
            seen if seen.rules_out(start_ticks) => return Err(NoHold::Gone),
            Sighting::Hidden(reason) => return Err(NoHold::Denied(io::Error::other(reason))),
            _ => {}
        }
        // Who may signal a process may nearly always read this link too; otherwise the row has said it.
        if let Ok(namespace) = fs::metadata(format!("/proc/{pid}/ns/pid"))
            && Some(namespace.ino()) != self.here.pid_namespace
        {
            return Err(NoHold::Denied(io::Error::other("it is in another PID namespace")));
        }
        Ok(Box::new(Pidfd(pidfd)))
    }
}

/// Whether one of the entries of an environment, as /proc shows it, is this one.
fn has_entry(environment: &[u8], entry: &str) -> bool {
    environment.split(|byte| *byte == 0).any(|found| found == entry.as_bytes())
}

/// The processes that /proc shows.
fn all_pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// `machine-id(5)`; a container often has none, or an empty file.
fn machine_id() -> Option<String> {
    let text = fs::read_to_string("/etc/machine-id").ok()?;
    let id = text.trim();
    (!id.is_empty() && id != "uninitialized").then(|| id.to_owned())
}

/// The locks of the whole system. `fs::read_to_string` would begin with reads of 32 bytes, as it does where a file
/// has no size; the kernel counts lines between two reads, so each lock that somebody lets go in the meantime hides
/// another one. A read gets a page of them at once.
fn all_locks() -> io::Result<String> {
    const ROOM_BYTES: usize = 64 << 10;
    let mut locks = String::with_capacity(ROOM_BYTES);
    File::open("/proc/locks")?.read_to_string(&mut locks)?;
    Ok(locks)
}

struct Pidfd(OwnedFd);

impl Hold for Pidfd {
    fn send(&self, signal: Signal) -> Result<(), NoHold> {
        pidfd_send_signal(&self.0, signal.number()).map_err(no_hold)
    }

    fn has_exited(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)]; // readable once the process has ended
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&at_once)).is_ok_and(|ready| ready > 0)
    }
}

/// EINVAL: the PID is now that of a thread, so its owner is gone. ENOSYS: a kernel before 5.3.
fn no_hold(errno: Errno) -> NoHold {
    match errno {
        Errno::SRCH | Errno::INVAL => NoHold::Gone,
        other => NoHold::Denied(other.into()),
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// What we need of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    state: u8,
    threads: u64,
    start_ticks: u64,
}

impl Stat {
    /// `None` if the file is there and says something else than we expect.
    fn read(process: &str) -> io::Result<Option<Self>> {
        Ok(Self::parse(&fs::read(format!("/proc/{process}/stat"))?))
    }

    /// The second field is the command's name in parentheses, and may itself hold spaces and parentheses, so
    /// the fields are counted from the last one on. See `proc_pid_stat(5)`.
    fn parse(stat: &[u8]) -> Option<Self> {
        let open = stat.iter().position(|byte| *byte == b'(')?;
        let close = stat.iter().rposition(|byte| *byte == b')')?;
        let after_name = str::from_utf8(stat.get(close + 1..)?).ok()?;
        let field = |number: usize| after_name.split_ascii_whitespace().nth(number - 3);
        Some(Self {
            pid: str::from_utf8(&stat[..open]).ok()?.trim().parse().ok()?,
            state: *field(3)?.as_bytes().first()?,
            threads: field(20)?.parse().ok()?,
            start_ticks: field(22)?.parse().ok()?,
        })
    }
}

/// The first number of a line of `/proc/PID/status`.
fn status_field(status: &[u8], name: &[u8]) -> Option<u32> {
    status_fields(status, name).next()
}

/// The numbers of a line of `/proc/PID/status`. See `proc_pid_status(5)`.
fn status_fields<'s>(status: &'s [u8], name: &[u8]) -> impl Iterator<Item = u32> + use<'s> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name));
    let text = line.and_then(|line| str::from_utf8(line).ok()).unwrap_or_default();
    text.split_ascii_whitespace().map_while(|number| number.parse().ok())
}

/// The PID that a process has in its own namespace, from its `/proc/PID/status`, if that is another namespace than
/// procfs's: there is a number for each from the one to the other.
fn pid_elsewhere(status: &[u8]) -> Option<u32> {
    status_fields(status, b"NSpid:").skip(1).last()
}

/// The owner of the lock in one line of `/proc/locks`, and the device that it is on, if the lock is of this kind, on
/// one of these bytes of a file with that inode. See `proc_locks(5)`:
/// `1: POSIX  ADVISORY  WRITE 4711 08:01:131072 120 120`. A line with `->` is a waiter.
fn locked_by<'l>(
    line: &'l str,
    inode: u64,
    kind: LockKind,
    bytes: &RangeInclusive<u64>,
) -> Option<(u32, &'l str)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, "POSIX", _, access, pid, locked, start, end] = fields[..] else { return None };
    let wanted = match kind {
        LockKind::Read => "READ",
        LockKind::Write => "WRITE",
    };
    let (device, locked_inode) = locked.rsplit_once(':')?;
    let end = if end == "EOF" { u64::MAX } else { end.parse().ok()? };
    let meets = start.parse::<u64>().ok()? <= *bytes.end() && *bytes.start() <= end;
    let is_wanted = access == wanted && locked_inode.parse() == Ok(inode) && meets;
    let pid = pid.parse().ok().filter(|pid| is_wanted && *pid > 0)?;
    Some((pid, device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_of_a_write_lock_on_that_byte_is_named() {
        let of = |line: &'static str| locked_by(line, 10_281_008, LockKind::Write, &(120..=120));
        assert_eq!(of("1: POSIX  ADVISORY  WRITE 21225 fe:00:10281008 120 120"), Some((21225, "fe:00")));
        assert_eq!(of("13: POSIX  ADVISORY  WRITE 7 00:2b:10281008 0 EOF"), Some((7, "00:2b")));
        for other in [
            "1: -> POSIX  ADVISORY  WRITE 21225 fe:00:10281008 120 120",
            "2: POSIX  ADVISORY  READ 21225 fe:00:10281008 120 120",
            "3: POSIX  ADVISORY  WRITE 21225 fe:00:10281008 121 128",
            "4: POSIX  ADVISORY  WRITE 21225 fe:00:10281009 120 120",
            "6: OFDLCK ADVISORY  WRITE -1 fe:00:10281008 120 120",
            "7: FLOCK  ADVISORY  WRITE 21225 fe:00:10281008 0 EOF",
            "8: POSIX  ADVISORY  WRITE 0 fe:00:10281008 120 120",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn readers_are_those_with_a_read_lock_on_one_of_the_marks() {
        let of = |line: &'static str| locked_by(line, 10_281_008, LockKind::Read, &(123..=127));
        assert_eq!(of("1: POSIX  ADVISORY  READ 21225 fe:00:10281008 124 124"), Some((21225, "fe:00")));
        assert_eq!(of("1: POSIX  ADVISORY  READ 21225 fe:00:10281008 120 EOF"), Some((21225, "fe:00")));
        for other in [
            "1: POSIX  ADVISORY  READ 21225 fe:00:10281008 128 128", // the lock of all who have it open
            "2: POSIX  ADVISORY  READ 21225 fe:00:10281008 120 122",
            "3: POSIX  ADVISORY  WRITE 21225 fe:00:10281008 124 124",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let fields = "R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 7 0 98765 21 22";
        for name in ["server", "a (b) c", "x) Z 0 0", ") (", "\u{e9}"] {
            let stat = Stat::parse(format!("42 ({name}) {fields}\n").as_bytes());
            assert_eq!(stat, Some(Stat { pid: 42, state: b'R', threads: 7, start_ticks: 98765 }), "{name}");
        }
        assert_eq!(Stat::parse(b"42 (server"), None);
        assert_eq!(Stat::parse(b""), None);
        assert_eq!(Stat::parse(b"42 (server) R 1"), None);
    }

    #[test]
    fn a_status_tells_the_user_and_the_pid_in_a_container() {
        let plain = b"Name:\tUid: 7\nTracerPid:\t0\nUid:\t1000\t0\t0\t0\nNSpid:\t4711\n";
        assert_eq!((status_field(plain, b"Uid:"), pid_elsewhere(plain)), (Some(1_000), None));
        assert_eq!(pid_elsewhere(b"Uid:\t0\nNSpid:\t4711\t30\t7\n"), Some(7));
        for other in [&b"NSpid:\tmany\n"[..], b"NSpid:", b""] {
            assert_eq!(pid_elsewhere(other), None);
        }
    }

    #[test]
    fn this_process_knows_itself() -> io::Result<()> {
        let linux = Linux::new()?;
        let Sighting::Present(me) = linux.look_at(std::process::id()) else { panic!("not seen") };
        assert_eq!(me.start_ticks, linux.here().start_ticks);
        assert_eq!(me.uid, linux.here().uid);
        assert!(!me.exited && !me.stopped);
        Ok(())
    }
}
