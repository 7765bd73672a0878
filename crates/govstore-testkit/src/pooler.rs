//! A pgbouncer of the tests' own in transaction mode: each transaction may be on another session of the server.

use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use crate::cluster::{Cluster, free_port};
use crate::skip::can;
use crate::{PATIENCE, TestResult};

/// A pooler in front of one server, that ends when this drops, or the process that started it does.
pub struct Pooler {
    folder: tempfile::TempDir,
    port: u16,
    running: Option<Child>,
}

/// The shell outlives a killed test, and then ends the pooler: nobody holds the pipe to it any more.
const SCRIPT: &str =
    "PATH=$PATH:/usr/sbin; pgbouncer -q \"$1\" & pid=$!; read -r word; kill -9 $pid; wait $pid 2>/dev/null";

impl Pooler {
    /// The pooler of the server that the tests of this process share; `None` where one of both is missing.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Pooler>> = OnceLock::new();
        let start = || Self::start(Cluster::shared()?).expect("a pooler can be started");
        SHARED.get_or_init(start).as_ref()
    }

    /// In front of a server. `None`, and it is said, where pgbouncer is not installed.
    pub fn start(cluster: &Cluster) -> TestResult<Option<Self>> {
        if !can("pgbouncer", &["sh", "-c", "PATH=$PATH:/usr/sbin pgbouncer --version"]) {
            return Ok(None);
        }
        let folder = tempfile::Builder::new().prefix("gpb").tempdir()?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let port = free_port()?;
        let here = folder.path().display();
        // Few sessions for many clients, so that they change often.
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {here}/users\npool_mode = transaction\n\
             default_pool_size = 5\nmax_client_conn = 500\nlogfile = {here}/log\npidfile =\nserver_login_retry = 0.1\n",
            cluster.port()
        );
        fs::write(folder.path().join("settings.ini"), settings)?;
        fs::write(folder.path().join("users"), "\"postgres\" \"\"\n")?;
        cluster.give(folder.path())?;
        let mut pooler = Self { folder, port, running: None };
        pooler.up(cluster)?;
        Ok(Some(pooler))
    }

    /// Starts it, and waits until it answers.
    pub fn up(&mut self, cluster: &Cluster) -> TestResult {
        let mut shell = cluster.shell();
        shell.args(["-c", SCRIPT, "pooler"]).arg(self.folder.path().join("settings.ini"));
        self.running = Some(shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Err(format!("the pooler did not start: {log}").into());
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    }

    /// Kills it, with all connections through it.
    pub fn down(&mut self) -> TestResult {
        if let Some(mut shell) = self.running.take() {
            drop(shell.stdin.take());
            shell.wait()?;
        }
        Ok(())
    }

    /// The address of a database.
    pub fn address(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.down();
    }
}
