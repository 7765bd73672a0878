//! The programs that tests run, built as the tests were.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `govstore` command.
pub fn govstore() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program("govstore"))
}

/// The program of [`mod@crate::test_answerer`].
pub fn test_answerer() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program("test-answerer"))
}

/// The program of [`mod@crate::test_server`].
pub fn test_server() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program("test-server"))
}

/// The program of [`mod@crate::test_worker`].
pub fn test_worker() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program("test-worker"))
}

/// One of the programs in `tests/programs`, or a reader's example. Cargo has built it if it built all tests; for one
/// test alone it has not.
///
/// # Panics
///
/// If it can't be built.
pub fn program(name: &str) -> PathBuf {
    // target/PROFILE/deps/this-test → target/PROFILE/examples/NAME
    let this = env::current_exe().expect("this test has a file");
    let profile = this.parent().and_then(Path::parent).expect("it lies in a target folder");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--example", name]);
    build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    build.arg("--target-dir").arg(profile.parent().expect("it lies in a target folder"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().is_ok_and(|status| status.success()), "{build:?}");
    profile.join("examples").join(name)
}
