//! Copying a database from a file to a server, from a server to a file, or between servers.
//!
//! Both sides are gone through in pieces, in the order of the keys, and only a piece that differs is written. So a copy
//! that was broken off is resumed by making it once more, and what it is resumed from may have changed since. Then both
//! sides are read again, and all rows compared. Until that is done the copy can't be taken for a database: a file has
//! another name, and on a server it is noted.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::handle::Store;
use super::options::StoreOptions;
use crate::backend::deadline::Deadline;
use crate::backend::statements::{Transaction, TxResult};
use crate::backend::{Snapshot, sqlite};
use crate::error::{Error, Result};
use crate::model::copy::{Digest, Row, TABLES, Table, encoded};
use crate::model::{CopiedTable, CopyProgress, CopyReport};
use crate::os::with_suffix;

/// Rows in a piece, and in a transaction.
const ROWS_A_PIECE: usize = 2_000;

/// The least time that one piece may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a file is called that is a copy which is not finished.
const UNFINISHED: &str = ".unfinished-copy";

/// How a copy is made. Made by [`Store::copy`].
#[must_use]
pub struct DatabaseCopy<'s> {
    from: &'s Store,
    while_in_use: bool,
    progress: Box<dyn FnMut(CopyProgress) + 's>,
}

impl Store {
    /// Moves everything to another database, of which one or both are on a server: agents, history, keys, events, the
    /// tokens of locks, calls of tools, processes that have ended and what the reaper did, and the settings.
    ///
    /// ```no_run
    /// # let store = govstore::Store::open("governance.db")?;
    /// let report = store.copy().to("postgres://govstore@db.example.com/governance")?;
    /// for table in report.tables {
    ///     println!("{} rows of {}", table.rows, table.table);
    /// }
    /// # Ok::<(), govstore::Error>(())
    /// ```
    pub fn copy(&self) -> DatabaseCopy<'_> {
        DatabaseCopy { from: self, while_in_use: false, progress: Box::new(|_| ()) }
    }
}

impl<'s> DatabaseCopy<'s> {
    /// Whether to copy what is there at the beginning while registered processes go on using it; false unless given, and
    /// then that is [`Error::CopyInUse`]. What they write after the beginning is not in the copy.
    pub fn while_in_use(mut self, while_in_use: bool) -> Self {
        self.while_in_use = while_in_use;
        self
    }

    /// Tells `progress` how far it is, every two thousand rows.
    pub fn on_progress(mut self, progress: impl FnMut(CopyProgress) + 's) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Makes the copy at `path`: a new file, or an empty database on a server, which others can open once it is whole.
    /// One that was broken off is gone on with by the same call.
    ///
    /// # Errors
    ///
    /// [`Error::CopyOfFiles`], [`Error::CopyInUse`], [`Error::CopyTargetTaken`]: nothing was written then.
    /// [`Error::CannotHold`] names a row that has to be changed first, [`Error::CopyDiffers`] says that somebody else
    /// has written to the copy. Beside them the errors of [`StoreOptions::open`].
    pub fn to(mut self, path: impl AsRef<Path>) -> Result<CopyReport> {
        let path = path.as_ref();
        let to_a_server = StoreOptions::is_address(path);
        if !to_a_server && !self.from.is_on_a_server() {
            return Err(Error::CopyOfFiles { from: self.from.path().to_owned(), to: path.to_owned() });
        }
        if !self.while_in_use {
            self.refuse_in_use()?;
        }
        if to_a_server { self.fill_server(path) } else { self.make_file(path) }
    }

    fn refuse_in_use(&self) -> Result<()> {
        let processes = self.from.living_processes()?;
        if processes.is_empty() {
            return Ok(());
        }
        Err(Error::CopyInUse { path: self.from.path().to_owned(), processes })
    }

    fn fill_server(&mut self, address: &Path) -> Result<CopyReport> {
        let to = Store::options().open_for_copy(address)?;
        let from = self.from.path().display().to_string();
        to.write_by(&self.patience(), |tx| {
            if tx.unfinished_copy_of()?.is_some() {
                return Ok(());
            }
            if let Some(what) = what_is_there(tx)? {
                return Err(Error::CopyTargetTaken { path: to.path().to_owned(), what }.into());
            }
            tx.note_unfinished_copy_of(Some(&from))
        })?;
        let report = self.fill(&to, to.path())?;
        to.write_by(&self.patience(), |tx| tx.note_unfinished_copy_of(None))?;
        Ok(report)
    }

    fn make_file(&mut self, path: &Path) -> Result<CopyReport> {
        let path = std::path::absolute(path)
            .map_err(|source| Error::CannotCreate { path: path.to_owned(), source })?;
        if path.symlink_metadata().is_ok() {
            return Err(Error::CopyTargetTaken { path, what: "there is something already".to_owned() });
        }
        let unfinished = with_suffix(&path, UNFINISHED);
        let to = Store::open(&unfinished)?;
        let report = self.fill(&to, &path)?;
        drop(to); // its log goes into the file
        sqlite::name_copy(&unfinished, &path)?;
        Ok(report)
    }

    /// Makes `to` equal to what is there now. `path` is what it will be called.
    fn fill(&mut self, to: &Store, path: &Path) -> Result<CopyReport> {
        let sides = Sides { from: self.from.backend().snapshot(&self.patience())?, to, path };
        let mut total_rows = 0;
        for table in &TABLES {
            total_rows += 2 * sides.from.read(&self.patience(), |reader| reader.count_rows(table))?;
        }
        let mut seen = Seen { rows: 0, total_rows, verifies: false };
        let mut written = Vec::new();
        for table in &TABLES {
            written.push(self.fill_table(&sides, table, &mut seen)?);
        }
        seen.verifies = true;
        let mut tables = Vec::new();
        for (table, written) in TABLES.iter().zip(written) {
            let digest = self.compare(&sides, table, &mut seen)?;
            tables.push(CopiedTable {
                table: table.name,
                rows: digest.rows(),
                written,
                digest: format!("{:016x}", digest.value()),
            });
        }
        Ok(CopyReport { from: self.from.path().to_owned(), to: path.to_owned(), tables })
    }

    /// Makes a table equal, and says how many rows were written.
    fn fill_table(&mut self, sides: &Sides<'_>, table: &'static Table, seen: &mut Seen) -> Result<u64> {
        let Sides { from, to, .. } = sides;
        let mut written = 0;
        self.walk(sides, table, seen, |piece, wait| {
            if encoded(&piece.there) != encoded(&piece.rows) {
                to.write_by(wait, |tx| tx.replace_rows(table, &piece.after, &piece.up_to, &piece.rows))?;
                written += piece.rows.len() as u64;
            }
            Ok(())
        })?;
        if table.is_numbered {
            let number = from.read(&self.patience(), |reader| reader.last_number(table))?;
            if number > 0 {
                to.write_by(&self.patience(), |tx| tx.raise_last_number(table, number))?;
            }
        }
        Ok(written)
    }

    /// Reads a table on both sides, and makes sure that they are equal.
    fn compare(&mut self, sides: &Sides<'_>, table: &'static Table, seen: &mut Seen) -> Result<Digest> {
        let (mut wanted, mut found) = (Digest::default(), Digest::default());
        self.walk(sides, table, seen, |piece, _| {
            wanted.add(&piece.rows);
            found.add(&piece.there);
            Ok(())
        })?;
        if (wanted.rows(), wanted.value()) == (found.rows(), found.value()) {
            return Ok(wanted);
        }
        Err(Error::CopyDiffers {
            path: sides.path.to_owned(),
            table: table.name,
            found: sides.to.backend().read(&self.patience(), |reader| reader.count_rows(table))?,
            wanted: wanted.rows(),
        })
    }

    /// Goes through both sides of a table, piece by piece of the rows to be copied.
    fn walk(
        &mut self,
        sides: &Sides<'_>,
        table: &'static Table,
        seen: &mut Seen,
        mut each: impl FnMut(&Piece, &Deadline) -> Result<()>,
    ) -> Result<()> {
        let mut after = table.least_key();
        loop {
            let end = table.greatest_key();
            let rows = sides
                .from
                .read(&self.patience(), |reader| reader.rows_between(table, &after, &end, ROWS_A_PIECE))?;
            let (count, is_last) = (rows.len() as u64, rows.len() < ROWS_A_PIECE);
            // There are no more: whatever comes after them on the other side is too much.
            let last = rows.last().filter(|_| !is_last);
            let up_to = last.map_or(end, |row| row[..table.key_columns].to_vec());
            let there = sides.to.backend().read(&self.patience(), |reader| {
                reader.rows_between(table, &after, &up_to, ROWS_A_PIECE + 1)
            })?;
            let piece = Piece { after, up_to, rows, there };
            each(&piece, &self.patience())?;
            seen.rows += count;
            self.tell(table, seen);
            if is_last {
                return Ok(());
            }
            after = piece.up_to;
        }
    }

    fn tell(&mut self, table: &Table, seen: &Seen) {
        (self.progress)(CopyProgress {
            table: table.name,
            verifies: seen.verifies,
            rows: seen.rows,
            total_rows: seen.total_rows,
        });
    }

    fn patience(&self) -> Deadline {
        self.from.patience_of_at_least(PATIENCE)
    }
}

impl fmt::Debug for DatabaseCopy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseCopy").field("while_in_use", &self.while_in_use).finish_non_exhaustive()
    }
}

/// What is copied, where to, and what that will be called.
struct Sides<'c> {
    from: Snapshot<'c>,
    to: &'c Store,
    path: &'c Path,
}

/// The rows between two keys: those to be copied, and those of the copy.
struct Piece {
    after: Row,
    up_to: Row,
    rows: Vec<Row>,
    there: Vec<Row>,
}

/// How many rows were looked at, of how many, and in which of the two rounds.
struct Seen {
    rows: u64,
    total_rows: u64,
    verifies: bool,
}

/// What a database has in it that is to become a copy, if anything.
fn what_is_there(tx: &dyn Transaction) -> TxResult<Option<String>> {
    for table in TABLES.iter().filter(|table| table.name != "settings") {
        let rows = tx.count_rows(table)?;
        if rows > 0 {
            let s = if rows == 1 { "" } else { "s" };
            return Ok(Some(format!("it has {rows} row{s} of {} in it", table.name)));
        }
    }
    let registered = tx.registered_or_locking()?.len();
    Ok((registered > 0).then(|| format!("{registered} processes use it")))
}
