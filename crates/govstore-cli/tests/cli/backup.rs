//! `backup` and `restore`, while real processes write.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;

use super::support::{Folder, Ran, available, govstore};
use govstore_testkit::{Database, Server, TestResult, wait_until};

/// Processes that update an agent each, without end, and what they were told is committed.
struct Writers {
    children: Vec<Child>,
    threads: Vec<JoinHandle<()>>,
    acknowledged: Arc<Mutex<HashMap<String, i64>>>,
}

impl Writers {
    fn start(folder: &Folder, count: usize) -> Self {
        let acknowledged = Arc::new(Mutex::new(HashMap::new()));
        let (mut children, mut threads) = (Vec::new(), Vec::new());
        for number in 0..count {
            let mut child = folder
                .command(&["--json", "apply", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("govstore starts");
            let mut stdin = child.stdin.take().expect("a pipe");
            let line = format!("{{\"agent_id\":\"agent{number}\",\"parameters\":[0.5,0.25]}}\n");
            threads.push(thread::spawn(move || while stdin.write_all(line.as_bytes()).is_ok() {}));
            let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
            let acknowledged = Arc::clone(&acknowledged);
            threads.push(thread::spawn(move || {
                for line in stdout.lines().map_while(Result::ok) {
                    // A killed writer may leave half a line.
                    let Ok(report) = serde_json::from_str::<Value>(&line) else { continue };
                    let total = report["metrics"]["total_updates"].as_i64().expect("an update");
                    acknowledged.lock().unwrap().insert(report["agent_id"].as_str().unwrap().into(), total);
                }
            }));
            children.push(child);
        }
        let writers = Self { children, threads, acknowledged };
        wait_until("every writer to have written", || {
            let acknowledged = writers.acknowledged();
            acknowledged.len() == count && acknowledged.values().all(|total| *total >= 5)
        });
        writers
    }

    fn acknowledged(&self) -> HashMap<String, i64> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Kills them.
    fn end(mut self) -> HashMap<String, i64> {
        for child in &mut self.children {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
        self.threads.drain(..).for_each(|thread| thread.join().expect("no panic"));
        self.acknowledged()
    }
}

/// What the `sqlite3` shell says, or what SQLite says where there is no shell.
fn shell(file: &Path, sql: &str) -> String {
    if !available("sqlite3", &["-version"]) {
        let conn = Connection::open(file).expect("a database");
        return conn.query_row(sql, [], |row| row.get::<_, String>(0)).expect("an answer");
    }
    let output = Command::new("sqlite3").arg(file).arg(sql).output().expect("sqlite3 starts");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

#[track_caller]
fn holds(file: &Path, updates: &HashMap<String, i64>) {
    assert_eq!(shell(file, "PRAGMA integrity_check"), "ok");
    assert_eq!(shell(file, "SELECT count(*) || '' FROM pragma_foreign_key_check"), "0");
    let conn = Connection::open(file).expect("a database");
    for (agent, acknowledged) in updates {
        let (total, rows): (i64, i64) = conn
            .query_row(
                "SELECT a.total_updates, (SELECT count(*) FROM agent_updates AS u WHERE u.agent_id = a.agent_id)
                 FROM agents AS a WHERE a.agent_id = ?1",
                [agent],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .expect("the agent");
        assert!(total >= *acknowledged, "{agent}: {total} of {acknowledged} updates");
        assert_eq!(total, rows, "{agent}");
    }
}

/// A database of some 30 MB, so that a backup takes a while.
fn fatten(folder: &Folder) {
    folder
        .sql()
        .execute_batch(
            "UPDATE agents SET total_updates = 100001, update_count = 100001 WHERE agent_id = 'writer';
             WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i <= 100000)
             INSERT INTO agent_updates (
               agent_id, update_no, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1,
               risk_score, void_active, elapsed, decision, decision_reason, health_status, process_id)
             SELECT agent_id, n.i, applied_at, energy, integrity, entropy, void_integral, coherence, lambda1,
                    risk_score, void_active, elapsed, decision, decision_reason, health_status, process_id
             FROM agent_updates, n WHERE update_no = 1",
        )
        .expect("rows");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_backup_made_while_others_write_holds_all_that_was_acknowledged() {
    let folder = Folder::with_writer();
    fatten(&folder);
    let writers = Writers::start(&folder, 4);
    let copies = folder.file("copies");
    fs::create_dir(&copies).expect("a folder");
    let mut made = Vec::new();
    for number in 0..3 {
        let copy = copies.join(format!("{number}.db"));
        let before = writers.acknowledged();
        folder.run(&["backup", copy.to_str().unwrap()]).done();
        made.push((copy, before));
    }
    let at_the_end = writers.end();
    for (copy, before) in &made {
        assert_eq!(fs::metadata(copy).unwrap().permissions().mode() & 0o777, 0o600);
        holds(copy, before);
    }
    assert_eq!(names(&copies), ["0.db", "1.db", "2.db"], "and a copy needs no other file");
    holds(&folder.db(), &at_the_end);
}

#[test]
fn a_killed_backup_leaves_nothing_under_its_name() {
    let folder = Folder::with_writer();
    fatten(&folder);
    let copies = folder.file("copies");
    fs::create_dir(&copies).expect("a folder");
    let copy = copies.join("copy.db");
    let (mut killed_midway, mut delay) = (0, Duration::ZERO);
    loop {
        let mut child = folder
            .command(&["backup", copy.to_str().unwrap()])
            .stdout(Stdio::null())
            .spawn()
            .expect("govstore starts");
        thread::sleep(delay); // the instant of the kill is what is tried here
        child.kill().expect("a child of ours");
        let ended_by_itself = child.wait().expect("it ends").success();
        killed_midway += usize::from(names(&copies).iter().any(|name| name.ends_with("-partial")));
        if copy.exists() {
            assert_eq!(shell(&copy, "PRAGMA integrity_check"), "ok");
            fs::remove_file(&copy).expect("a file");
        }
        if ended_by_itself {
            break;
        }
        delay += Duration::from_millis(3);
    }
    assert!(killed_midway > 0, "no kill met a backup at work");
    folder.run(&["backup", copy.to_str().unwrap()]).done();
    assert_eq!(names(&copies), ["copy.db"], "what the killed ones left is gone");
}

#[test]
fn a_backup_replaces_nothing_unless_it_is_forced_to() {
    let folder = Folder::with_writer();
    let copy = folder.write("copy.db", "precious");
    folder.run(&["backup", &copy]).refused(1, &["there is", "already", "--force"]);
    assert_eq!(fs::read(&copy).unwrap(), b"precious");
    let report = folder.run(&["--json", "backup", &copy, "--force"]).done().json();
    assert_eq!(report["bytes"], fs::metadata(&copy).unwrap().len());
    assert_eq!(shell(Path::new(&copy), "SELECT agent_id FROM agents"), "writer");

    let db = folder.db();
    let db = db.to_str().unwrap();
    folder.run(&["backup", db, "--force"]).refused(1, &["the database itself"]);
    folder.run(&["backup", &format!("{db}-wal"), "--force"]).refused(1, &["the database itself"]);
    let link = folder.file("link.db");
    std::os::unix::fs::symlink(db, &link).unwrap();
    folder.run(&["backup", link.to_str().unwrap(), "--force"]).refused(1, &["the database itself"]);
    folder.write("used.db-wal", "a log");
    let used = folder.file("used.db");
    folder.run(&["backup", used.to_str().unwrap(), "--force"]).refused(1, &["a database in use"]);
    let nowhere = folder.file("no/where.db");
    folder.run(&["backup", nowhere.to_str().unwrap()]).refused(1, &["there is no such folder"]);
    folder.run(&["update", "writer"]).done();
}

#[test]
fn keep_removes_the_oldest_backups_and_nothing_else() {
    let folder = Folder::with_writer();
    let copies = folder.file("copies");
    let to = copies.to_str().unwrap();
    folder.run(&["backup", "--keep", "2", to]).refused(1, &["there is no such folder"]);
    fs::create_dir(&copies).expect("a folder");
    let others = ["governance-old.db", "governance-20200101T000000.000Z.db.gz", "notes.txt"];
    for other in others {
        fs::write(copies.join(other), "mine").unwrap();
    }
    let old = copies.join("governance-20200101T000000.000Z.db");
    folder.run(&["backup", old.to_str().unwrap()]).done();
    let first = folder.run(&["--json", "backup", "--keep", "2", to]).done().json();
    assert_eq!(first["removed"], Value::Array(Vec::new()));
    let second = folder.run(&["--json", "backup", "--keep", "2", to]).done().json();
    assert!(second["removed"][0].as_str().unwrap().ends_with("governance-20200101T000000.000Z.db"));
    let left = names(&copies);
    assert_eq!(left.len(), 2 + others.len(), "{left:?}");
    assert!(others.iter().all(|other| left.contains(&(*other).to_owned())), "{left:?}");
    for report in [first, second] {
        assert_eq!(shell(Path::new(report["path"].as_str().unwrap()), "PRAGMA integrity_check"), "ok");
    }
}

#[test]
fn a_damaged_database_replaces_no_backup() {
    let folder = Folder::with_writer();
    fatten(&folder);
    let copies = folder.file("copies");
    fs::create_dir(&copies).expect("a folder");
    let good = folder.run(&["--json", "backup", "--keep", "1", copies.to_str().unwrap()]).done().json();
    let mut bytes = fs::read(folder.db()).unwrap();
    bytes[4096 * 500..4096 * 500 + 8].fill(0xff); // the header of a page
    fs::write(folder.db(), bytes).unwrap();
    folder
        .run(&["backup", "--keep", "1", copies.to_str().unwrap()])
        .refused(1, &["is damaged", "put a backup in its place"]);
    let good = Path::new(good["path"].as_str().unwrap());
    assert_eq!(names(&copies), [good.file_name().unwrap().to_str().unwrap()]);
}

const INSIDE: &str = "GOVSTORE_TEST_SMALL_TARGET";
const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--mount"];

/// Runs itself again in a mount namespace, where it may mount a small file system.
#[test]
fn a_full_target_leaves_the_database_alone_and_says_so() {
    if env::var_os(INSIDE).is_some() {
        return on_a_small_target();
    }
    let folder = Folder::new();
    let mount = format!("mount -t tmpfs -o size=64k none {}", folder.path().display());
    if !available("unshare", &[&NAMESPACE[..], &["sh", "-c", &mount]].concat()) {
        return;
    }
    let name = "backup::a_full_target_leaves_the_database_alone_and_says_so";
    let mut command = Command::new("unshare");
    command.args(NAMESPACE).arg(env::current_exe().expect("this test"));
    let ran = Ran::of(command.args(["--exact", name, "--nocapture"]).env(INSIDE, "1"));
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("1 passed"), "{}", ran.stdout);
}

fn on_a_small_target() {
    let folder = Folder::with_writer();
    fatten(&folder);
    folder.run(&["agents"]).done(); // the -wal is folded in
    let target = folder.file("small");
    fs::create_dir(&target).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(&target);
    assert!(mount.status().expect("mount starts").success());
    let before = fs::read(folder.db()).unwrap();
    let copy = target.join("copy.db");
    folder
        .run(&["backup", copy.to_str().unwrap()])
        .refused(1, &["no room left for the backup", "the database is untouched"]);
    assert_eq!(names(&target), [""; 0]);
    assert!(before == fs::read(folder.db()).unwrap());
    folder.run(&["update", "writer"]).done();
}

/// A folder with a backup of `writer` at one update, and `writer` at two.
fn with_copy() -> (Folder, String) {
    let folder = Folder::with_writer();
    let copy = folder.file("copy.db").to_str().unwrap().to_owned();
    folder.run(&["backup", &copy]).done();
    folder.run(&["update", "writer"]).done();
    (folder, copy)
}

fn updates_of_writer(folder: &Folder) -> i64 {
    folder.number("SELECT total_updates FROM agents WHERE agent_id = 'writer'")
}

#[test]
fn a_restored_database_is_gone_on_with() {
    let (folder, copy) = with_copy();
    let before = fs::read(&copy).unwrap();
    let report = folder.run(&["--json", "restore", &copy]).done().json();
    let report = folder.run(&["--json", "update", "writer"]).done().json()["metrics"]["total_updates"]
        .as_i64()
        .map(|total| (total, report))
        .unwrap();
    assert_eq!(report.0, 2, "the second update was made twice");
    assert!(before == fs::read(&copy).unwrap(), "the backup stays as it was");
    let permissions = fs::metadata(folder.db()).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o600);

    // What was replaced is whole, is refused by mistake, and can be had again.
    let replaced = report.1["replaced"].as_str().unwrap().to_owned();
    assert_eq!(shell(Path::new(&replaced), "PRAGMA integrity_check"), "ok");
    assert_eq!(shell(Path::new(&replaced), "SELECT total_updates || '' FROM agents"), "2");
    folder.run(&["--db", &replaced, "update", "writer"]).refused(1, &["replaced by a restore"]);
    folder.run(&["update", "writer"]).done();
    folder.run(&["restore", &replaced]).done();
    assert_eq!(updates_of_writer(&folder), 2);
    folder.run(&["update", "writer"]).done();

    // Where there was no database, none is kept.
    let elsewhere = folder.file("elsewhere.db");
    let report = folder.run(&["--json", "--db", elsewhere.to_str().unwrap(), "restore", &copy]).done().json();
    assert_eq!(report["replaced"], Value::Null);
    assert_eq!(shell(&elsewhere, "SELECT total_updates || '' FROM agents"), "1");
}

#[test]
fn restore_refuses_while_a_server_lives_and_names_it() -> TestResult {
    let database = Database::new(&[])?;
    database.store()?.process_update("writer", &govstore::Update::default())?;
    let copy = database.folder().join("copy.db");
    database.store()?.backup_to(&copy)?;
    let run = || Ran::of(govstore().arg("--db").arg(database.path()).arg("restore").arg(&copy));
    let server = Server::start(&database, &["--name", "editor"]);
    let mut crashed = Server::start(&database, &["--name", "crashed"]);
    crashed.crash();
    let ran = run().refused(1, &[&format!("PID {} (editor", server.pid()), "Nothing was changed"]);
    assert!(!ran.stderr.contains("crashed"), "{ran:?}");
    server.end();
    run().done();

    // Not registered, and yet it has the file open: without a write-ahead log, as just restored, and with one.
    let this_test = if cfg!(all(target_os = "linux", not(govstore_portable))) {
        format!("is open in PID {} (", std::process::id())
    } else {
        "is open in a process that can't be seen".to_owned()
    };
    for opened in ["DELETE", "WAL"] {
        let shell = database.sql()?;
        let mode: String = shell.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        assert_eq!(mode, opened.to_lowercase());
        shell.execute_batch("BEGIN; SELECT * FROM agents")?;
        run().refused(1, &[&this_test, "Nothing was changed"]);
        drop(shell);
        drop(database.store()?);
    }
    run().done();
    Ok(())
}

#[test]
fn who_was_registered_in_a_backup_is_forgotten() -> TestResult {
    let database = Database::new(&[])?;
    let copy = database.folder().join("copy.db");
    let server = Server::start(&database, &[]);
    let process_id = server.process_id;
    database.store()?.process_update("writer", &govstore::Update::default())?;
    let now = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
    let lock = format!("INSERT INTO agent_locks VALUES ('writer', 1, {process_id}, {now}, {now}, 'work')");
    database.sql()?.execute_batch(&lock)?;
    database.store()?.backup_to(&copy)?;
    server.end();
    govstore::restore(&copy, database.path())?;
    assert_eq!(database.state_of(process_id)?, "forgotten");
    assert_eq!(database.count("SELECT count(*) FROM heartbeats")?, 0);
    assert_eq!(database.count("SELECT count(*) FROM lock_holders")?, 0);
    assert!(database.store()?.processes()?.is_empty());
    Server::start(&database, &[]).end();
    Ok(())
}

#[test]
fn restore_refuses_what_is_no_good_backup() {
    let (folder, copy) = with_copy();
    let refused = |file: &str, sayings: &[&str]| {
        folder.run(&["restore", file]).refused(1, sayings);
        assert_eq!(updates_of_writer(&folder), 2);
        let names = names(folder.path());
        assert!(!names.iter().any(|name| name.contains("partial") || name.contains("replaced")), "{names:?}");
    };
    refused(folder.file("none.db").to_str().unwrap(), &["there is no such file"]);
    refused(&folder.write("text.db", "not a database at all, ".repeat(100)), &["not a SQLite database"]);
    refused(&folder.write("empty.db", ""), &["belongs to another application"]);
    let sql = |name: &str, sql: &str| {
        let path = folder.file(name);
        let _ = fs::copy(&copy, &path);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        path.to_str().unwrap().to_owned()
    };
    refused(&sql("foreign.db", "PRAGMA application_id = 7"), &["belongs to another application"]);
    refused(&sql("new.db", "PRAGMA user_version = 999"), &["upgrade govstore"]);
    let unsound = sql("row.db", "PRAGMA ignore_check_constraints = 1; UPDATE agents SET energy = 7");
    refused(&unsound, &["row.db is damaged", "CHECK"]);
    let mut bytes = fs::read(&copy).unwrap();
    let half = bytes.len() / 2;
    bytes.truncate(half);
    refused(&folder.write("half.db", bytes), &["half.db is damaged"]);
    refused(folder.db().to_str().unwrap(), &["the backup is the database itself"]);
    folder.run(&["restore", &copy]).done();
}

#[test]
fn a_damaged_database_can_be_replaced_and_is_kept() {
    for (what, at) in [("header", 0), ("schema", 100), ("rows", 4096 * 3)] {
        let (folder, copy) = with_copy();
        folder.sql().execute_batch("PRAGMA journal_mode = DELETE").expect("nobody else has it open");
        let mut bytes = fs::read(folder.db()).unwrap();
        bytes[at..at + 8].fill(0xff);
        fs::write(folder.db(), &bytes).unwrap();
        let report = folder.run(&["--json", "restore", &copy]).done().json();
        assert_eq!(updates_of_writer(&folder), 1, "{what}");
        let kept = fs::read(report["replaced"].as_str().unwrap()).unwrap();
        assert!(kept[4096 * 3..] == bytes[4096 * 3..], "{what}");
        folder.run(&["update", "writer"]).done();
    }
}

/// A file without a header can't be asked whether somebody has it open. What lies beside it tells.
#[test]
fn what_is_no_database_any_more_is_not_replaced_under_a_process() {
    let (folder, copy) = with_copy();
    folder.write("governance.db", "not a database at all, ".repeat(100));
    let shm = folder.write("governance.db-shm", "");
    folder
        .run(&["restore", &copy])
        .refused(1, &["governance.db-shm", "end that process, or remove that file"]);
    fs::remove_file(shm).unwrap();
    folder.run(&["restore", &copy]).done();
    assert_eq!(updates_of_writer(&folder), 1);
}
