//! Containers of servers that have ended.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at the program that removes it.
const POLL: Duration = Duration::from_millis(20);

/// Longest content of an id file, in bytes.
const LONGEST_ID_FILE: u64 = 128;

/// Length of a container's id, in hexadecimal digits.
const ID_LENGTH: usize = 64;

/// Removes the container whose id is in `id_file`, by `runtime` (`docker` or `podman`), and the file. `false` if there is
/// none: the file was never written.
pub(crate) fn remove_container(runtime: &str, id_file: &Path, patience: Duration) -> io::Result<bool> {
    let Some(id) = id_in(id_file)? else { return Ok(false) };
    let mut child = Command::new(runtime)
        .args(["rm", "-f", &id])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot run {runtime}: {error}")))?;
    let until = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("`{runtime} rm -f {id}` took longer than {patience:?}"),
            ));
        }
        thread::sleep(POLL);
    };
    let mut complaint = String::new();
    // Only where it failed: what it has left running may hold the other end.
    if let Some(stderr) = child.stderr.as_mut().filter(|_| !status.success()) {
        stderr.take(4_096).read_to_string(&mut complaint)?;
    }
    if !status.success() && !complaint.to_lowercase().contains("no such container") {
        return Err(io::Error::other(format!("`{runtime} rm -f {id}`: {}", complaint.trim())));
    }
    fs::remove_file(id_file)?;
    Ok(true)
}

/// The id in a file, which has to be this user's: what it says is done.
fn id_in(id_file: &Path) -> io::Result<Option<String>> {
    let metadata = match fs::symlink_metadata(id_file) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !metadata.is_file() || metadata.len() > LONGEST_ID_FILE || !is_own(&metadata) {
        return Err(io::Error::other(format!("{} is no file with the id of a container", id_file.display())));
    }
    let content = fs::read_to_string(id_file)?;
    let id = content.trim();
    if id.is_empty() {
        return Ok(None); // the runtime was about to write it, and made no container
    }
    // Runtimes write all of it. Whatever is shorter may be somebody else's, as a commit in a file of Git: it would be removed.
    if id.len() != ID_LENGTH || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(io::Error::other(format!("{} has no id of a container in it", id_file.display())));
    }
    Ok(Some(id.to_owned()))
}

#[cfg(unix)]
fn is_own(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.uid() == rustix::process::getuid().as_raw()
}

#[cfg(not(unix))]
const fn is_own(_metadata: &fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_id_is_taken_for_one() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("id");
        assert_eq!(id_in(&file)?, None, "there is no file");
        let whole = "0123456789abcdef".repeat(4);
        for (content, id) in
            [(String::new(), None), (whole.clone(), Some(&whole)), (format!("{whole}\n"), Some(&whole))]
        {
            fs::write(&file, content)?;
            assert_eq!(id_in(&file)?.as_ref(), id);
        }
        let commit = &whole[..40];
        for other in [
            commit,
            &format!("-{}", &whole[1..]),
            &format!("{whole}0"),
            &format!("{commit} {}", &whole[41..]),
        ] {
            fs::write(&file, other)?;
            assert!(id_in(&file).is_err(), "{other}");
        }
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_not_followed_to_an_id() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (file, link) = (folder.path().join("id"), folder.path().join("link"));
        fs::write(&file, "0123456789abcdef".repeat(4))?;
        std::os::unix::fs::symlink(&file, &link)?;
        assert!(id_in(&link).is_err());
        Ok(())
    }
}
