//! Servers in containers, by a `docker` that behaves as the real one: its client's end leaves the container.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use govstore_testkit::wait_until;
use rustix::process::Signal;

use crate::TestResult;
use crate::tree::{Home, children, kill};

/// Makes a container, which is a file with its id, and is its client until the end of its input. `rm -f` removes it.
const DOCKER: &str = r#"#!/bin/sh
containers=$FAKE_CONTAINERS
case "$1" in
  run)
    shift
    while [ $# -gt 0 ]; do
      case "$1" in --cidfile) file=$2; shift ;; esac
      shift
    done
    [ -e "$file" ] && { echo "docker: container ID file found" >&2; exit 125; }
    id=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
    : > "$containers/$id"
    printf %s "$id" > "$file"
    trap '' TERM
    cat
    sleep 600 ;;
  rm)
    [ -e "$containers/$3" ] || { echo "Error: No such container: $3" >&2; exit 1; }
    rm "$containers/$3" ;;
esac
"#;

struct Docker {
    home: Home,
}

impl Docker {
    fn new() -> TestResult<Self> {
        let docker = Self { home: Home::new()? };
        fs::create_dir(docker.containers())?;
        fs::create_dir(docker.home.path().join("runtime"))?;
        let program = docker.home.path().join("docker");
        fs::write(&program, DOCKER)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(docker)
    }

    fn containers(&self) -> PathBuf {
        self.home.path().join("containers")
    }

    fn has_containers(&self) -> bool {
        fs::read_dir(self.containers()).is_ok_and(|mut files| files.next().is_some())
    }

    /// In front of a command: the fake `docker`, and where it keeps its containers.
    fn prepare(&self, command: &mut Command) -> TestResult {
        let path = std::env::var("PATH")?;
        command.env("PATH", format!("{}:{path}", self.home.path().display()));
        command
            .env("FAKE_CONTAINERS", self.containers())
            .env("XDG_RUNTIME_DIR", self.home.path().join("runtime"));
        Ok(())
    }

    /// Starts a server in a container.
    fn start(&self) -> TestResult<(Child, i32)> {
        let mut command =
            self.home.run_with_graces(["0.1", "0.1"], &[], &["docker", "run", "-i", "--rm", "image"]);
        self.prepare(&mut command)?;
        let started = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        wait_until("the container", || self.has_containers());
        let keeper = *children(started.id())?.first().ok_or("no keeper")?;
        Ok((started, keeper))
    }

    fn reap(&self) -> TestResult {
        let mut reap = Command::new(crate::tree::GOVSTORE);
        reap.arg("--db").arg(self.home.database()).arg("reap");
        self.prepare(&mut reap)?;
        let output = reap.output()?;
        assert!(output.status.success(), "{output:?}");
        Ok(())
    }
}

#[test]
fn its_container_is_removed_in_whatever_way_it_ends() -> TestResult {
    let docker = Docker::new()?;
    for way in ["closed", "front", "keeper", "server", "signal", "both"] {
        let (mut started, keeper) = docker.start()?;
        let front = i32::try_from(started.id())?;
        match way {
            "closed" => drop(started.stdin.take()),
            "front" => kill(front, Signal::KILL)?,
            "keeper" => kill(keeper, Signal::KILL)?,
            "signal" => kill(front, Signal::TERM)?,
            "server" => kill(*children(u32::try_from(keeper)?)?.first().ok_or("no server")?, Signal::KILL)?,
            _ => {
                kill(front, Signal::STOP)?;
                kill(keeper, Signal::KILL)?;
                kill(front, Signal::KILL)?;
                started.wait()?;
                assert!(docker.has_containers());
                docker.reap()?;
                assert!(!docker.has_containers(), "it is gone once reap returns");
            }
        }
        wait_until(&format!("the container to be removed: {way}"), || !docker.has_containers());
        docker.home.wait_until_nothing_is_left()?;
        started.wait()?;
    }
    let files = fs::read_dir(docker.home.path().join("runtime/govstore"))?.count();
    assert_eq!(files, 0, "nor are files with ids left");
    Ok(())
}

/// A file with an id that somebody else has made, or that is none, removes nothing.
#[test]
fn only_an_id_is_taken_for_one() -> TestResult {
    let docker = Docker::new()?;
    let file = docker.home.path().join("given");
    let given = file.to_str().ok_or("a path that is no text")?;
    for content in ["", "x", "--help 0123456789ab", "../../0123456789ab"] {
        fs::write(&file, content)?;
        let mut command = docker.home.run(&[], &["docker", "run", "--cidfile", given, "image"]);
        docker.prepare(&mut command)?;
        let output = command.stdin(Stdio::null()).output()?;
        assert_eq!(output.status.code(), Some(125), "docker itself refuses a file that is there");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(complaint.contains("has no id of a container in it"), !content.is_empty(), "{complaint}");
        assert!(file.exists());
    }
    Ok(())
}
