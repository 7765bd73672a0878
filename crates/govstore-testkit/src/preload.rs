//! A few C functions in front of the system's own, for what no test could bring about otherwise.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `source` in `folder` into what `LD_PRELOAD` may name; `None`, with a word, where there is no C compiler.
pub fn compiled(folder: &Path, source: &str) -> Result<Option<PathBuf>, Box<dyn Error>> {
    let (file, library) = (folder.join("preloaded.c"), folder.join("preloaded.so"));
    fs::write(&file, source)?;
    match Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &file]).arg("-ldl").status() {
        Ok(status) if status.success() => Ok(Some(library)),
        other => {
            eprintln!("skipped: `cc` does not work here: {other:?}");
            Ok(None)
        }
    }
}
