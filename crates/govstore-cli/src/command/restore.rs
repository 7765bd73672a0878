//! `restore`: a backup in the place of the database.

use std::path::PathBuf;

use clap::ValueHint;

use super::figures::megabytes;
use super::visible::visible;
use super::{Exit, Outcome, Session};

/// Put a backup in the place of the database
///
/// The backup is checked first, and stays as it is. Nobody may have the database open meanwhile: servers and other
/// programs that do are listed, and nothing is changed. The database that was there is kept beside the new one, with
/// `.replaced-` and the time after its name; `restore` takes it too. Of a symbolic link, the file that it points to
/// is replaced.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
A server that is started while the backup is put in place waits, and works with the restored database. The
processes that were registered in the backup are forgotten, and their locks on agents released.

Example:
  govstore restore /mnt/usb/governance.db")]
pub struct Args {
    /// The backup
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    backup: PathBuf,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let report = govstore::restore(&args.backup, session.database_to_create()?)?;
    if session.out.json() {
        session.out.success(&report)?;
        return Ok(Exit::DONE);
    }
    let path = report.path.display().to_string();
    session.out.say(format!("{} is restored ({})", visible(&path), megabytes(report.bytes)))?;
    if let Some(replaced) = &report.replaced {
        let replaced = replaced.display().to_string();
        session.out.say(format!("the database that was there is {}", visible(&replaced)))?;
    }
    Ok(Exit::DONE)
}
