//! The data folder: which files it has, and which of them tell something about which agent.
//!
//! Of several exports of one agent, the one is taken that has most updates; of equals the one that counts more of
//! them, then the one that has more values of E, I, S and λ₁, then JSON before CSV, then the first by name.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::export::Export;
use super::local_time::LocalTime;
use super::metadata::{self, Metadata};
use super::report::ImportRemark;
use super::{csv, json};
use crate::error::{Error, Result};

const METADATA_FILE: &str = "agent_metadata.json";

/// No file of v1.0.3 comes near this; a larger one is something else.
const FILE_MAX_MIB: u64 = 64;

/// What the data folder of a v1.0.3 server says, checked: everything in it can be written. Read by
/// [`ImportOptions::read`](crate::ImportOptions::read).
pub struct V1Folder {
    /// In the order of their ids.
    pub(super) agents: Vec<V1Agent>,
    /// What cannot be used, apart from what the agents say of themselves.
    pub(super) remarks: Vec<ImportRemark>,
}

/// One agent: its metadata and the export that has most of its history.
pub(crate) struct V1Agent {
    pub agent_id: String,
    pub metadata: Metadata,
    pub history: Option<History>,
    /// Its other exports.
    passed_over: Vec<PassedOver>,
}

/// An agent's history and the file it came from.
pub(crate) struct History {
    pub file: String,
    pub export: Export,
}

/// An export that is not used, since another one has more, or as much.
struct PassedOver {
    file: String,
    updates: usize,
    /// As [`Export::extent`] has it.
    extent: (usize, i64, usize),
}

/// Reads and judges the whole folder. Calls `progress` with the number of files read and of all files.
pub(super) fn read(
    folder: &Path,
    local_time: &LocalTime,
    mut progress: impl FnMut(usize, usize),
) -> Result<V1Folder> {
    let refuse = |reason: String| Error::ImportFolder { path: folder.to_owned(), reason };
    let listing = Listing::of(folder).map_err(|e| refuse(e.to_string()))?;
    if !listing.has_metadata {
        let reason = format!("it has no {METADATA_FILE}; name the data folder of a v1.0.3 server");
        return Err(refuse(reason));
    }
    let files = 1 + listing.json.len() + listing.csv.len();
    let mut read = 0;
    let mut read_file = |name: &OsStr| {
        let contents = read_file(&folder.join(name));
        read += 1;
        progress(read, files);
        contents
    };

    let entries = read_file(OsStr::new(METADATA_FILE))
        .and_then(|contents| metadata::parse(&contents, local_time))
        .map_err(|reason| refuse(format!("{METADATA_FILE}: {reason}")))?;
    let mut found = Found::of(entries);
    for name in &listing.json {
        found.offer(name, read_file(name).and_then(|contents| json::parse(&contents)));
    }
    for name in &listing.csv {
        found
            .offer(name, read_file(name).and_then(|contents| csv::parse(&name.to_string_lossy(), &contents)));
    }
    let mut remarks = found.remarks;
    remarks.extend(listing.folders.iter().map(|name| ImportRemark {
        subject: name.to_string_lossy().into_owned(),
        reason: "it is a folder, and was passed over with what is in it".to_owned(),
    }));
    Ok(V1Folder { agents: found.agents.into_values().collect(), remarks })
}

/// What was found so far.
struct Found {
    agents: BTreeMap<String, V1Agent>,
    remarks: Vec<ImportRemark>,
}

impl Found {
    fn of(entries: metadata::Entries) -> Self {
        let mut found = Self { agents: BTreeMap::new(), remarks: Vec::new() };
        for (agent_id, metadata) in entries {
            match metadata {
                Ok(metadata) => {
                    found.agents.insert(agent_id.clone(), V1Agent::new(agent_id, metadata));
                }
                Err(reason) => {
                    let reason = format!("it was not imported: {reason}");
                    found.remarks.push(ImportRemark { subject: agent_id, reason });
                }
            }
        }
        found
    }

    /// Gives an export to its agent.
    fn offer(&mut self, name: &OsStr, export: Result<Export, String>) {
        let subject = name.to_string_lossy().into_owned();
        let reason = match export {
            Ok(export) => match self.agents.get_mut(&export.agent_id) {
                Some(agent) => return agent.offer(subject, export),
                None => stray(&export.agent_id),
            },
            Err(reason) => reason,
        };
        self.remarks.push(ImportRemark { subject, reason });
    }
}

fn stray(agent_id: &str) -> String {
    format!("it is an export of {agent_id:?}, of which {METADATA_FILE} has no entry that can be used")
}

impl V1Agent {
    fn new(agent_id: String, metadata: Metadata) -> Self {
        Self { agent_id, metadata, history: None, passed_over: Vec::new() }
    }

    /// Keeps the export that has more; of equals the one that was offered first.
    fn offer(&mut self, file: String, export: Export) {
        let offered = History { file, export };
        let less = match &self.history {
            Some(kept) if kept.export.extent() >= offered.export.extent() => Some(offered),
            _ => self.history.replace(offered),
        };
        self.passed_over.extend(less.map(|History { file, export }| PassedOver {
            file,
            updates: export.updates.len(),
            extent: export.extent(),
        }));
    }

    /// Updates in its lifetime. v1.0.3 lost updates from its count; those that an export has were made.
    pub fn total_updates(&self) -> i64 {
        self.metadata.total_updates.max(self.exported_updates())
    }

    /// Updates that its export shows: those that it lists, or those that it counts since the last reset.
    fn exported_updates(&self) -> i64 {
        self.history.as_ref().map_or(0, |History { export, .. }| {
            let listed = i64::try_from(export.updates.len()).unwrap_or(metadata::COUNT_MAX);
            listed.max(export.state.update_count)
        })
    }

    /// What of it was not used, or was corrected.
    pub fn remarks(&self) -> Vec<ImportRemark> {
        let about_itself = |reason| ImportRemark { subject: self.agent_id.clone(), reason };
        let mut remarks: Vec<_> = self.metadata.remarks.iter().cloned().map(about_itself).collect();
        let Some(History { file, export }) = &self.history else { return remarks };
        let (counted, total) = (self.metadata.total_updates, self.total_updates());
        if counted < total {
            remarks.push(about_itself(format!(
                "total_updates is now {total}: {METADATA_FILE} says {counted}, but {file} shows {total} updates"
            )));
        }
        let of_export = |reason: &String| ImportRemark { subject: file.clone(), reason: reason.clone() };
        remarks.extend(export.remarks.iter().map(of_export));
        remarks.extend(self.passed_over.iter().map(|other| ImportRemark {
            subject: other.file.clone(),
            reason: format!(
                "it has {} updates; the history of {:?} is taken from {file}, which has {}{}",
                other.updates,
                self.agent_id,
                export.updates.len(),
                other.less_than(export),
            ),
        }));
        remarks
    }
}

impl PassedOver {
    /// What `taken` has more, if it is not the number of updates.
    fn less_than(&self, taken: &Export) -> &'static str {
        let (updates, counted, figures) = taken.extent();
        if self.updates != updates {
            ""
        } else if self.extent.1 != counted {
            " too, and counts more"
        } else if self.extent.2 != figures {
            " too, and more values of E, I, S and λ₁"
        } else {
            " too"
        }
    }
}

/// What is in the folder, by name; files of other kinds are not looked at.
struct Listing {
    has_metadata: bool,
    /// Sorted, as the others are; without [`METADATA_FILE`].
    json: Vec<OsString>,
    csv: Vec<OsString>,
    folders: Vec<OsString>,
}

impl Listing {
    fn of(folder: &Path) -> io::Result<Self> {
        let mut listing =
            Self { has_metadata: false, json: Vec::new(), csv: Vec::new(), folders: Vec::new() };
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let extension = Path::new(&name).extension().and_then(OsStr::to_str);
            if name == METADATA_FILE {
                listing.has_metadata = true;
            } else if entry.path().is_dir() {
                listing.folders.push(name); // or a link to one
            } else if extension == Some("json") {
                listing.json.push(name);
            } else if extension == Some("csv") {
                listing.csv.push(name);
            }
        }
        for names in [&mut listing.json, &mut listing.csv, &mut listing.folders] {
            names.sort();
        }
        Ok(listing)
    }
}

/// The contents of a regular file of a sane size.
fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |e: io::Error| format!("it cannot be read: {e}");
    let too_large = || format!("it is larger than {FILE_MAX_MIB} MiB");
    let limit = FILE_MAX_MIB << 20;

    // Asked before it is opened: opening a named pipe waits for somebody to write into it.
    let found = fs::symlink_metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if found.len() > limit {
        return Err(too_large());
    }
    let mut contents = Vec::new();
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut contents)).map_err(unreadable)?;
    if contents.len() as u64 > limit {
        return Err(too_large()); // it grew
    }
    Ok(contents)
}
