//! A C library whose calls fail where a test wants them to, and whose clock is wrong: preloaded into the binary.

use std::path::PathBuf;

use super::support::{Folder, Ran};

/// Each call fails if the environment says so: the variables hold a part of the path that is concerned, or its end.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

static int concerns(const char *variable, const char *path) {
  const char *part = getenv(variable);
  return part && strstr(path, part);
}

static int ends_as(const char *variable, const char *path) {
  const char *end = getenv(variable);
  return end && strlen(end) <= strlen(path) && strcmp(path + strlen(path) - strlen(end), end) == 0;
}

static int fail(int error) {
  errno = error;
  return -1;
}

int unlink(const char *path) {
  if (concerns("FAIL_UNLINK", path)) return fail(EACCES);
  return REAL(int (*)(const char *), "unlink")(path);
}

int rename(const char *from, const char *to) {
  if (concerns("FAIL_RENAME_FROM", from) || ends_as("FAIL_RENAME_TO", to)) return fail(EIO);
  return REAL(int (*)(const char *, const char *), "rename")(from, to);
}

int link(const char *from, const char *to) {
  if (getenv("NO_HARD_LINKS")) return fail(EPERM);
  return REAL(int (*)(const char *, const char *), "link")(from, to);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
  if (getenv("NO_HARD_LINKS")) return fail(EPERM);
  return REAL(int (*)(int, const char *, int, const char *, int), "linkat")(from_folder, from, to_folder, to, flags);
}

int fsync(int file) {
  struct stat found;
  if (getenv("FAIL_FSYNC_OF_FOLDERS") && fstat(file, &found) == 0 && S_ISDIR(found.st_mode)) return fail(EIO);
  return REAL(int (*)(int), "fsync")(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = REAL(int (*)(clockid_t, struct timespec *), "clock_gettime")(clock, now);
  const char *ahead_s = getenv("CLOCK_AHEAD_S");
  if (result == 0 && clock == CLOCK_REALTIME && ahead_s) now->tv_sec += atol(ahead_s);
  return result;
}
"#;

/// The library, made for one test. Dropping it removes it.
pub struct FaultyLibrary {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl FaultyLibrary {
    /// `None`, said on stderr, where there is no C compiler.
    pub fn build() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = govstore_testkit::compiled(folder.path(), SOURCE).expect("a file")?;
        Some(Self { _folder: folder, path })
    }

    /// Runs the binary on the folder's database with these faults.
    pub fn run(&self, folder: &Folder, faults: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut command = folder.command(arguments);
        Ran::of(command.env("LD_PRELOAD", &self.path).envs(faults.iter().copied()))
    }
}
