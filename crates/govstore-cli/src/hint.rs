//! What to do about an error of the library, in the words of this command line.

use std::fmt;

use govstore::{Error, Lifecycle};

/// The library's sentence with the hint after it.
pub struct Hinted<'e>(pub &'e Error);

impl fmt::Display for Hinted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        write!(f, "{error}")?;
        match error {
            Error::NoDatabase { .. } => {
                f.write_str("; `govstore update` creates it, or name another with --db")
            }
            Error::NotADatabase { .. } => {
                f.write_str(". Name another file with --db, or put a backup in its place")
            }
            Error::ForeignDatabase { .. } => f.write_str(". Name another file with --db"),
            Error::HardLinked { .. } => f.write_str("; --force-hard-link opens it all the same"),
            Error::SharedFileSystem { .. } => f.write_str(
                "; if processes of this machine alone use it, --force-file-system opens it all the same",
            ),
            Error::NotLocked { .. } => f.write_str("; `govstore locks` lists those that are"),
            Error::AgentNotFound { .. } => f.write_str("; `govstore agents` lists them"),
            Error::AgentLocked { agent_id, holder: Some(_), .. } => {
                write!(f, ", or take the lock away with `{}`", unlock(agent_id))
            }
            Error::KeyReused { agent_id, .. } => {
                write!(f, "; `govstore history {agent_id}` shows what was made")
            }
            Error::WrongLifecycle {
                status: Lifecycle::Paused | Lifecycle::Archived,
                action: "updated",
                ..
            } => f.write_str("; resume it first"),
            Error::BackupExists { .. } => f.write_str("; --force replaces it"),
            Error::CopyInUse { .. } => f.write_str(" (--while-in-use)"),
            Error::CopyOfFiles { .. } => f.write_str(": `govstore backup`"),
            Error::UnfinishedCopy { path, from } => {
                write!(f, ": `govstore copy {from} {}`", path.display())
            }
            Error::Replaced { .. } => f.write_str(", and `govstore restore` brings it back"),
            _ => Ok(()),
        }
    }
}

/// The command that takes the lock on an agent away, as a shell takes it.
fn unlock(agent_id: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:/@%+".contains(c);
    let word = if agent_id.chars().all(plain) {
        agent_id.to_owned()
    } else {
        format!("'{}'", agent_id.replace('\'', r"'\''"))
    };
    if agent_id.starts_with('-') {
        format!("govstore unlock --force -- {word}") // else it would be taken for an option
    } else {
        format!("govstore unlock {word} --force")
    }
}
