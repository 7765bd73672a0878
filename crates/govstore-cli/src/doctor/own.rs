//! How a configuration is to call this program.
//!
//! By its whole path: a client that was started from a desktop has another PATH than a shell, and one that can't find
//! `govstore` loses every server. If the shell finds this very program as `govstore`, the path is the one that it finds
//! it by, since a link such as /opt/homebrew/bin/govstore outlives an upgrade and what it leads to doesn't. A file that
//! belongs to a project is different: a path of this machine means nothing on others, so there it is `govstore`, if the
//! shell finds it so.

use std::env;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

#[derive(Debug, Clone)]
pub struct Own {
    path: String,
    is_on_path: bool,
    /// Why a configuration can't count on it, in a sentence.
    objection: Option<String>,
}

impl Own {
    /// This program.
    pub fn find() -> io::Result<Self> {
        let program = env::current_exe().and_then(fs::canonicalize)?;
        let on_path = env::var_os("PATH").and_then(|path| find_in(env::split_paths(&path), &program));
        let is_on_path = on_path.is_some();
        let path = on_path.unwrap_or(program);
        let shown = path.display();
        let objection = if is_in_cache(&path) {
            Some(format!("{shown} is in a cache that may be emptied; install govstore, and run that one"))
        } else if path.to_str().is_none() {
            Some(format!("{shown} is not UTF-8; move govstore to a folder whose name is"))
        } else {
            None
        };
        Ok(Self { path: path.to_string_lossy().into_owned(), is_on_path, objection })
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn objection(&self) -> Option<&str> {
        self.objection.as_deref()
    }

    /// The command for a configuration.
    pub fn command(&self, is_shared: bool) -> &str {
        if is_shared && self.is_on_path { "govstore" } else { &self.path }
    }
}

/// The file called `govstore` that a shell finds, if it is this program.
fn find_in(mut folders: impl Iterator<Item = PathBuf>, program: &Path) -> Option<PathBuf> {
    let found = folders.find_map(|folder| {
        let file = folder.join("govstore").with_extension(env::consts::EXE_EXTENSION);
        (file.is_absolute() && file.is_file()).then_some(file)
    })?;
    fs::canonicalize(&found).is_ok_and(|real| real == program).then_some(found)
}

/// Whether a file is one that `uvx` or `npx` put there for the moment.
fn is_in_cache(path: &Path) -> bool {
    let mut folders = path.components().map(Component::as_os_str);
    folders.any(|folder| folder == "_npx" || folder == "archive-v0" || folder == "environments-v2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_no_place_to_count_on() {
        assert!(is_in_cache(Path::new("/home/a/.cache/uv/archive-v0/x1/bin/govstore")));
        assert!(is_in_cache(Path::new("/home/a/.npm/_npx/0a/node_modules/.bin/govstore")));
        assert!(!is_in_cache(Path::new("/home/a/.local/bin/govstore")));
    }
}
