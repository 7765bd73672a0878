//! Imports point one way: no circle among the files of the library, between folders only the arrows that
//! docs/architecture.md lists, and the crates of each backend in one folder. Of the tests, those that docs/testing.md
//! lists name SQLite, and no others.
//!
//! Each file in `src` is parsed. What it imports is what its `use` declarations and its paths that begin with
//! `crate`, `super` or `self` name; each is followed to the deepest module that it names, which is a file. Code for
//! tests is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

/// A module by the names of the modules around it and its own; the crate itself is empty.
type Module = Vec<String>;

/// The modules that have a file of their own, and what each imports.
struct Graph {
    source: PathBuf,
    files: BTreeMap<Module, PathBuf>,
    imports: BTreeMap<Module, BTreeSet<Module>>,
    /// The identifiers in each file, code for tests included.
    words: BTreeMap<Module, BTreeSet<String>>,
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The lines of the fenced block that has this word for a language, in a file of the documentation.
fn list(file: &str, word: &str) -> TestResult<Vec<String>> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))?;
    let block = text.split(&format!("```{word}\n")).nth(1).and_then(|rest| rest.split("```").next());
    let block = block.ok_or_else(|| format!("{file} has no list of {word}"))?;
    Ok(block.lines().map(str::to_owned).collect())
}

impl Graph {
    fn read(source: PathBuf) -> TestResult<Self> {
        let mut files = BTreeMap::new();
        find_files(&source, &mut Vec::new(), &mut files)?;
        let mut graph = Self { source, files, imports: BTreeMap::new(), words: BTreeMap::new() };
        for (module, path) in &graph.files {
            let text = fs::read_to_string(path)?;
            let parsed = syn::parse_file(&text).map_err(|e| format!("{}: {e}", path.display()))?;
            let mut imports = Imports { module, files: &graph.files, found: BTreeSet::new() };
            imports.visit_file(&parsed);
            imports.found.remove(module);
            graph.imports.insert(module.clone(), imports.found);
            let mut words = BTreeSet::new();
            collect_words(text.parse()?, &mut words);
            graph.words.insert(module.clone(), words);
        }
        Ok(graph)
    }

    fn name(&self, module: &Module) -> String {
        let path = &self.files[module];
        path.strip_prefix(&self.source).unwrap_or(path).display().to_string()
    }

    /// A circle of imports, if there is one.
    fn circle(&self) -> Option<Vec<String>> {
        let mut finished = BTreeSet::new();
        self.files.keys().find_map(|module| self.circle_from(module, &mut Vec::new(), &mut finished))
    }

    fn circle_from<'g>(
        &'g self,
        module: &'g Module,
        path: &mut Vec<&'g Module>,
        finished: &mut BTreeSet<&'g Module>,
    ) -> Option<Vec<String>> {
        if let Some(begin) = path.iter().position(|earlier| *earlier == module) {
            return Some(path[begin..].iter().map(|module| self.name(module)).collect());
        }
        if finished.contains(module) {
            return None;
        }
        path.push(module);
        let found = self.imports[module].iter().find_map(|next| self.circle_from(next, path, finished));
        path.pop();
        finished.insert(module);
        found
    }

    /// What the folders and files at the top import of each other.
    fn rooms(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut rooms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, imports) in &self.imports {
            let Some(room) = module.first() else { continue }; // lib.rs names everything
            let others = imports.iter().filter_map(|import| import.first()).filter(|other| *other != room);
            rooms.entry(room.clone()).or_default().extend(others.cloned());
        }
        rooms
    }
}

/// Finds the files of modules; those that are declared for tests alone are called `tests.rs` or `properties.rs`.
fn find_files(folder: &Path, module: &mut Module, files: &mut BTreeMap<Module, PathBuf>) -> TestResult {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).ok_or("a name")?.to_owned();
        match name.as_str() {
            "tests" | "properties" => continue,
            "lib" | "mod" => {
                files.insert(module.clone(), path);
                continue;
            }
            _ => {}
        }
        module.push(name);
        if path.is_dir() {
            find_files(&path, module, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(module.clone(), path);
        }
        module.pop();
    }
    Ok(())
}

fn collect_words(tokens: TokenStream, words: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                words.insert(ident.to_string());
            }
            TokenTree::Group(group) => collect_words(group.stream(), words),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Collects what one file imports.
struct Imports<'g> {
    module: &'g Module,
    files: &'g BTreeMap<Module, PathBuf>,
    found: BTreeSet<Module>,
}

impl Imports<'_> {
    /// Follows a path to the file that it leads to.
    fn follow(&mut self, path: &[String]) {
        if path.len() < 2 {
            return; // `crate = "…"` in an attribute of a macro
        }
        let mut module = match path.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self") => self.module.clone(),
            Some("super") => self.module[..self.module.len().saturating_sub(1)].to_vec(),
            Some(child) => {
                let mut module = self.module.clone();
                module.push(child.to_owned());
                if !self.files.contains_key(&module) {
                    return; // another crate, or a name of this very file
                }
                module
            }
            None => return,
        };
        for segment in &path[1..] {
            if segment == "super" {
                module.pop();
                continue;
            }
            module.push(segment.clone());
            if !self.files.contains_key(&module) {
                module.pop();
                break;
            }
        }
        self.found.insert(module);
    }

    fn follow_tree(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        match tree {
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.follow_tree(&part.tree, path);
                path.pop();
            }
            UseTree::Name(name) => self.follow_end(&name.ident.to_string(), path),
            UseTree::Rename(rename) => self.follow_end(&rename.ident.to_string(), path),
            UseTree::Glob(_) => self.follow(path),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.follow_tree(tree, path)),
        }
    }

    fn follow_end(&mut self, name: &str, path: &mut Vec<String>) {
        if name == "self" {
            self.follow(path);
        } else {
            path.push(name.to_owned());
            self.follow(path);
            path.pop();
        }
    }

    /// What macros are given is not parsed; paths in it begin with `crate` all the same.
    fn follow_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if ident == "crate" => path = vec![ident.to_string()],
                TokenTree::Ident(ident) if !path.is_empty() => path.push(ident.to_string()),
                TokenTree::Punct(punct) if punct.as_char() == ':' => {}
                TokenTree::Group(group) => self.follow_tokens(group.stream()),
                _ if !path.is_empty() => self.follow(&std::mem::take(&mut path)),
                _ => {}
            }
        }
        if !path.is_empty() {
            self.follow(&path);
        }
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.follow_tree(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if matches!(segments[0].as_str(), "crate" | "super" | "self") && segments.len() > 1 {
            self.follow(&segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.follow_tokens(invocation.tokens.clone());
    }
}

#[test]
fn no_file_imports_itself_by_way_of_others() -> TestResult {
    let graph = Graph::read(source())?;
    assert!(graph.files.len() > 60, "{} files", graph.files.len());
    assert_eq!(graph.circle(), None);
    for member in ["govstore-host", "govstore-mcp", "govstore-run"] {
        let graph =
            Graph::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates").join(member).join("src"))?;
        assert_eq!(graph.circle(), None, "{member}");
    }
    Ok(())
}

#[test]
fn folders_import_what_the_documentation_lists() -> TestResult {
    let listed: BTreeMap<String, BTreeSet<String>> = list("docs/architecture.md", "imports")?
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(room, imports)| {
            (room.trim().to_owned(), imports.split_whitespace().map(str::to_owned).collect())
        })
        .collect();
    let found = Graph::read(source())?.rooms();
    let lines: Vec<String> = found
        .iter()
        .map(|(room, imports)| {
            format!("{room}: {}", imports.iter().map(String::as_str).collect::<Vec<_>>().join(" "))
        })
        .collect();
    assert!(listed == found, "the list in docs/architecture.md should be\n{}", lines.join("\n"));
    Ok(())
}

#[test]
fn one_folder_names_the_crates_of_each_backend() -> TestResult {
    let graph = Graph::read(source())?;
    let sqlite = ["rusqlite", "r2d2", "r2d2_sqlite"];
    let postgres = ["tokio", "tokio_postgres", "tokio_postgres_rustls", "rustls", "rustls_native_certs"];
    for (folder, crates) in [("sqlite", &sqlite[..]), ("postgres", &postgres[..])] {
        let names_one = |module: &&Module| crates.iter().any(|name| graph.words[*module].contains(*name));
        let (inside, outside): (Vec<&Module>, Vec<&Module>) = graph
            .files
            .keys()
            .filter(names_one)
            .partition(|module| module.starts_with(&["backend".to_owned(), folder.to_owned()]));
        let outside: Vec<String> = outside.into_iter().map(|module| graph.name(module)).collect();
        assert_eq!(outside, [""; 0], "outside of backend/{folder}");
        assert!(inside.len() > 5, "{inside:?}");
    }
    Ok(())
}

/// How a test names SQLite: its crate, its dialect, its shell, or a database by its file.
const NAMES_OF_SQLITE: [&str; 13] = [
    "rusqlite",
    "Connection",
    ".sql()",
    "database.path()",
    "store.path()",
    "Store::open",
    "Store::options",
    "PRAGMA",
    "RAISE(",
    "julianday(",
    "sqlite3",
    "sqlite_schema",
    "strftime(",
];

/// Finds the files in a folder that name SQLite, and by which of the names.
fn find_names_of_sqlite(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<&str>>) -> TestResult {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_names_of_sqlite(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            let names: Vec<&str> = NAMES_OF_SQLITE.into_iter().filter(|name| text.contains(name)).collect();
            if !names.is_empty() {
                found.insert(path, names);
            }
        }
    }
    Ok(())
}

#[test]
fn only_the_tests_of_sqlites_own_name_sqlite() -> TestResult {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut found = BTreeMap::new();
    find_names_of_sqlite(&tests, &mut found)?;
    let this = found.remove(&tests.join("architecture.rs")).ok_or("this file has all of the names")?;
    assert_eq!(this, NAMES_OF_SQLITE);
    found.retain(|file, _| !file.starts_with(tests.join("postgres"))); // those of PostgreSQL's own open what they will
    for file in list("docs/testing.md", "sqlite")? {
        assert!(
            found.remove(&tests.join(&file)).is_some(),
            "{file} need not be in the list of docs/testing.md"
        );
    }
    assert!(found.is_empty(), "use govstore_testkit::Database, and no names of SQLite's: {found:#?}");
    Ok(())
}
