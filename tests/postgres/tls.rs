//! What is checked of a server's certificate, and that a password is nowhere to be read.

use std::error::Error as AnyError;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use govstore::{Error, Store};
use govstore_testkit::{Cluster, TestResult, can, govstore};

use crate::update;

const PASSWORD: &str = "k9-geheim-Zq7";

/// Certificates that `openssl` has made.
struct Certificates(tempfile::TempDir);

impl Certificates {
    /// Two authorities, of which the first has signed a server's certificate for `localhost`, and one that has expired.
    fn make() -> TestResult<Option<Self>> {
        if !can("openssl", &["openssl", "version"]) {
            return Ok(None);
        }
        let made = Self(tempfile::tempdir()?);
        let script = r#"
            set -e
            for ca in ca other; do
              openssl req -x509 -newkey rsa:2048 -nodes -keyout $ca.key -out $ca.crt -days 30 -subj "/CN=$ca"
            done
            openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost
            printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n' > extensions
            openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 30 \
              -extfile extensions
            printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\npolicy=p\ndefault_md=sha256\n[p]\ncommonName=supplied\n' > ca.cnf
            : > index
            openssl rand -hex 8 > serial
            openssl ca -batch -config ca.cnf -in server.csr -cert ca.crt -keyfile ca.key -out expired.crt \
              -startdate 20200101000000Z -enddate 20200201000000Z -extfile extensions -notext
        "#;
        let output = Command::new("sh")
            .args(["-c", script])
            .current_dir(made.0.path())
            .stdin(Stdio::null())
            .output()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(Some(made))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> TestResult<Vec<u8>> {
        Ok(fs::read(self.path(name))?)
    }
}

/// A server that lets `alice` in by her password, over TLS alone.
fn encrypted_cluster(certificates: &Certificates) -> TestResult<Option<Cluster>> {
    let Some(cluster) = Cluster::start(&["fsync=off", "shared_buffers=16MB"])? else { return Ok(None) };
    cluster.put("server.key", &certificates.read("server.key")?)?;
    cluster.put("server.crt", &certificates.read("server.crt")?)?;
    cluster.with("postgres", |connected| {
        connected.execute(&format!("CREATE ROLE alice LOGIN SUPERUSER PASSWORD '{PASSWORD}'"))?;
        connected.execute("CREATE DATABASE g")
    })?;
    let access = "host all postgres 127.0.0.1/32 trust\nhostssl all alice all scram-sha-256\n";
    cluster.put("pg_hba.conf", access.as_bytes())?;
    cluster.reconfigure(&[
        "ssl = on",
        "log_min_messages = debug1",
        "log_statement = all",
        "log_connections = on",
    ])?;
    Ok(Some(cluster))
}

/// Opens an address until the server has read its files again.
fn open(address: &str, is_expected: impl Fn(&govstore::Result<Store>) -> bool) -> govstore::Result<Store> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let opened = Store::options().lock_timeout(Duration::from_secs(2)).open(address);
        if is_expected(&opened) || Instant::now() > deadline {
            return opened;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Everything that an error says, to people and to programmers.
fn all_of(error: &Error) -> String {
    let mut text = format!("{error}\n{error:?}\n{error:#?}");
    let mut source = error.source();
    while let Some(reason) = source {
        text.extend([reason.to_string(), format!("{reason:?}")]);
        source = reason.source();
    }
    text
}

#[test]
fn a_certificate_of_another_host_of_nobody_trusted_or_of_yesterday_is_refused_in_words() -> TestResult {
    let Some(certificates) = Certificates::make()? else { return Ok(()) };
    let Some(cluster) = encrypted_cluster(&certificates)? else { return Ok(()) };
    let address = |host: &str, mode: &str, root: &Path| {
        let port = cluster.port();
        format!("postgres://alice:{PASSWORD}@{host}:{port}/g?sslmode={mode}&sslrootcert={}", root.display())
    };
    let (ca, other) = (certificates.path("ca.crt"), certificates.path("other.crt"));
    let store = open(&address("localhost", "verify-full", &ca), Result::is_ok)?;
    update(&store, "writer")?;
    let encrypted = store.check().into_iter().find(|check| check.name == "server").ok_or("a check")?;
    assert!(encrypted.detail.ends_with(", encrypted"), "{}", encrypted.detail);
    assert!(!store.path().display().to_string().contains(PASSWORD));

    let refused = |address: &str, because: &str| -> TestResult {
        let refused = open(address, Result::is_err).expect_err("it can't be trusted");
        assert!(refused.to_string().contains(because), "{refused}");
        assert!(!all_of(&refused).contains(PASSWORD), "{}", all_of(&refused));
        Ok(())
    };
    refused(&address("127.0.0.1", "verify-full", &ca), "is for another host")?;
    refused(&address("localhost", "verify-full", &other), "signed by nobody who is trusted here")?;
    refused(&address("localhost", "verify-ca", &other), "signed by nobody who is trusted here")?;
    refused(&address("localhost", "verify-full", &certificates.path("none.crt")), "can't be read")?;
    // What asks for less gets it.
    drop(open(&address("127.0.0.1", "verify-ca", &ca), Result::is_ok)?);
    drop(open(
        &format!("postgres://alice:{PASSWORD}@127.0.0.1:{}/g?sslmode=require", cluster.port()),
        Result::is_ok,
    )?);

    cluster.put("server.crt", &certificates.read("expired.crt")?)?;
    cluster.reconfigure(&[])?;
    let late = address("localhost", "verify-full", &ca);
    let refused = open(&late, Result::is_err).expect_err("it has expired");
    assert!(refused.to_string().contains("has expired"), "{refused}");
    Ok(())
}

#[test]
fn a_password_is_in_no_output_no_error_and_no_log() -> TestResult {
    let Some(certificates) = Certificates::make()? else { return Ok(()) };
    let Some(cluster) = encrypted_cluster(&certificates)? else { return Ok(()) };
    let (port, ca) = (cluster.port(), certificates.path("ca.crt").display().to_string());
    let good = format!("postgres://alice:{PASSWORD}@localhost:{port}/g?sslmode=verify-full&sslrootcert={ca}");
    drop(open(&good, Result::is_ok)?);
    let nowhere = "127.0.0.1:1";
    let addresses = [
        good.clone(),
        format!("{good}&sslmode=sure"),
        format!("{good}&what=ever"),
        format!("postgres://alice:{PASSWORD}@{nowhere}/g"),
        format!("postgres://alice:{PASSWORD}@localhost:{port}/nothing?sslmode=verify-full&sslrootcert={ca}"),
        format!("postgres://bob:{PASSWORD}@localhost:{port}/g?sslmode=verify-full&sslrootcert={ca}"),
        format!("postgres://alice:{PASSWORD}x@localhost:{port}/g?sslmode=verify-full&sslrootcert={ca}"),
        format!(
            "postgres://alice@localhost:{port}/g?password={PASSWORD}&sslmode=verify-full&sslrootcert={ca}"
        ),
        format!("postgres://alice:{PASSWORD}@127.0.0.1:{port}/g?sslmode=verify-full&sslrootcert={ca}"),
        format!("postgres://alice:{PASSWORD}@[::1/g"),
        format!("mysql://alice:{PASSWORD}@localhost/g"),
    ];
    let folder = tempfile::tempdir()?;
    let report = folder.path().join("report.html").display().to_string();
    let commands: [&[&str]; 9] = [
        &["update", "writer"],
        &["agents"],
        &["check"],
        &["ps", "--all"],
        &["--json", "health"],
        &["report", "--out", &report],
        &["backup", "copy.db"],
        &["copy", "nowhere.db", &good],
        &["config", "get"],
    ];
    let mut successes = 0;
    for (n, address) in addresses.iter().enumerate() {
        let is_good = matches!(n, 0 | 7);
        for command in commands.iter().filter(|command| is_good || ["update", "--json"].contains(&command[0]))
        {
            let output = Command::new(govstore())
                .args(["--db", address])
                .args(*command)
                .current_dir(folder.path())
                .env("RUST_BACKTRACE", "1")
                .env("RUST_LOG", "trace")
                .stdin(Stdio::null())
                .output()?;
            successes += u32::from(output.status.success());
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(!said.contains(PASSWORD), "{address} {command:?}: {said}");
        }
        if let Err(error) = Store::options().lock_timeout(Duration::from_millis(300)).open(address) {
            assert!(!all_of(&error).contains(PASSWORD), "{address}: {}", all_of(&error));
        }
    }
    assert_eq!(successes, 14, "of two addresses, for all but the commands that are for files");
    assert!(!fs::read_to_string(&report)?.contains(PASSWORD));
    // The test's own statement that made the role has it, and nothing after that.
    let log = fs::read_to_string(cluster.data().join("log"))?;
    let said: Vec<&str> =
        log.lines().filter(|line| line.contains(PASSWORD) && !line.contains("CREATE ROLE alice")).collect();
    assert!(said.is_empty(), "{said:?}");
    Ok(())
}
