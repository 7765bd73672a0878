//! `backup`: the database as one file, while servers write.

use std::path::PathBuf;

use clap::ValueHint;

use super::figures::{count, megabytes};
use super::progress::bar;
use super::visible::visible;
use super::{Exit, Outcome, Session};

/// Copy the database to a single file, while servers write
///
/// The copy holds every update that was committed before it began. It is made under another name, checked,
/// brought to the disk, and then named: a file under the final name is a whole backup, whenever you look and
/// whatever ended this command. It needs no `-wal` file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  govstore backup /mnt/usb/governance.db
  govstore backup --keep 14 /var/backups/govstore    # from cron, say")]
pub struct Args {
    /// The file to make; with --keep, the folder to make it in
    #[arg(value_name = "FILE", value_hint = ValueHint::AnyPath)]
    target: PathBuf,

    /// Replace the file if there is one; of a symbolic link, the file that it points to
    #[arg(long, conflicts_with = "keep")]
    force: bool,

    /// Name it by the time, in the folder FILE, and keep this many such backups there
    ///
    /// Older ones are removed once the new one is there: those in which the database had come least far, whatever a
    /// clock has said. Other files, and backups of another database, are left alone.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
}

pub fn run(args: &Args, session: &mut Session) -> Outcome {
    let store = session.open()?;
    let bar = bar("{wide_bar} {bytes} of {total_bytes}, {eta} left");
    let backup = store.backup().overwrite(args.force).on_progress(|progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.copied_bytes);
    });
    let made = match args.keep {
        Some(keep) => backup.into_folder(&args.target, keep as usize),
        None => backup.to(&args.target),
    };
    bar.finish_and_clear();
    let report = made?;
    if session.out.json() {
        session.out.success(&report)?;
        return Ok(Exit::DONE);
    }
    let path = report.path.display().to_string();
    let removed = match report.removed.len() {
        0 => String::new(),
        removed => format!("; {} removed", count(removed, "older backup")),
    };
    session.out.say(format!("{} ({}){removed}", visible(&path), megabytes(report.bytes)))?;
    Ok(Exit::DONE)
}
