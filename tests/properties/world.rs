//! The real thing: a database, two stores of this process that have it open, and now and then another process.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use govstore::{AgentLock, Error, ProcessInfo, Registration, Store, Update};
use govstore_testkit::Database;
use serde_json::{Value, json};

use crate::model::Refusal;
use crate::operation::{Act, Edit, Handle};

/// How long the other process waits for an agent that is locked. Nothing else is ever in its way.
const PATIENCE_ELSEWHERE_MS: &str = "50";

/// A database and everyone who has it open. The fields are dropped in this order.
pub struct World {
    locks: HashMap<&'static str, AgentLock>,
    registration: Option<Registration>,
    registered: Option<Store>,
    other: Option<Store>,
    backups: u32,
    database: Database,
}

/// Why an edit was not made.
enum EditError {
    Store(Error),
    Own,
}

impl From<Error> for EditError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl World {
    pub fn new() -> Self {
        let database = Database::new(&[]).expect("a database");
        let mut world = Self {
            locks: HashMap::new(),
            registration: None,
            registered: None,
            other: None,
            backups: 0,
            database,
        };
        world.open_all();
        world.store(Handle::Other).set_setting("lock_timeout_ms", PATIENCE_ELSEWHERE_MS).expect("a timeout");
        world
    }

    fn open(&self) -> Store {
        let patience = Duration::from_mins(1); // nobody is ever in the way, save for a lock on an agent
        self.database.store().expect("a sound database").with_lock_timeout(patience)
    }

    fn open_all(&mut self) {
        self.reopen(Handle::Registered);
        self.reopen(Handle::Other);
    }

    fn close_all(&mut self) {
        self.locks.clear();
        self.registration = None;
        self.registered = None;
        self.other = None;
    }

    pub fn store(&self, by: Handle) -> &Store {
        let store = match by {
            Handle::Registered => &self.registered,
            Handle::Other => &self.other,
        };
        store.as_ref().expect("it is open")
    }

    /// The same store, for a call of which it is known whether a lock is in its way.
    fn hasty(&self, by: Handle, is_locked_out: bool) -> Store {
        let store = self.store(by);
        if is_locked_out { store.with_lock_timeout(Duration::ZERO) } else { store.clone() }
    }

    pub fn reopen(&mut self, handle: Handle) {
        match handle {
            Handle::Other => {
                self.other = None;
                self.other = Some(self.open());
            }
            Handle::Registered => {
                self.locks.clear();
                self.registration = None;
                self.registered = None;
                let store = self.open();
                self.registration =
                    Some(store.register(ProcessInfo::new("properties", "1")).expect("a place"));
                self.registered = Some(store);
            }
        }
    }

    pub fn update(
        &self,
        by: Handle,
        agent_id: &str,
        update: &Update,
        is_locked_out: bool,
    ) -> Result<Value, Refusal> {
        let report = self.hasty(by, is_locked_out).process_update(agent_id, update).map_err(refusal)?;
        Ok(serde_json::to_value(govstore_mcp::wire::UpdateReport::from(report)).expect("a report is JSON"))
    }

    /// As a line of `govstore apply`. It says in words why it refuses.
    pub fn update_elsewhere(&self, agent_id: &str, update: &Update) -> Result<Value, String> {
        let line = json!({
            "agent_id": agent_id,
            "parameters": update.parameters,
            "ethical_drift": update.ethical_drift,
            "response_text": update.response_text,
            "complexity": update.complexity,
            "key": update.key,
        });
        let mut apply = Command::new(govstore_testkit::govstore())
            .args(["--db", &self.database.address(), "--json", "apply", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program");
        writeln!(apply.stdin.take().expect("a pipe"), "{line}").expect("it reads");
        let output = apply.wait_with_output().expect("it ends");
        let mut report: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
        let object = report.as_object_mut().expect("an object");
        match object.remove("success") {
            Some(Value::Bool(true)) if output.status.success() => Ok(report),
            Some(Value::Bool(false)) if !output.status.success() => {
                Err(report["error"].as_str().expect("a reason").to_owned())
            }
            _ => panic!("{output:?}"),
        }
    }

    /// Anything but an update.
    pub fn act(
        &mut self,
        by: Handle,
        agent_id: &'static str,
        act: &Act,
        is_locked_out: bool,
    ) -> Result<(), Refusal> {
        let store = self.hasty(by, is_locked_out);
        match act {
            Act::Update(_) => unreachable!("it has a report"),
            Act::Pause(reason) => store.pause(agent_id, reason.as_deref()).map(drop),
            Act::Resume => store.resume(agent_id).map(drop),
            Act::Archive(reason) => store.archive(agent_id, reason.as_deref()).map(drop),
            Act::Delete => store.delete(agent_id).map(drop),
            Act::Reset => store.reset(agent_id).map(drop),
            Act::Edit(edit) => return edit_agent(&store, agent_id, edit),
            Act::Lock(reason) => {
                let lock = self.store(Handle::Registered).lock_agent(agent_id, reason.as_deref());
                lock.map(|lock| drop(self.locks.insert(agent_id, lock)))
            }
            Act::Release => {
                store.agent(agent_id).map_err(refusal)?; // as the model has it, for one that is not there
                self.locks.remove(agent_id).map_or(Ok(()), AgentLock::release)
            }
            Act::Unlock(reason) => store.unlock_agent(agent_id, reason.as_deref()).map(drop),
        }
        .map_err(refusal)
    }

    pub fn import(&self, agent_id: &str, paused: bool, total_updates: i64) {
        let folder = self.database.folder().join("data");
        fs::create_dir_all(&folder).expect("a folder");
        let at = "2025-11-19T20:41:09.824739";
        let entry = json!({
            "status": if paused { "paused" } else { "active" },
            "created_at": at,
            "paused_at": paused.then_some(at),
            "total_updates": total_updates,
            "lifecycle_events": [{ "event": "created", "timestamp": at, "reason": "imported" }],
        });
        fs::write(folder.join("agent_metadata.json"), json!({ agent_id: entry }).to_string()).expect("room");
        let report = self.store(Handle::Other).import_v1(folder).expect("a folder of v1.0.3");
        assert_eq!(report.remarks, []);
    }

    pub fn set(&self, key: &str, value: &str) -> Result<(), Refusal> {
        self.store(Handle::Other).set_setting(key, value).map(drop).map_err(refusal)
    }

    /// Makes a backup, if the database is a file.
    pub fn backup(&mut self) -> bool {
        if self.database.is_on_a_server() {
            return false;
        }
        self.store(Handle::Other).backup_to(self.backup_path(self.backups)).expect("a backup");
        self.backups += 1;
        true
    }

    fn backup_path(&self, number: u32) -> PathBuf {
        self.database.folder().join(format!("backup_{number}.db"))
    }

    pub fn restore(&mut self, number: u32) {
        self.close_all();
        self.database.restore(&self.backup_path(number)).expect("a sound backup");
        self.open_all();
    }

    /// The token of the lock that is held here, lost or not.
    pub fn token(&self, agent_id: &str) -> Option<i64> {
        self.locks.get(agent_id).map(AgentLock::token)
    }
}

fn edit_agent(store: &Store, agent_id: &str, edit: &Edit) -> Result<(), Refusal> {
    let edited = store.update_agent(agent_id, |agent| {
        agent.tags.clone_from(&edit.tags);
        agent.notes.push_str(&edit.notes);
        agent.attributes.insert(edit.attribute.0.clone(), json!(edit.attribute.1));
        if edit.fails { Err(EditError::Own) } else { Ok(()) }
    });
    edited.map_err(|error| match error {
        EditError::Store(error) => refusal(error),
        EditError::Own => Refusal::ByEdit,
    })
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::AgentNotFound { .. } => Refusal::NotFound,
        Error::WrongLifecycle { .. } => Refusal::WrongLifecycle,
        Error::Protected { .. } => Refusal::Protected,
        Error::AgentLocked { .. } => Refusal::Locked,
        Error::AlreadyLocked { .. } => Refusal::AlreadyLocked,
        Error::NotLocked { .. } => Refusal::NotLocked,
        Error::Fenced { .. } => Refusal::Fenced,
        Error::KeyReused { .. } => Refusal::KeyReused,
        Error::InvalidSetting { .. } => Refusal::InvalidSetting,
        other => panic!("{other}"),
    }
}
