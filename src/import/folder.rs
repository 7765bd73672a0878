//! The data folder: which files it has, and which of them tell something about which agent.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::export::{self, Export};
use super::metadata::{self, Metadata};
use super::report::ImportRemark;
use crate::error::{Error, Result};

const METADATA_FILE: &str = "agent_metadata.json";

/// No file of v1.0.3 comes near this; a larger one is something else.
const FILE_MAX_MIB: u64 = 64;

/// What a folder says, checked: everything in it can be written.
pub(crate) struct V1Folder {
    /// In the order of their ids.
    pub agents: Vec<V1Agent>,
    /// What cannot be used, apart from what the agents say of themselves.
    pub remarks: Vec<ImportRemark>,
}

/// One agent: its metadata and its longest export.
pub(crate) struct V1Agent {
    pub agent_id: String,
    pub metadata: Metadata,
    pub history: Option<History>,
    /// Its other exports: file and number of updates.
    passed_over: Vec<(String, usize)>,
}

/// An agent's history and the file it came from.
pub(crate) struct History {
    pub file: String,
    pub export: Export,
}

/// Reads and judges the whole folder. Calls `progress` with the number of files read and of all files.
pub(crate) fn read(folder: &Path, mut progress: impl FnMut(usize, usize)) -> Result<V1Folder> {
    let refuse = |reason: String| Error::ImportFolder { path: folder.to_owned(), reason };
    let (json, csv) = list(folder).map_err(|e| refuse(e.to_string()))?;
    if !json.iter().any(|name| *name == *METADATA_FILE) {
        let reason = format!("it has no {METADATA_FILE}; name the data folder of a v1.0.3 server");
        return Err(refuse(reason));
    }
    let mut read = 0;
    let mut read_file = |name: &OsStr| {
        let contents = read_file(&folder.join(name));
        read += 1;
        progress(read, json.len());
        contents
    };

    let metadata = read_file(OsStr::new(METADATA_FILE))
        .and_then(|contents| metadata::parse(&contents))
        .map_err(|reason| refuse(format!("{METADATA_FILE}: {reason}")))?;
    let mut agents = BTreeMap::new();
    let mut remarks = Vec::new();
    for (agent_id, metadata) in metadata {
        match metadata {
            Ok(metadata) => {
                agents.insert(agent_id.clone(), V1Agent::new(agent_id, metadata));
            }
            Err(reason) => {
                let reason = format!("it was not imported: {reason}");
                remarks.push(ImportRemark { subject: agent_id, reason });
            }
        }
    }
    for name in json.iter().filter(|name| **name != *METADATA_FILE) {
        let subject = name.to_string_lossy().into_owned();
        match read_file(name).and_then(|contents| export::parse(&contents)) {
            Ok(export) => match agents.get_mut(&export.agent_id) {
                Some(agent) => agent.offer(subject, export),
                None => remarks.push(ImportRemark { subject, reason: stray(&export.agent_id) }),
            },
            Err(reason) => remarks.push(ImportRemark { subject, reason }),
        }
    }
    remarks.extend(csv.iter().map(|name| ImportRemark {
        subject: name.to_string_lossy().into_owned(),
        reason: "CSV exports are not read; history is taken from JSON exports".to_owned(),
    }));
    Ok(V1Folder { agents: agents.into_values().collect(), remarks })
}

fn stray(agent_id: &str) -> String {
    format!("it is an export of {agent_id:?}, of which {METADATA_FILE} has no entry that can be used")
}

impl V1Agent {
    fn new(agent_id: String, metadata: Metadata) -> Self {
        Self { agent_id, metadata, history: None, passed_over: Vec::new() }
    }

    /// Keeps the export with more updates; of equals the one that counts more, then the first.
    fn offer(&mut self, file: String, export: Export) {
        let length = |export: &Export| (export.updates.len(), export.state.update_count);
        match &self.history {
            Some(kept) if length(&kept.export) >= length(&export) => {
                self.passed_over.push((file, export.updates.len()));
            }
            _ => {
                let previous = self.history.replace(History { file, export });
                self.passed_over.extend(previous.map(|h| (h.file, h.export.updates.len())));
            }
        }
    }

    /// Updates in its lifetime. v1.0.3 lost updates from its count; those that an export has were made.
    pub fn total_updates(&self) -> i64 {
        let exported = self.history.as_ref().map_or(0, |history| history.export.state.update_count);
        self.metadata.total_updates.max(exported)
    }

    /// What of it was not used, or was corrected.
    pub fn remarks(&self) -> Vec<ImportRemark> {
        let about_itself = |reason| ImportRemark { subject: self.agent_id.clone(), reason };
        let mut remarks: Vec<_> = self.metadata.events_left_out.iter().cloned().map(about_itself).collect();
        let Some(History { file, export }) = &self.history else { return remarks };
        let (counted, total) = (self.metadata.total_updates, self.total_updates());
        if counted < total {
            remarks.push(about_itself(format!(
                "total_updates is now {total}: {METADATA_FILE} says {counted}, but {file} shows {total} updates"
            )));
        }
        let longest = export.updates.len();
        remarks.extend(self.passed_over.iter().map(|(subject, updates)| ImportRemark {
            subject: subject.clone(),
            reason: format!(
                "it has {updates} updates; the history of {:?} is taken from {file}, which has {longest}{}",
                self.agent_id,
                if *updates == longest { " too" } else { "" },
            ),
        }));
        remarks
    }
}

/// The names of the JSON and of the CSV files, sorted.
fn list(folder: &Path) -> io::Result<(Vec<OsString>, Vec<OsString>)> {
    let (mut json, mut csv) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        match Path::new(&name).extension().and_then(OsStr::to_str) {
            Some("json") => json.push(name),
            Some("csv") => csv.push(name),
            _ => {}
        }
    }
    json.sort();
    csv.sort();
    Ok((json, csv))
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
