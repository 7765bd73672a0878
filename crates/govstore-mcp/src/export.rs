//! Files in the export folder, and nowhere else.
//!
//! Names come from models. A name with a path in it is refused rather than mended, and an agent's id, which
//! may be any visible text, is made into a name by replacing what is not a letter, a digit, `-`, `_` or `.`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::history::Format;
use super::refusal::Refusal;

/// The longest name, in bytes, that leaves room for an ending on every file system.
pub const NAME_MAX_BYTES: usize = 200;

/// Different files that one default name may stand for within a second.
const SAME_SECOND_MAX: u32 = 1_000;

/// An export that was written.
#[derive(Debug)]
pub struct Exported {
    pub path: PathBuf,
    pub filename: String,
    pub bytes: u64,
}

/// Writes `text` as `name` in `folder`, in place of a file that was there.
pub fn write_named(folder: &Path, name: &str, format: Format, text: &str) -> Result<Exported, Refusal> {
    let extension = format.extension();
    let stem = name.strip_suffix(extension).and_then(|name| name.strip_suffix('.')).unwrap_or(name);
    check(stem).map_err(|reason| Refusal::Argument(format!("filename: {reason}")))?;
    let filename = format!("{stem}.{extension}");
    save(folder, filename, text).map_err(|source| refusal(folder, source))
}

/// Writes `text` under a name made of the agent and the time, which no other file has.
pub fn write_dated(
    folder: &Path,
    agent_id: &str,
    at: DateTime<Utc>,
    format: Format,
    text: &str,
) -> Result<Exported, Refusal> {
    reserve(folder, agent_id, at, format)
        .and_then(|filename| save(folder, filename, text))
        .map_err(|source| refusal(folder, source))
}

fn refusal(folder: &Path, source: io::Error) -> Refusal {
    Refusal::Export { path: folder.display().to_string(), source }
}

/// Says what is wrong with a name that a model chose.
fn check(stem: &str) -> Result<(), &'static str> {
    if stem.is_empty() {
        Err("is empty; leave it out for a name made of the agent and the time")
    } else if stem.len() > NAME_MAX_BYTES {
        Err("is longer than 200 bytes")
    } else if stem.contains(['/', '\\', ':']) {
        Err("is a path; give a name alone, the file goes into the export folder")
    } else if stem.starts_with('.') {
        Err("begins with a dot")
    } else if stem.chars().any(char::is_control) {
        Err("has control characters in it")
    } else {
        Ok(())
    }
}

/// An agent's id as a part of a file name: without anything that a file system or a shell reads as more.
fn safe(agent_id: &str) -> String {
    let mut name = String::new();
    for c in agent_id.chars() {
        let c = if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
        let c = if name.is_empty() && matches!(c, '.' | '-') { '_' } else { c };
        if name.len() + c.len_utf8() > NAME_MAX_BYTES - "_history_20251119_204109_1000".len() {
            break;
        }
        name.push(c);
    }
    name
}

/// Makes an empty file that nobody else has, so that two exports within a second are two files.
fn reserve(folder: &Path, agent_id: &str, at: DateTime<Utc>, format: Format) -> io::Result<String> {
    create_folder(folder)?;
    let stem = format!("{}_history_{}", safe(agent_id), at.format("%Y%m%d_%H%M%S"));
    for n in 1..=SAME_SECOND_MAX {
        let again = if n == 1 { String::new() } else { format!("_{n}") };
        let filename = format!("{stem}{again}.{}", format.extension());
        match create_new(&folder.join(&filename)) {
            Ok(_) => return Ok(filename),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Writes under a temporary name, for its owner alone, and renames, so that a reader sees the whole file or the one
/// before.
fn save(folder: &Path, filename: String, text: &str) -> io::Result<Exported> {
    create_folder(folder)?;
    let path = folder.join(&filename);
    let mut file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(Exported { path, filename, bytes: text.len() as u64 })
}

/// Makes the folder, or finds it. One that somebody has put a link in the place of would lead elsewhere.
fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    if fs::symlink_metadata(folder)?.is_dir() {
        return Ok(());
    }
    let what_to_do = "the export folder is a link or no folder, and exports would go elsewhere; remove it";
    Err(io::Error::new(io::ErrorKind::NotADirectory, what_to_do))
}

/// Creates a file that only its owner may read; never opens one that is there, or what a link points at.
fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    type TestResult = Result<(), Box<dyn Error>>;

    #[test]
    fn a_name_with_a_path_in_it_is_refused_and_nothing_is_written() -> TestResult {
        let home = tempfile::tempdir()?;
        let folder = home.path().join("exports");
        let long = "x".repeat(NAME_MAX_BYTES + 1);
        for bad in ["", "../up", "/etc/passwd", "a/b", "a\\b", "C:x", ".hidden", "..", "a\nb", "a\0b", &long]
        {
            let refused = write_named(&folder, bad, Format::Json, "{}");
            assert!(matches!(refused, Err(Refusal::Argument(_))), "{bad:?}");
        }
        assert!(!folder.exists());
        let written = write_named(&folder, "v1.0.3 – report.csv", Format::Csv, "a,b")?;
        assert_eq!(written.filename, "v1.0.3 – report.csv", "the ending is not put on twice");
        Ok(())
    }

    #[test]
    fn an_agent_id_can_not_leave_the_folder_or_overwrite_another_export() -> TestResult {
        let home = tempfile::tempdir()?;
        let folder = home.path().join("exports");
        let at = "2025-11-19T20:41:09Z".parse()?;
        let mut names = Vec::new();
        for agent_id in ["../../evil", "../../evil", "a b", "a/b", "été", &"語".repeat(128)] {
            let written = write_dated(&folder, agent_id, at, Format::Json, agent_id)?;
            assert_eq!(written.path.parent(), Some(folder.as_path()));
            names.push(written.filename);
        }
        assert_eq!(names[0], "_._.._evil_history_20251119_204109.json");
        assert_eq!(names[1], "_._.._evil_history_20251119_204109_2.json");
        assert_eq!(names[2], "a_b_history_20251119_204109.json");
        assert_eq!(names[3], "a_b_history_20251119_204109_2.json");
        assert_eq!(names[4], "été_history_20251119_204109.json");
        assert_eq!(fs::read_dir(home.path())?.count(), 1);
        assert_eq!(fs::read_dir(&folder)?.count(), names.len(), "no temporary file is left");
        assert_eq!(fs::read_to_string(folder.join(&names[3]))?, "a/b");
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_folder_is_replaced_and_not_followed() -> TestResult {
        let home = tempfile::tempdir()?;
        let folder = home.path().join("exports");
        create_folder(&folder)?;
        let victim = home.path().join("victim");
        fs::write(&victim, "precious")?;
        std::os::unix::fs::symlink(&victim, folder.join("report.json"))?;
        write_named(&folder, "report", Format::Json, "{}")?;
        assert_eq!(fs::read_to_string(&victim)?, "precious");
        assert_eq!(fs::read_to_string(folder.join("report.json"))?, "{}");
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_the_folder_is_not_followed() -> TestResult {
        let home = tempfile::tempdir()?;
        let (folder, elsewhere) = (home.path().join("exports"), home.path().join("elsewhere"));
        fs::create_dir(&elsewhere)?;
        std::os::unix::fs::symlink(&elsewhere, &folder)?;
        let at = "2025-11-19T20:41:09Z".parse()?;
        let refused = [
            write_named(&folder, "report", Format::Json, "{}"),
            write_dated(&folder, "writer", at, Format::Csv, ""),
        ];
        for refused in refused {
            let sentence = refused.err().ok_or("it was followed")?.to_string();
            assert!(sentence.contains("exports") && sentence.ends_with("remove it"), "{sentence}");
        }
        assert_eq!(fs::read_dir(&elsewhere)?.count(), 0);
        fs::remove_file(&folder)?;
        fs::write(&folder, "no folder")?;
        assert!(write_named(&folder, "report", Format::Json, "{}").is_err());
        Ok(())
    }
}
