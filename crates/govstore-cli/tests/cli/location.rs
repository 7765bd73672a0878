//! Where a database may be, by which names it may go, and what may lie beside it.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use govstore::Store;

use super::support::{Folder, GOVSTORE, Ran, available, govstore};
use govstore_testkit::{TestResult, wait_until};

const INSIDE: &str = "GOVSTORE_TEST_MOUNTS";
const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--mount"];

/// Runs a test of this file again in a mount namespace of its own; whether this is that run.
fn inside_a_mount_namespace(name: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    if !available("unshare", &[&NAMESPACE[..], &["mount", "-t", "tmpfs", "none", "/tmp"]].concat()) {
        return false;
    }
    let mut command = Command::new("unshare");
    command.args(NAMESPACE).arg(env::current_exe().expect("this test"));
    command.args(["--exact", &format!("location::{name}"), "--nocapture"]);
    let ran = Ran::of(command.env(INSIDE, "1"));
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("1 passed"), "{}", ran.stdout);
    false
}

fn bind(from: &Path, to: &Path) {
    let mounted = Command::new("mount").arg("--bind").args([from, to]).status().expect("mount starts");
    assert!(mounted.success(), "{mounted}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}

/// Starts a command with this input, on this database.
fn begin(database: &Path, arguments: &[&str], input: String) -> (Child, thread::JoinHandle<()>) {
    let mut command = govstore();
    command.arg("--db").arg(database).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("govstore starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let feeder = thread::spawn(move || {
        let _ = stdin.write_all(input.as_bytes()); // it may have ended before it had read everything
    });
    (child, feeder)
}

/// As `docker run -v g.db:/data/g.db` does it. Before it was refused, 800 updates were acknowledged here and 400 kept.
#[test]
fn a_file_that_is_mounted_by_itself_is_refused() {
    if !inside_a_mount_namespace("a_file_that_is_mounted_by_itself_is_refused") {
        return;
    }
    let folder = Folder::with_writer();
    let (container, mounted) = (folder.file("container"), folder.file("container/g.db"));
    fs::create_dir(&container).expect("a folder");
    fs::write(&mounted, "").expect("a file to mount over");
    bind(&folder.db(), &mounted);

    let updates = "{\"agent_id\":\"writer\"}\n".repeat(400);
    let appliers = [folder.db(), mounted.clone()]
        .map(|database| begin(&database, &["--json", "apply", "-"], updates.clone()));
    let ran = appliers.map(|(child, feeder)| {
        let ran = Ran::from(child.wait_with_output().expect("govstore ends"));
        feeder.join().expect("it was fed");
        ran
    });
    let acknowledged: usize = ran.iter().map(|ran| ran.stdout.matches("\"success\":true").count()).sum();
    assert_eq!(acknowledged, 400, "{}", ran[1].stderr);
    assert_eq!(folder.number("SELECT count(*) FROM agent_updates"), 401);
    assert_eq!(folder.number("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
    let [_, ran] = ran;
    ran.refused(1, &[text(&mounted), "mount point", "`-v FOLDER:/data`", "Docker Desktop"]);
    let left = fs::read_dir(&container).expect("the folder").count();
    assert_eq!(left, 1, "no log was made beside the other name");

    // Its folder may be mounted: both names are one there, and so is the log.
    let whole = folder.file("whole");
    fs::create_dir(&whole).expect("a folder");
    bind(folder.path(), &whole);
    folder.run(&["--db", text(&whole.join("governance.db")), "update", "writer"]).done();
    assert_eq!(folder.number("SELECT count(*) FROM agent_updates"), 402);

    // A log that was mounted by itself is another one than that of the others as well.
    for suffix in ["-wal", "-shm"] {
        let (log, other) = (folder.file(&format!("governance.db{suffix}")), folder.file("other"));
        for file in [&log, &other] {
            fs::write(file, "").expect("a file");
        }
        bind(&other, &log);
        folder.run(&["update", "writer"]).refused(1, &[text(&log), "mount point"]);
        let gone = Command::new("umount").arg(&log).status().expect("umount starts");
        assert!(gone.success(), "{gone}");
        folder.run(&["update", "writer"]).done();
    }
}

/// A file system in user space, of which only an empty folder works: enough to ask it what it is.
fn serve_an_empty_folder(mut device: File) {
    const NO_ENTRY: i32 = -2;
    const NOT_IMPLEMENTED: i32 = -38;
    let mut request = vec![0; 1 << 17];
    // Until it is unmounted. Numbers and layouts are those of linux/fuse.h.
    while let Ok(length) = device.read(&mut request) {
        let field = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().expect("four bytes"));
        assert!(length >= 40, "a request has a header");
        let (opcode, unique) = (field(4), request[8..16].to_vec());
        let (error, body): (i32, Vec<u8>) = match opcode {
            26 => {
                let mut init = vec![0; 64]; // 7.31, and no feature
                init[..8].copy_from_slice(&[7, 0, 0, 0, 31, 0, 0, 0]);
                init[20..24].copy_from_slice(&4096_u32.to_le_bytes());
                (0, init)
            }
            3 => {
                let mut attributes = vec![0; 104];
                attributes[16] = 1; // inode
                attributes[76..80].copy_from_slice(&0o40_755_u32.to_le_bytes());
                attributes[80] = 2; // links
                (0, attributes)
            }
            17 => (0, vec![0; 80]), // statfs: the kernel says itself that it is FUSE
            1 => (NO_ENTRY, Vec::new()),
            2 | 36 | 42 => continue, // forget, interrupt: no answer
            _ => (NOT_IMPLEMENTED, Vec::new()),
        };
        let mut answer = u32::try_from(16 + body.len()).expect("a short answer").to_le_bytes().to_vec();
        answer.extend(error.to_le_bytes());
        answer.extend(unique);
        answer.extend(body);
        let _ = device.write(&answer); // whoever asked may have been killed
    }
}

#[test]
fn a_file_system_that_other_machines_may_write_to_is_refused_unless_forced() {
    if !inside_a_mount_namespace("a_file_system_that_other_machines_may_write_to_is_refused_unless_forced") {
        return;
    }
    let folder = Folder::new();
    let mounted = folder.file("shared");
    fs::create_dir(&mounted).expect("a folder");
    let Ok(device) = File::options().read(true).write(true).open("/dev/fuse") else {
        eprintln!("skipped: /dev/fuse can't be opened");
        return;
    };
    let stdin = device.try_clone().expect("a descriptor");
    let options = "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other";
    let mount = Command::new("mount")
        .args(["-i", "-t", "fuse", "-o", options, "none"])
        .arg(&mounted)
        .stdin(stdin)
        .status()
        .expect("mount starts");
    if !mount.success() {
        eprintln!("skipped: FUSE can't be mounted: {mount}");
        return;
    }
    let server = thread::spawn(move || serve_an_empty_folder(device));
    let database = mounted.join("governance.db");
    let database = text(&database);
    let refusal = [database, "FUSE", "local disk", "Docker Desktop", "--force-file-system"];
    folder.run(&["--db", database, "update", "writer"]).refused(1, &refusal);
    folder.run(&["--db", database, "serve"]).refused(1, &refusal);
    // This one can't make a file, but it is asked to.
    let forced = folder.run(&["--db", database, "--force-file-system", "update", "writer"]);
    let forced = forced.refused(1, &["cannot create"]);
    assert!(!forced.stderr.contains("FUSE"), "{forced:?}");
    let gone = Command::new("umount").arg(&mounted).status().expect("umount starts");
    assert!(gone.success(), "{gone}");
    server.join().expect("the file system ends when it is unmounted");
}

/// As after `cp -l`.
#[test]
fn a_second_name_of_the_file_is_refused_unless_forced() {
    let folder = Folder::with_writer();
    let other = folder.file("linked.db");
    fs::hard_link(folder.db(), &other).unwrap();
    let before = folder.snapshot();
    for (database, arguments) in
        [(folder.db(), &["agents"][..]), (other.clone(), &["update", "writer"]), (folder.db(), &["check"])]
    {
        let ran = folder.run(&[&["--db", text(&database)], arguments].concat());
        ran.refused(1, &[text(&database), "1 more name (hard links)", "--force-hard-link"]);
        assert_eq!(folder.snapshot(), before);
    }
    let refused = Store::open(folder.db());
    assert!(matches!(refused, Err(govstore::Error::HardLinked { others: 1, .. })), "{refused:?}");
    Store::options().force_hard_link(true).open(folder.db()).expect("it was asked for");
    folder.run(&["--force-hard-link", "update", "writer"]).done();
    {
        folder.run(&["serve", "--force-hard-link"]).refused(0, &[]); // until the end of an empty input
    }
    let checked = folder.run(&["--json", "check", "--force-hard-link"]).done().json();
    let warned = checks(&checked, "warning");
    assert_eq!(warned, ["place"], "{checked}");
    fs::remove_file(other).unwrap();
    folder.run(&["update", "writer"]).done();
}

fn checks(json: &serde_json::Value, status: &str) -> Vec<String> {
    let checks = json["checks"].as_array().expect("checks").iter();
    checks
        .filter(|check| check["status"] == status)
        .map(|check| check["name"].to_string().replace('"', ""))
        .collect()
}

/// A restore that is killed while the files change places leaves one. (`tests/crash_storm` kills it there.)
#[test]
fn the_name_that_a_cut_off_restore_has_left_goes_with_the_next_open() -> TestResult {
    let folder = Folder::with_writer();
    let kept = folder.file("governance.db.replaced-20251119T204109.824Z");
    let names = || fs::metadata(folder.db()).map(|found| found.nlink());
    fs::hard_link(folder.db(), &kept)?;
    folder.run(&["update", "writer"]).done();
    assert!(!kept.exists() && names()? == 1);

    // Not what somebody else has named, nor a database that was really replaced.
    fs::copy(folder.db(), &kept)?;
    let by_hand = folder.file("governance.db.replaced-by-hand");
    fs::hard_link(folder.db(), &by_hand)?;
    folder.run(&["update", "writer"]).refused(1, &["1 more name"]);
    assert!(by_hand.exists());
    fs::remove_file(by_hand)?;
    folder.run(&["update", "writer"]).done();
    assert!(kept.exists());

    // Nor while a restore is under way, which needs it: its partial file is locked.
    fs::remove_file(&kept)?;
    fs::hard_link(folder.db(), &kept)?;
    let partial = folder.file(".governance.db.1-0.govstore-partial");
    let lock = File::create(&partial)?;
    lock.lock()?;
    folder.run(&["update", "writer"]).done();
    assert!(kept.exists() && names()? == 2);
    drop(lock);
    folder.run(&["update", "writer"]).done();
    assert!(!kept.exists() && names()? == 1);

    // Nor where it has the log of a database that was too damaged for the restore to open.
    fs::hard_link(folder.db(), &kept)?;
    fs::write(format!("{}-wal", text(&kept)), "the newest updates")?;
    folder.run(&["update", "writer"]).refused(1, &["1 more name"]);
    assert!(kept.exists());
    Ok(())
}

/// Whoever opens the database while a restore puts the backup in place must not take the old one's last name away.
#[test]
fn a_restore_keeps_what_it_replaces_while_others_open_the_database() -> TestResult {
    // The instant between the two names is a microsecond long, unless the renaming is held up.
    let held_up = ["-f", "-qq", "-e", "trace=/^rename", "-e", "inject=/^rename:delay_enter=1500000"];
    if !available("strace", &[&held_up[..], &["true"]].concat()) {
        return Ok(());
    }
    let folder = Folder::with_writer();
    let copy = folder.file("copy.db");
    folder.run(&["backup", text(&copy)]).done();
    folder.run(&["update", "after-the-backup"]).done();
    let mut strace = Command::new("strace");
    strace.args(held_up).arg(GOVSTORE).args(["--json", "restore", text(&copy)]);
    strace.env("GOVSTORE_DB", folder.db()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut restore = strace.spawn()?;
    wait_until("the old database to have two names", || {
        assert!(restore.try_wait().is_ok_and(|status| status.is_none()), "the restore ended");
        fs::metadata(folder.db()).is_ok_and(|found| found.nlink() == 2)
    });
    folder.run(&["update", "newcomer"]).done();

    let report = Ran::from(restore.wait_with_output()?);
    assert_eq!(report.code, Some(0), "{report:?}");
    let agents = |path: &Path| -> rusqlite::Result<Vec<String>> {
        let conn = rusqlite::Connection::open(path)?;
        let mut statement = conn.prepare("SELECT agent_id FROM agents ORDER BY agent_id")?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    let replaced = report.json()["replaced"].as_str().map(PathBuf::from).ok_or("nothing was replaced")?;
    assert_eq!(agents(&replaced)?, ["after-the-backup", "writer"]);
    assert_eq!(agents(&folder.db())?, ["newcomer", "writer"]);
    Ok(())
}

/// Waits for a command that may hang.
fn ends(mut child: Child) -> Ran {
    let mut ended = false;
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !ended && std::time::Instant::now() < patience {
        ended = child.try_wait().expect("a child").is_some();
        thread::sleep(std::time::Duration::from_millis(5));
    }
    if !ended {
        child.kill().expect("a child");
    }
    let ran = Ran::from(child.wait_with_output().expect("a child"));
    assert!(ended, "it hangs: {ran:?}");
    ran
}

#[test]
fn what_is_no_file_beside_the_database_is_refused_and_not_waited_for() {
    let folder = Folder::with_writer();
    let copy = folder.file("copy.db");
    let backup = text(&copy);
    folder.run(&["backup", backup]).done();
    for suffix in ["-journal", "-wal", "-shm"] {
        for kind in ["pipe", "folder", "link"] {
            for database in [folder.db(), folder.file("new.db"), copy.clone()] {
                let odd = format!("{}{suffix}", text(&database));
                match kind {
                    "pipe" => assert!(Command::new("mkfifo").arg(&odd).status().expect("mkfifo").success()),
                    "folder" => fs::create_dir(&odd).expect("a folder"),
                    _ => symlink("/dev/null", &odd).expect("a link"),
                }
                let before = fs::read(folder.db()).expect("a file");
                let arguments: &[&str] = if database == copy {
                    &["restore", backup]
                } else {
                    &["--db", text(&database), "update", "writer"]
                };
                let mut command = folder.command(arguments);
                let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
                let ran = ends(child.expect("govstore starts"));
                ran.refused(1, &[&odd, kind, "Remove it"]);
                assert!(fs::read(folder.db()).expect("a file") == before);
                assert!(!folder.file("new.db").exists(), "no database is made beside it");
                let _ = fs::remove_file(&odd).or_else(|_| fs::remove_dir(&odd));
            }
        }
    }
    folder.run(&["update", "writer"]).done();
}

#[test]
fn a_mistyped_folder_is_not_made() {
    let folder = Folder::with_writer();
    let copy = folder.file("copy.db");
    folder.run(&["backup", text(&copy)]).done();
    let nowhere = folder.file("typo/governance.db");
    let sentence = format!("there is no folder {}; make it first", text(&folder.file("typo")));
    for arguments in [
        &["update", "writer"][..],
        &["apply", "-"],
        &["serve"],
        &["config", "set", "history_limit", "5"],
        &["restore", text(&copy)],
    ] {
        for by_option in [true, false] {
            let mut command = govstore();
            if by_option {
                command.arg("--db").arg(&nowhere);
            } else {
                command.env("GOVSTORE_DB", &nowhere);
            }
            let ran = Ran::of(command.args(arguments));
            assert_eq!(ran.code, Some(1), "{arguments:?}: {ran:?}");
            let restore = arguments[0] == "restore"; // it fails in its own words
            assert!(restore || ran.stderr.contains(&sentence), "{arguments:?}: {ran:?}");
            assert!(!folder.file("typo").exists(), "{arguments:?}");
        }
    }
    let refused = Store::open(&nowhere);
    let Err(govstore::Error::CannotCreate { path, source }) = refused else { panic!("{refused:?}") };
    assert_eq!((path, source.kind()), (nowhere, std::io::ErrorKind::NotFound));
}

/// The default location's folder is made, as a new account has none. What is made must survive a power cut, so each
/// folder in which something was made is brought to the disk.
#[test]
fn what_is_made_is_brought_to_the_disk() -> TestResult {
    /// Notes what is brought to the disk, in order.
    const SHIM: &str = r#"
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <unistd.h>
        int fsync(int fd) {
            char link[64], path[4096];
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            ssize_t length = readlink(link, path, sizeof path);
            FILE *notes = fopen(getenv("NOTES"), "a");
            if (notes && length > 0) fprintf(notes, "%.*s\n", (int)length, path);
            if (notes) fclose(notes);
            return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
        }"#;
    if !Path::new("/proc/self/fd").exists() {
        return Ok(());
    }
    let folder = Folder::new();
    let Some(shim) = govstore_testkit::compiled(folder.path(), SHIM)? else { return Ok(()) };
    let notes = folder.file("notes");
    let home = folder.file("home");
    let synced = |arguments: &[&str]| {
        let _ = fs::remove_file(&notes);
        let mut command = govstore();
        command.env("LD_PRELOAD", &shim).env("NOTES", &notes).env("XDG_DATA_HOME", &home).args(arguments);
        Ran::of(&mut command).done();
        fs::read_to_string(&notes).unwrap_or_default()
    };
    // SQLite brings the folder of a new log to the disk too, after what is in the log.
    let first = |said: &str, number| said.lines().take(number).map(PathBuf::from).collect::<Vec<_>>();
    let said = synced(&["--db", text(&folder.db()), "update", "writer"]);
    assert_eq!(first(&said, 1), [folder.path()], "{said}");
    let said = synced(&["update", "writer"]);
    let made_in = [folder.path(), &home, &home.join("govstore")];
    assert_eq!(first(&said, 3), made_in, "{said}");
    let mode = |path: &Path| fs::metadata(path).map(|found| found.permissions().mode() & 0o777);
    assert_eq!((mode(&home)?, mode(&home.join("govstore"))?), (0o700, 0o700));
    let said = synced(&["update", "writer"]);
    assert!(
        !first(&said, 9).contains(&home) && first(&said, 1) != made_in[2..],
        "nothing is made again: {said}"
    );
    Ok(())
}

/// `ulimit -f` counts blocks of 512 bytes in a POSIX shell; bash takes 1024.
fn limited(folder: &Folder, blocks: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -f {blocks}; exec \"$0\" \"$@\""), GOVSTORE]).args(arguments);
    command.env("GOVSTORE_DB", folder.db()).stdin(Stdio::null());
    command
}

/// The system's answer to a file that is too large is to end the process, unless it says that it will do.
#[test]
fn a_limit_on_the_size_of_files_ends_no_process_and_costs_no_data() -> TestResult {
    let sayings = ["may not become larger than", "nothing was changed", "ulimit -f"];
    let folder = Folder::with_writer();
    let updates = folder.write("updates.jsonl", "{\"agent_id\":\"writer\"}\n".repeat(3_000));
    let ran = Ran::of(&mut limited(&folder, 400, &["--json", "apply", &updates]));
    // Once the database itself has no room for what is in its log, the fate of a commit may stay open.
    let ran = match ran.code {
        Some(5) => ran.refused(5, &["may not become larger than", "it is in doubt", "ulimit -f"]),
        _ => ran.refused(1, &sayings),
    };
    let lines = ran.json_lines();
    let applied = lines.iter().filter(|line| line["success"] == true).count();
    let in_doubt = lines.iter().filter(|line| line["in_doubt"] == true).count();
    assert!((1..3_000).contains(&applied), "{applied} were applied");
    let kept = usize::try_from(folder.number("SELECT count(*) FROM agent_updates"))? - 1;
    assert!(kept == applied || kept == applied + in_doubt, "{kept} of {applied} and {in_doubt} in doubt");

    // Not even the index of the log can be made.
    Ran::of(&mut limited(&folder, 16, &["update", "writer"])).refused(1, &sayings);
    folder.run(&["update", "writer"]).done();
    folder.run(&["check"]).done();
    Ok(())
}

#[test]
fn a_server_answers_under_a_limit_on_the_size_of_files() -> TestResult {
    use std::io::{BufRead, BufReader};

    let folder = Folder::with_writer();
    let mut server = limited(&folder, 400, &["serve"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = server.stdin.take().ok_or("no stdin")?;
    let mut answers = BufReader::new(server.stdout.take().ok_or("no stdout")?).lines();
    let mut ask = |request: String| -> Result<serde_json::Value, Box<dyn std::error::Error>> {
        writeln!(stdin, "{request}")?;
        Ok(serde_json::from_str(&answers.next().ok_or("the server is gone")??)?)
    };
    ask(r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#.to_owned())?;
    let mut refused = None;
    for id in 1..=300 {
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"process_agent_update","arguments":{{"agent_id":"writer"}}}}}}"#
        );
        let answer = ask(call)?;
        if answer["result"]["isError"] == true {
            refused = Some(answer["result"].to_string());
            break;
        }
    }
    let refused = refused.ok_or("it never came to the limit")?;
    assert!(refused.contains("may not become larger than"), "{refused}");
    // It lives, and reads go on.
    let answer = ask(
        r#"{"jsonrpc":"2.0","id":301,"method":"tools/call","params":{"name":"list_agents","arguments":{}}}"#
            .to_owned(),
    )?;
    assert_eq!(answer["result"]["structuredContent"]["success"], true, "{answer}");
    drop(stdin);
    wait_until("the server to end", || server.try_wait().is_ok_and(|status| status.is_some()));
    Ok(())
}
