//! A PostgreSQL server of the tests' own, in a temporary folder, that ends when the process that started it does.

use std::env;
use std::error::Error;
use std::fs::{self, Permissions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::BytesMut;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use tokio::runtime::Builder;
use tokio_postgres::types::{FromSql, IsNull, Kind, ToSql, Type};
use tokio_postgres::{Client, NoTls, Row};

use crate::TestResult;

/// What the tests' own server runs with: durable enough to survive a killed process, and quick.
const QUICK: &[&str] = &["fsync=off", "max_connections=300", "shared_buffers=64MB", "autovacuum_naptime=5s"];

/// A server that runs for as long as this lives, or the process that started it.
pub struct Cluster {
    folder: tempfile::TempDir,
    bin: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
    keeper: Option<Child>,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Cluster {
    /// The server that the tests of this process share; `None`, and it is said loudly, where there is no PostgreSQL.
    /// With `CI=true` that is a failure.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(QUICK).expect("a server can be started")).as_ref()
    }

    /// A server of one test's own, with these settings. `None` as for [`Self::shared`].
    pub fn start(settings: &[&str]) -> TestResult<Option<Self>> {
        let Some(bin) = find_bin() else {
            assert!(
                env::var("CI").as_deref() != Ok("true"),
                "CI needs PostgreSQL: install it (initdb was not found)"
            );
            eprintln!("skipped: PostgreSQL is not installed (initdb was not found)");
            return Ok(None);
        };
        let mut cluster = Self::placed(bin, unprivileged_user())?;
        let (data, sockets) = (cluster.data(), cluster.sockets());
        let mut initdb = cluster.command("initdb");
        initdb.arg("-D").arg(&data).args([
            "-A",
            "trust",
            "-U",
            "postgres",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ]);
        succeed(&mut initdb)?;
        let mut file = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        writeln!(file, "unix_socket_directories = '{}'", sockets.display())?;
        writeln!(file, "listen_addresses = '127.0.0.1'\nport = {}", cluster.port)?;
        settings.iter().try_for_each(|setting| writeln!(file, "{setting}"))?;
        drop(file);
        cluster.up()?;
        Ok(Some(cluster))
    }

    /// A server to be, in a folder that is its user's.
    fn placed(bin: PathBuf, user: Option<(u32, u32)>) -> TestResult<Self> {
        let folder = tempfile::Builder::new().prefix("gpg").tempdir()?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let cluster = Self { folder, bin, user, port: free_port()?, keeper: None };
        fs::create_dir(cluster.sockets())?;
        cluster.give(cluster.folder.path())?;
        cluster.give(&cluster.sockets())?;
        Ok(cluster)
    }

    /// Makes a file or a folder the server's.
    pub(crate) fn give(&self, path: &Path) -> TestResult {
        if let Some((uid, gid)) = self.user {
            chown(path, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    fn sockets(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// A standby that follows this server.
    pub fn standby(&self) -> TestResult<Self> {
        let mut standby = Self::placed(self.bin.clone(), self.user)?;
        let (data, sockets) = (standby.data(), standby.sockets());
        let mut copy = standby.command("pg_basebackup");
        copy.arg("-D").arg(&data).args([
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
        ]);
        copy.arg("-p").arg(self.port.to_string());
        succeed(&mut copy)?;
        let mut file = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        writeln!(file, "unix_socket_directories = '{}'\nport = {}", sockets.display(), standby.port)?;
        drop(file);
        standby.up()?;
        Ok(standby)
    }

    /// Makes a primary of a standby.
    pub fn promote(&self) -> TestResult {
        let mut promote = self.command("pg_ctl");
        succeed(promote.arg("-D").arg(self.data()).args(["-w", "promote"]))
    }

    /// Starts the server, which is down, and waits until it answers.
    pub fn up(&mut self) -> TestResult {
        let data = self.data();
        // The shell outlives a killed test, and then stops the server: nobody holds the pipe to it any more.
        let script = "\"$1/pg_ctl\" -D \"$2\" -l \"$2/log\" -w -t 60 start >&2 && echo up && read -r word; \
                      test \"$word\" = keep && exit; \
                      \"$1/pg_ctl\" -D \"$2\" -m immediate stop >/dev/null 2>&1; rm -rf \"$3\"";
        let mut shell = self.shell();
        shell.args(["-c", script, "keeper"]).arg(&self.bin).arg(&data).arg(self.folder.path());
        let mut keeper = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        let stdout = keeper.stdout.take().ok_or("a pipe")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
        if line.trim() != "up" {
            let log = fs::read_to_string(data.join("log")).unwrap_or_default();
            return Err(format!("the server did not start: {log}").into());
        }
        self.keeper = Some(keeper);
        Ok(())
    }

    /// Stops the server in the way that `pg_ctl` calls so: `fast`, `immediate`.
    pub fn down(&mut self, mode: &str) -> TestResult {
        let mut stop = self.command("pg_ctl");
        stop.arg("-D").arg(self.data()).args(["-m", mode, "-w", "stop"]);
        succeed(&mut stop)?;
        if let Some(mut keeper) = self.keeper.take() {
            if let Some(mut stdin) = keeper.stdin.take() {
                stdin.write_all(b"keep\n")?;
            }
            keeper.wait()?;
        }
        Ok(())
    }

    /// Puts a file into the folder of the data that nobody else may read, and returns its path.
    pub fn put(&self, name: &str, content: &[u8]) -> TestResult<PathBuf> {
        let path = self.data().join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        self.give(&path)?;
        Ok(path)
    }

    /// Has the running server read its files again, with these lines at the end of its settings.
    pub fn reconfigure(&self, settings: &[&str]) -> TestResult {
        let mut file = fs::OpenOptions::new().append(true).open(self.data().join("postgresql.conf"))?;
        settings.iter().try_for_each(|setting| writeln!(file, "{setting}"))?;
        let mut reload = self.command("pg_ctl");
        succeed(reload.arg("-D").arg(self.data()).arg("reload"))
    }

    /// The PID of the postmaster.
    pub fn pid(&self) -> TestResult<i32> {
        let file = fs::read_to_string(self.data().join("postmaster.pid"))?;
        Ok(file.lines().next().unwrap_or_default().parse()?)
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// A program of PostgreSQL, as the user that the server runs as.
    pub fn command(&self, program: &str) -> Command {
        self.as_user(Command::new(self.bin.join(program)))
    }

    pub(crate) fn shell(&self) -> Command {
        self.as_user(Command::new("sh"))
    }

    fn as_user(&self, mut command: Command) -> Command {
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid).current_dir("/");
        }
        command
    }

    /// Makes a new, empty database, and returns its name.
    pub fn make_database(&self) -> TestResult<String> {
        let name = format!("t{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        self.with("postgres", |client| client.execute(&format!("CREATE DATABASE {name}")))?;
        Ok(name)
    }

    /// The address of a database: by TCP, so that the processes of other users reach it as well.
    pub fn address(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Does something with a connection.
    pub fn with<T>(&self, database: &str, work: impl FnOnce(&Connected) -> TestResult<T>) -> TestResult<T> {
        Connected::to(&self.address(database)).and_then(|connected| work(&connected))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

/// A connection that a test has for itself.
pub struct Connected {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Connected {
    pub fn to(address: &str) -> TestResult<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (client, connection) = runtime.block_on(tokio_postgres::connect(address, NoTls))?;
        runtime.spawn(connection);
        Ok(Self { runtime, client })
    }

    /// Runs statements, one or several.
    pub fn execute(&self, sql: &str) -> TestResult {
        self.runtime.block_on(self.client.batch_execute(sql)).map_err(|error| in_words(&error))
    }

    /// Commits one row of the table `bare`, in one round trip.
    pub fn insert_bare(&self) -> TestResult {
        let sql = "INSERT INTO bare VALUES ($1, clock_timestamp())";
        let inserted = self.runtime.block_on(self.client.execute_typed(sql, &[(&1_i64, Type::INT8)]));
        inserted.map(drop).map_err(|error| in_words(&error))
    }

    pub fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> TestResult<Vec<tokio_postgres::Row>> {
        self.runtime.block_on(self.client.query(sql, parameters)).map_err(|error| in_words(&error))
    }
}

/// What the server says, which the error keeps to itself.
fn in_words(error: &tokio_postgres::Error) -> Box<dyn Error> {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string).into()
}

/// What [`crate::Database`] asks of a connection.
impl Connected {
    /// Runs statements in one transaction.
    pub(crate) fn write(&self, statements: &[(&str, Vec<Value>)]) -> TestResult {
        self.execute("BEGIN; SET LOCAL synchronous_commit = off")?;
        for (sql, parameters) in statements {
            let bound: Vec<Bound<'_>> = parameters.iter().map(Bound).collect();
            let bound: Vec<&(dyn ToSql + Sync)> = bound.iter().map(|value| value as _).collect();
            self.query(sql, &bound)?;
        }
        self.execute("COMMIT")
    }

    pub(crate) fn rows(&self, sql: &str) -> TestResult<Vec<Vec<Value>>> {
        let rows = self.query(sql, &[])?;
        rows.iter().map(|row| (0..row.len()).map(|column| shown(row, column)).collect()).collect()
    }
}

/// A parameter of whatever type the statement wants.
#[derive(Debug)]
struct Bound<'v>(&'v Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self, wanted: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        if let Kind::Domain(base) = wanted.kind() {
            return self.to_sql(base, out);
        }
        let number = || self.0.as_f64().ok_or_else(|| format!("{} is no number", self.0));
        let whole = || self.0.as_i64().ok_or_else(|| format!("{} is no whole number", self.0));
        let text = || self.0.as_str().ok_or_else(|| format!("{} is no text", self.0));
        match *wanted {
            _ if self.0.is_null() => Ok(IsNull::Yes),
            Type::BOOL => (self.0.as_bool().unwrap_or(self.0.as_i64() == Some(1))).to_sql(wanted, out),
            Type::INT8 => whole()?.to_sql(wanted, out),
            Type::INT4 => i32::try_from(whole()?)?.to_sql(wanted, out),
            Type::FLOAT8 => number()?.to_sql(wanted, out),
            Type::TIMESTAMPTZ => text()?.parse::<DateTime<Utc>>()?.to_sql(wanted, out),
            Type::JSON => {
                out.extend_from_slice(text()?.as_bytes());
                Ok(IsNull::No)
            }
            _ => text()?.to_sql(wanted, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

/// A cell as JSON, as one of SQLite's is shown.
fn shown(row: &Row, column: usize) -> TestResult<Value> {
    fn value<T: Into<Value>>(cell: Option<T>) -> Value {
        cell.map_or(Value::Null, Into::into)
    }
    Ok(match *row.columns()[column].type_() {
        Type::BOOL => value(row.try_get::<_, Option<bool>>(column)?.map(i64::from)),
        Type::INT8 => value(row.try_get::<_, Option<i64>>(column)?),
        Type::INT4 => value(row.try_get::<_, Option<i32>>(column)?),
        Type::FLOAT8 => value(row.try_get::<_, Option<f64>>(column)?),
        Type::FLOAT8_ARRAY => value(row.try_get::<_, Option<Vec<f64>>>(column)?),
        Type::BYTEA => value(row.try_get::<_, Option<Vec<u8>>>(column)?),
        Type::TIMESTAMPTZ => value(
            row.try_get::<_, Option<DateTime<Utc>>>(column)?
                .map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        ),
        _ => value(row.try_get::<_, Option<Text>>(column)?.map(|text| text.0)),
    })
}

/// Whatever is sent as text.
struct Text(String);

impl<'a> FromSql<'a> for Text {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(str::from_utf8(raw)?.to_owned()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn find_bin() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = installed.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse(); // the newest first
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let programs = ["initdb", "pg_ctl", "pg_basebackup", "postgres"];
    folders.into_iter().find(|folder| programs.iter().all(|program| folder.join(program).exists()))
}

/// PostgreSQL doesn't run as root: root's tests have it run as another user.
fn unprivileged_user() -> Option<(u32, u32)> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).or(Some((65_534, 65_534)))
}

/// A port that nobody listens on just now.
pub(crate) fn free_port() -> TestResult<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn succeed(command: &mut Command) -> TestResult {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}
