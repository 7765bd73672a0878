//! Where clients keep their configurations on this system.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use super::formats::Format;

/// A program that starts MCP servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Client {
    ClaudeDesktop,
    ClaudeCode,
    Cursor,
    #[value(name = "vscode")]
    #[serde(rename = "vscode")]
    VsCode,
    Codex,
    Zed,
    /// Whose a file is that was named and lies in none of the places.
    #[value(skip)]
    Other,
}

impl Client {
    /// Its name, as its makers write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "Claude Desktop",
            Self::ClaudeCode => "Claude Code",
            Self::Cursor => "Cursor",
            Self::VsCode => "VS Code",
            Self::Codex => "Codex",
            Self::Zed => "Zed",
            Self::Other => "other",
        }
    }
}

/// A file that a client reads.
#[derive(Debug, Clone)]
pub struct Place {
    pub client: Client,
    pub path: PathBuf,
    pub format: Format,
    /// Whether it belongs to a project, so that others may have it too.
    pub is_shared: bool,
}

/// The files that are there, each once.
pub fn present() -> Vec<Place> {
    let mut seen = Vec::new();
    let there = known().into_iter().filter(|place| {
        let Ok(real) = fs::canonicalize(&place.path) else { return place.path.is_symlink() };
        let is_new = !seen.contains(&real);
        seen.push(real);
        is_new
    });
    there.collect()
}

/// A file that somebody names.
pub fn named(path: &Path) -> Place {
    let real = fs::canonicalize(path);
    let is_it = |place: &Place| {
        real.as_ref().is_ok_and(|real| fs::canonicalize(&place.path).is_ok_and(|known| known == *real))
    };
    if let Some(place) = known().into_iter().find(is_it) {
        return Place { path: path.to_owned(), ..place };
    }
    let is_toml = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
    let format = if is_toml { Format::Toml } else { Format::Json };
    Place { client: Client::Other, path: path.to_owned(), format, is_shared: false }
}

/// Every place, whether a file is there or not.
fn known() -> Vec<Place> {
    let mut places = Vec::new();
    let mut add = |client, path: PathBuf, is_shared| {
        let format = if client == Client::Codex { Format::Toml } else { Format::Json };
        places.push(Place { client, path, format, is_shared });
    };
    let folder_of = |variable| env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = dirs::home_dir();
    if let Some(config) = dirs::config_dir() {
        add(Client::ClaudeDesktop, config.join("Claude/claude_desktop_config.json"), false);
        for edition in ["Code", "Code - Insiders", "VSCodium"] {
            let user = config.join(edition).join("User");
            for folder in [user.clone()].into_iter().chain(folders(&user.join("profiles"))) {
                add(Client::VsCode, folder.join("mcp.json"), false);
                add(Client::VsCode, folder.join("settings.json"), false);
            }
        }
    }
    if let Some(folder) = folder_of("CLAUDE_CONFIG_DIR").or_else(|| home.clone()) {
        add(Client::ClaudeCode, folder.join(".claude.json"), false);
    }
    if let Some(home) = &home {
        add(Client::Cursor, home.join(".cursor/mcp.json"), false);
    }
    if let Some(folder) = folder_of("CODEX_HOME").or_else(|| Some(home.as_ref()?.join(".codex"))) {
        add(Client::Codex, folder.join("config.toml"), false);
    }
    if let Some(folder) = zed() {
        add(Client::Zed, folder.join("settings.json"), false);
    }
    if let Ok(here) = env::current_dir() {
        add(Client::ClaudeCode, here.join(".mcp.json"), true);
        add(Client::Cursor, here.join(".cursor/mcp.json"), true);
        add(Client::VsCode, here.join(".vscode/mcp.json"), true);
        add(Client::VsCode, here.join(".vscode/settings.json"), true);
        add(Client::Codex, here.join(".codex/config.toml"), true);
        add(Client::Zed, here.join(".zed/settings.json"), true);
    }
    places.sort_by_key(|place| place.client as u8); // files of one client stay in their order
    places
}

/// The folder of Zed, which on macOS is not where programs keep such things there.
fn zed() -> Option<PathBuf> {
    if cfg!(target_os = "macos") {
        return Some(dirs::home_dir()?.join(".config/zed"));
    }
    Some(dirs::config_dir()?.join(if cfg!(windows) { "Zed" } else { "zed" }))
}

/// The folders in a folder, by their names.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}
