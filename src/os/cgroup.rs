//! Whether a process is frozen by its cgroup, as by `docker pause`. Read only.
//!
//! Such a process is in state `S` or `D` like one that waits, so its cgroup must be asked: `cgroup.events` in version 2,
//! `freezer.state` in version 1. Both count a frozen ancestor. See `cgroups(7)`.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Whether the cgroup of a process is frozen, or is being frozen; `false` where that can't be known.
pub(crate) fn is_frozen(pid: u32) -> bool {
    let (Ok(cgroups), Ok(mounts)) =
        (fs::read_to_string(format!("/proc/{pid}/cgroup")), fs::read_to_string("/proc/self/mountinfo"))
    else {
        return false;
    };
    freezers(&cgroups, &mounts)
        .into_iter()
        .any(|freezer| fs::read_to_string(freezer).is_ok_and(|state| says_frozen(&state)))
}

/// The files that tell whether the members of these cgroups are frozen: `cgroups` is `/proc/PID/cgroup`, `mounts` is
/// `/proc/self/mountinfo`.
fn freezers(cgroups: &str, mounts: &str) -> Vec<PathBuf> {
    let files = cgroups.lines().filter_map(|line| {
        // `6:freezer:/path` in version 1, `0::/path` in version 2
        let (_, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        let (kind, file) = match controllers {
            "" => ("cgroup2", "cgroup.events"),
            _ if controllers.split(',').any(|controller| controller == "freezer") => {
                ("cgroup", "freezer.state")
            }
            _ => return None,
        };
        let (root, mounted_at) = mounts.lines().find_map(|mount| mounted(mount, kind))?;
        // Outside of what is mounted, the path can't be followed: it leads somewhere else, or begins with "/..".
        let below = Path::new(path).strip_prefix(root).ok()?;
        let leads_out = below.components().any(|part| part == Component::ParentDir);
        (!leads_out).then(|| Path::new(mounted_at).join(below).join(file))
    });
    files.collect()
}

/// Root and place of a mounted hierarchy of that kind that can freeze, from a line such as
/// `37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime shared:9 - cgroup cgroup rw,freezer`. See `proc_pid_mountinfo(5)`.
fn mounted<'l>(line: &'l str, kind: &str) -> Option<(&'l str, &'l str)> {
    let (place, file_system) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, mounted_at) = (place.next()?, place.next()?);
    let mut file_system = file_system.split(' ');
    let (found, options) = (file_system.next()?, file_system.nth(1)?);
    let can_freeze = kind == "cgroup2" || options.split(',').any(|option| option == "freezer");
    (found == kind && can_freeze).then_some((root, mounted_at))
}

/// Whether that is what such a file says of frozen ones: `frozen 1` on a line of its own, `FROZEN` or `FREEZING`.
fn says_frozen(state: &str) -> bool {
    state.lines().any(|line| matches!(line.trim(), "frozen 1" | "FROZEN" | "FREEZING"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
34 31 0:31 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime shared:9 - cgroup cgroup rw,freezer
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";

    #[test]
    fn the_files_to_ask_are_found_in_both_versions() {
        let of = |cgroups, mounts| {
            let files = freezers(cgroups, mounts).into_iter();
            files.map(|file| file.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            of("7:cpu:/a\n6:freezer:/docker/4f\n0::/docker/4f", BOTH),
            [
                "/sys/fs/cgroup/freezer/docker/4f/freezer.state",
                "/sys/fs/cgroup/unified/docker/4f/cgroup.events"
            ]
        );
        assert_eq!(of("6:cpu,freezer:/", BOTH), ["/sys/fs/cgroup/freezer/freezer.state"]);
        let only_2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
        let scope = "0::/system.slice/docker-4f.scope";
        assert_eq!(of(scope, only_2), ["/sys/fs/cgroup/system.slice/docker-4f.scope/cgroup.events"]);
        assert_eq!(of("6:freezer:/a", only_2), [""; 0]);
        let in_a_container = "30 24 0:26 /docker/4f /sys/fs/cgroup ro - cgroup2 cgroup ro";
        assert_eq!(of("0::/docker/4f/b", in_a_container), ["/sys/fs/cgroup/b/cgroup.events"]);
        assert_eq!(of("0::/docker/4f5a", in_a_container), [""; 0], "another container's");
        assert_eq!(of("0::/../5a", only_2), [""; 0], "outside of this cgroup namespace");
        for nonsense in ["", "6", "6:freezer", "::::", "\n\n"] {
            assert_eq!(of(nonsense, BOTH), [""; 0], "{nonsense}");
        }
        assert_eq!(of("0::/a", "41 31 0:38 / - cgroup2"), [""; 0]);
    }

    #[test]
    fn frozen_is_what_both_versions_say() {
        for frozen in ["populated 1\nfrozen 1\n", "FROZEN\n", "FREEZING\n"] {
            assert!(says_frozen(frozen), "{frozen}");
        }
        for not in ["populated 1\nfrozen 0\n", "THAWED\n", "", "frozen 10"] {
            assert!(!says_frozen(not), "{not}");
        }
    }
}
