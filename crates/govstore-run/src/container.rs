//! Servers in containers: ending `docker run` leaves its container, so its id has to be known.

use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use govstore::{Container, ContainerRuntime, RunId};

/// Options of `docker` and `podman` that stand before the command and take a value.
const WITH_VALUE: [&str; 10] = [
    "-c",
    "--context",
    "--config",
    "-H",
    "--host",
    "-l",
    "--log-level",
    "--tlscacert",
    "--connection",
    "--url",
];

/// The container that a command runs, if it runs one. The command then says where its id is written, unless it did so
/// already.
pub fn of(command: &mut Vec<OsString>, run_id: &RunId) -> io::Result<Option<Container>> {
    let Some(runtime) = command
        .first()
        .and_then(|program| Path::new(program).file_stem()?.to_str()?.parse::<ContainerRuntime>().ok())
    else {
        return Ok(None);
    };
    let Some(run) = run_at(command) else { return Ok(None) };
    if let Some(given) = given_id_file(&command[run + 1..]) {
        return Ok(Some(Container::new(runtime, given)));
    }
    let id_file = runtime_folder()?.join(format!("{run_id}.cid"));
    command.splice(run + 1..=run, [OsString::from("--cidfile"), id_file.clone().into_os_string()]);
    Ok(Some(Container::new(runtime, id_file)))
}

/// Where `run` stands, of `docker run` or `docker container run`.
fn run_at(command: &[OsString]) -> Option<usize> {
    let mut words = command.iter().enumerate().skip(1);
    while let Some((at, word)) = words.next() {
        match word.to_str()? {
            "run" => return Some(at),
            "container" => {}
            option if WITH_VALUE.contains(&option) => drop(words.next()),
            option if option.starts_with('-') => {}
            _ => return None,
        }
    }
    None
}

/// `--cidfile FILE` or `--cidfile=FILE`, if it is among the options.
fn given_id_file(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--cidfile" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(file) = argument.to_str().and_then(|argument| argument.strip_prefix("--cidfile=")) {
            return Some(PathBuf::from(file));
        }
    }
    None
}

/// A folder of this user alone, for as long as the machine runs.
fn runtime_folder() -> io::Result<PathBuf> {
    let given = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let uid = rustix::process::getuid().as_raw();
    let folder = match given {
        Some(folder) => folder.join("govstore"),
        None => env::temp_dir().join(format!("govstore-{uid}")),
    };
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let metadata = fs::symlink_metadata(&folder)?;
    if !metadata.is_dir() || metadata.uid() != uid {
        return Err(io::Error::other(format!("{} belongs to somebody else", folder.display())));
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &str) -> Vec<OsString> {
        words.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_id_is_asked_for_right_after_run() -> io::Result<()> {
        let run_id = RunId::random();
        for (words, at) in
            [("docker run -i --rm image run", 2), ("podman --log-level debug container run image", 5)]
        {
            let mut asked = command(words);
            let container = of(&mut asked, &run_id)?.expect("a container");
            assert_eq!(asked[at], "--cidfile", "{words}");
            assert_eq!(asked[at + 1], container.id_file.as_os_str());
            asked.drain(at..at + 2);
            assert_eq!(asked, command(words));
        }
        Ok(())
    }

    #[test]
    fn an_id_file_that_is_given_stays_and_other_commands_are_left_alone() -> io::Result<()> {
        let run_id = RunId::random();
        for words in ["docker run --cidfile /tmp/id image", "/usr/bin/docker run -i --cidfile=/tmp/id image"]
        {
            let mut given = command(words);
            let container = of(&mut given, &run_id)?.expect("a container");
            assert_eq!((container.id_file, given), (PathBuf::from("/tmp/id"), command(words)));
        }
        for words in ["docker ps", "docker", "dockerd run", "npx docker run", "docker compose run x"] {
            let mut other = command(words);
            assert!(of(&mut other, &run_id)?.is_none(), "{words}");
            assert_eq!(other, command(words));
        }
        Ok(())
    }
}
