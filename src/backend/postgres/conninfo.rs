//! Addresses as libpq reads them: `postgres://user@host1,host2:5433/name?sslmode=verify-full`, with the environment's
//! `PG…` variables, a service file and a password file behind them.
//!
//! tokio-postgres reads most of it, and knows neither `verify-full` nor files. Two things differ from libpq on purpose:
//! off this machine the certificate of the server is checked unless the address says otherwise (`verify-full`), and
//! without a root certificate of one's own the system's are trusted.
//!
//! A password is in no message: errors name the parameter and what is wrong with it, and [`ConnInfo::shown`] leaves it
//! out.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslMode as Tls};

/// Where a server is, and how to talk to it.
pub(super) struct ConnInfo {
    pub config: Config,
    pub sslmode: SslMode,
    /// The certificates that are trusted; `None`: those of the system.
    pub root_certificate: Option<PathBuf>,
    /// A client's certificate and its key.
    pub own_certificate: Option<(PathBuf, PathBuf)>,
    shown: String,
}

/// How a connection is encrypted, and what is checked of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    Disable,
    /// If the server can.
    Prefer,
    Require,
    /// Somebody who is trusted has signed it.
    VerifyCa,
    /// And it is for this host.
    VerifyFull,
}

/// Parameters that have a meaning here.
const KNOWN: [&str; 26] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "options",
    "passfile",
    "password",
    "port",
    "service",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// The variables of the environment that stand in for parameters.
const ENVIRONMENT: [(&str, &str); 15] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGOPTIONS", "options"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGCHANNELBINDING", "channel_binding"),
];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_PORT: u16 = 5432;
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

type Parameters = BTreeMap<String, String>;

impl ConnInfo {
    /// Reads an address. `environment` is asked for variables.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without a word of the address itself.
    pub fn parse(address: &str, environment: &impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut parameters = uri(address)?;
        let home = environment("HOME").map(PathBuf::from);
        let service = parameters.remove("service").or_else(|| environment("PGSERVICE"));
        if let Some(service) = service.filter(|service| !service.is_empty()) {
            let files = [
                environment("PGSERVICEFILE").map(PathBuf::from),
                home.as_ref().map(|home| home.join(".pg_service.conf")),
                environment("PGSYSCONFDIR").map(|folder| Path::new(&folder).join("pg_service.conf")),
            ];
            for (key, value) in of_service(&service, files.into_iter().flatten())? {
                parameters.entry(key).or_insert(value);
            }
        }
        // Last: a service overrides them, and the address a service.
        for (variable, parameter) in ENVIRONMENT {
            if let Some(value) = environment(variable).filter(|value| !value.is_empty()) {
                parameters.entry(parameter.to_owned()).or_insert(value);
            }
        }
        if let Some(unknown) = parameters.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(format!(
                "{unknown:?} is no parameter that is known here; those are {}",
                KNOWN.join(", ")
            ));
        }
        Self::of(&parameters, environment, home.as_deref())
    }

    fn of(
        parameters: &Parameters,
        environment: &impl Fn(&str) -> Option<String>,
        home: Option<&Path>,
    ) -> Result<Self, String> {
        let given = |key: &str| parameters.get(key).map(String::as_str).filter(|value| !value.is_empty());
        let mut config = Config::new();
        let names = || environment("USER").or_else(|| environment("LOGNAME"));
        let user = given("user").map(str::to_owned).or_else(names).unwrap_or_else(|| "postgres".to_owned());
        let dbname = given("dbname").unwrap_or(&user).to_owned();
        config.user(&user).dbname(&dbname);

        let hosts = hosts(given("host"), given("hostaddr"), given("port"))?;
        for host in &hosts {
            if host.is_socket() {
                config.host_path(&host.name);
            } else {
                config.host(&host.name);
            }
            config.port(host.port);
        }
        let addresses: Vec<IpAddr> = hosts.iter().filter_map(|host| host.address).collect();
        if !addresses.is_empty() && addresses.len() == hosts.len() {
            for address in addresses {
                config.hostaddr(address);
            }
        }

        let passfile = given("passfile").map(PathBuf::from).or_else(|| Some(home?.join(".pgpass")));
        if let Some(password) = given("password") {
            config.password(password);
        } else if let Some(password) =
            passfile.and_then(|file| of_password_file(&file, &hosts, &dbname, &user))
        {
            config.password(password);
        }

        let seconds = |key: &str| match given(key) {
            None => Ok(None),
            Some(text) => match text.parse::<u64>() {
                Ok(seconds) => Ok(Some(Duration::from_secs(seconds))),
                Err(_) => Err(format!("{key} is a number of seconds")),
            },
        };
        let timeout = seconds("connect_timeout")?.filter(|timeout| !timeout.is_zero());
        config.connect_timeout(timeout.unwrap_or(CONNECT_TIMEOUT));
        config.keepalives(given("keepalives") != Some("0"));
        config.keepalives_idle(seconds("keepalives_idle")?.unwrap_or(Duration::from_secs(30)));
        config.keepalives_interval(seconds("keepalives_interval")?.unwrap_or(Duration::from_secs(10)));
        let count = given("keepalives_count").map_or(Ok(3), str::parse);
        config.keepalives_retries(count.map_err(|_| "keepalives_count is a number".to_owned())?);
        if let Some(options) = given("options") {
            config.options(options);
        }
        one_of(given("client_encoding"), "client_encoding", &["utf8", "UTF8", "utf-8", "UTF-8", "auto"])?;
        one_of(given("gssencmode"), "gssencmode", &["disable", "prefer"])?;
        // Whatever it says, only a server that can be written is of use here.
        one_of(given("target_session_attrs"), "target_session_attrs", &["any", "read-write", "primary"])?;
        one_of(given("load_balance_hosts"), "load_balance_hosts", &["disable", "random"])?;
        if given("load_balance_hosts") == Some("random") {
            config.load_balance_hosts(tokio_postgres::config::LoadBalanceHosts::Random);
        }
        match given("channel_binding") {
            Some("disable") => {
                config.channel_binding(ChannelBinding::Disable);
            }
            Some("require") => {
                config.channel_binding(ChannelBinding::Require);
            }
            other => one_of(other, "channel_binding", &["disable", "prefer", "require"])?,
        }

        let is_near = hosts.iter().all(Host::is_near);
        let sslmode = match given("sslmode") {
            None if is_near => SslMode::Prefer,
            None | Some("verify-full") => SslMode::VerifyFull,
            Some("verify-ca") => SslMode::VerifyCa,
            Some("require") => SslMode::Require,
            Some("allow" | "prefer") => SslMode::Prefer,
            Some("disable") => SslMode::Disable,
            Some(_) => {
                let words = "disable, allow, prefer, require, verify-ca or verify-full";
                return Err(format!("sslmode is {words}"));
            }
        };
        config.ssl_mode(match sslmode {
            SslMode::Disable => Tls::Disable,
            SslMode::Prefer => Tls::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Tls::Require,
        });
        let of_home =
            |name: &str| home.map(|home| home.join(".postgresql").join(name)).filter(|file| file.exists());
        let root_certificate = match given("sslrootcert") {
            Some("system") => None,
            Some(file) => Some(PathBuf::from(file)),
            None => of_home("root.crt"),
        };
        let file = |key: &str, name: &str| given(key).map(PathBuf::from).or_else(|| of_home(name));
        let own_certificate = file("sslcert", "postgresql.crt").zip(file("sslkey", "postgresql.key"));
        // With a root certificate at hand, libpq checks it under `require` as well.
        let sslmode = match sslmode {
            SslMode::Require if root_certificate.is_some() => SslMode::VerifyCa,
            sslmode => sslmode,
        };
        Ok(Self { config, sslmode, root_certificate, own_certificate, shown: shown(&user, &hosts, &dbname) })
    }

    /// The address for people, without a password.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

impl fmt::Debug for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// One server.
struct Host {
    /// A name, an address, or the folder of a socket.
    name: String,
    address: Option<IpAddr>,
    port: u16,
}

impl Host {
    fn is_socket(&self) -> bool {
        self.name.starts_with('/')
    }

    /// Whether it is on this machine.
    fn is_near(&self) -> bool {
        let of_name = self.name.parse().ok();
        self.is_socket()
            || self.address.or(of_name).map_or(self.name == "localhost", |address| address.is_loopback())
    }
}

fn hosts(names: Option<&str>, addresses: Option<&str>, ports: Option<&str>) -> Result<Vec<Host>, String> {
    let split = |list: Option<&str>| -> Vec<String> {
        list.map(|list| list.split(',').map(str::to_owned).collect()).unwrap_or_default()
    };
    let (mut names, addresses, ports) = (split(names), split(addresses), split(ports));
    if names.is_empty() {
        names = if addresses.is_empty() { vec![String::new()] } else { addresses.clone() };
    }
    if !addresses.is_empty() && addresses.len() != names.len() {
        return Err("hostaddr has as many addresses as host has names".to_owned());
    }
    if ports.len() > 1 && ports.len() != names.len() {
        return Err("port is one, or as many as there are hosts".to_owned());
    }
    names
        .into_iter()
        .enumerate()
        .map(|(n, name)| {
            let name = if name.is_empty() { default_host() } else { name };
            if name.starts_with('@') {
                return Err("host: sockets without a file are not known here".to_owned());
            }
            let port = match ports.get(n).or(ports.first()).map(String::as_str) {
                None | Some("") => DEFAULT_PORT,
                Some(port) => match port.parse() {
                    Ok(port) if port > 0 => port,
                    _ => return Err("port lies between 1 and 65535".to_owned()),
                },
            };
            let address = match addresses.get(n).filter(|address| !address.is_empty()) {
                None => None,
                Some(address) => Some(address.parse().map_err(|_| "hostaddr is an IP address".to_owned())?),
            };
            Ok(Host { name, address, port })
        })
        .collect()
}

fn default_host() -> String {
    let folder = SOCKET_FOLDERS.into_iter().find(|folder| Path::new(folder).join(".s.PGSQL.5432").exists());
    folder.unwrap_or("localhost").to_owned()
}

fn one_of(given: Option<&str>, key: &str, words: &[&str]) -> Result<(), String> {
    match given {
        Some(word) if !words.contains(&word) => Err(format!("{key} is {} here", words.join(" or "))),
        _ => Ok(()),
    }
}

fn shown(user: &str, hosts: &[Host], dbname: &str) -> String {
    let hosts: Vec<String> = hosts
        .iter()
        .map(|host| match host.name.contains(':') {
            _ if host.is_socket() => format!("{}:{}", host.name.replace('/', "%2F"), host.port),
            true => format!("[{}]:{}", host.name, host.port),
            false if host.port == DEFAULT_PORT => host.name.clone(),
            false => format!("{}:{}", host.name, host.port),
        })
        .collect();
    format!("postgres://{user}@{}/{dbname}", hosts.join(","))
}

/// The parameters of `postgres://[user[:password]@][host[:port],…][/dbname][?key=value&…]`.
fn uri(address: &str) -> Result<Parameters, String> {
    let (_, rest) = address.split_once("://").ok_or("it begins with postgres://")?;
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
    let (authority, dbname) =
        rest.split_once('/').map_or((rest, ""), |(authority, dbname)| (authority, dbname));
    let (userinfo, hostlist) =
        authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
    let mut parameters = Parameters::new();
    let mut put = |key: &str, value: String| {
        if !value.is_empty() {
            parameters.insert(key.to_owned(), value);
        }
    };
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    put("user", decoded(user, "user")?);
    put("password", decoded(password, "password")?);
    put("dbname", decoded(dbname, "dbname")?);
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hostlist.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(literal) => {
                let (name, port) = literal.split_once(']').ok_or("an IPv6 address ends with ]")?;
                (name, port.strip_prefix(':').unwrap_or(port))
            }
            None => host.rsplit_once(':').unwrap_or((host, "")),
        };
        names.push(decoded(name, "host")?);
        ports.push(decoded(port, "port")?);
    }
    if names.iter().any(|name| !name.is_empty()) {
        put("host", names.join(","));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        put("port", ports.join(","));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or("after the ? come parameters: key=value")?;
        match (decoded(key, "the name of a parameter")?, decoded(value, key)?) {
            (key, value) if key == "ssl" && value == "true" => put("sslmode", "require".to_owned()),
            (key, value) => put(&key, value),
        }
    }
    Ok(parameters)
}

fn decoded(text: &str, what: &str) -> Result<String, String> {
    let wrong = || format!("{what} has a % that no two hex digits follow, or bytes that are no text");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| str::from_utf8(digits).ok()).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = &after[2..];
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    if text.contains('\0') { Err(format!("{what} has a NUL in it")) } else { Ok(text) }
}

/// The parameters of a service, from the first of these files that has it.
fn of_service(service: &str, files: impl Iterator<Item = PathBuf>) -> Result<Parameters, String> {
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let mut lines = text.lines().map(str::trim);
        if !lines.any(|line| line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) == Some(service))
        {
            continue;
        }
        let lines = lines.take_while(|line| !line.starts_with('['));
        let pairs = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        return pairs
            .map(|line| match line.split_once('=') {
                Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
                None => Err(format!("{}: each line of a service is key=value", file.display())),
            })
            .collect();
    }
    Err(format!("there is no service {service:?} in a service file (~/.pg_service.conf)"))
}

/// The first password in the file for any of these hosts. A file that others can read is left alone, as by libpq.
fn of_password_file(file: &Path, hosts: &[Host], dbname: &str, user: &str) -> Option<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if fs::metadata(file).ok()?.permissions().mode() & 0o077 != 0 {
            return None;
        }
    }
    let text = fs::read_to_string(file).ok()?;
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let [host, port, database, name, password] = &fields[..] else { return None };
        let is = |field: &str, wanted: &str| field == "*" || field == wanted;
        let is_of_a_host = hosts.iter().any(|known| {
            let called = if known.is_socket() { "localhost" } else { &known.name };
            (is(host, &known.name) || is(host, called)) && is(port, &known.port.to_string())
        });
        (is_of_a_host && is(database, dbname) && is(name, user)).then(|| password.clone())
    })
}

/// The fields of a line, which colons part; a backslash takes a colon's meaning away.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => fields.last_mut().into_iter().for_each(|field| field.extend(letters.next())),
            other => fields.last_mut().into_iter().for_each(|field| field.push(other)),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn parsed(address: &str) -> ConnInfo {
        ConnInfo::parse(address, &nothing).unwrap_or_else(|reason| panic!("{address}: {reason}"))
    }

    #[test]
    fn the_addresses_of_the_manual_are_understood() {
        for (address, shown, mode) in [
            ("postgresql://localhost", "postgres://postgres@localhost/postgres", SslMode::Prefer),
            ("postgresql://localhost:5433", "postgres://postgres@localhost:5433/postgres", SslMode::Prefer),
            ("postgresql://localhost/mydb", "postgres://postgres@localhost/mydb", SslMode::Prefer),
            ("postgresql://user@localhost", "postgres://user@localhost/user", SslMode::Prefer),
            ("postgresql://user:secret@localhost", "postgres://user@localhost/user", SslMode::Prefer),
            (
                "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
                "postgres://other@localhost/otherdb",
                SslMode::Prefer,
            ),
            (
                "postgresql://host1:123,host2:456/somedb?target_session_attrs=any&application_name=myapp",
                "postgres://postgres@host1:123,host2:456/somedb",
                SslMode::VerifyFull,
            ),
            (
                "postgresql:///mydb?host=localhost&port=5433",
                "postgres://postgres@localhost:5433/mydb",
                SslMode::Prefer,
            ),
            (
                "postgresql://[2001:db8::1234]/database",
                "postgres://postgres@[2001:db8::1234]:5432/database",
                SslMode::VerifyFull,
            ),
            (
                "postgresql:///dbname?host=/var/lib/postgresql",
                "postgres://postgres@%2Fvar%2Flib%2Fpostgresql:5432/dbname",
                SslMode::Prefer,
            ),
            (
                "postgresql://%2Fvar%2Flib%2Fpostgresql/dbname",
                "postgres://postgres@%2Fvar%2Flib%2Fpostgresql:5432/dbname",
                SslMode::Prefer,
            ),
            (
                "postgresql://user@localhost:5433/mydb?options=-c%20synchronous_commit%3Doff",
                "postgres://user@localhost:5433/mydb",
                SslMode::Prefer,
            ),
            (
                "postgres://db.example.com/g?sslmode=require",
                "postgres://postgres@db.example.com/g",
                SslMode::Require,
            ),
            ("postgres://a:b@h/g?sslmode=disable&user=c", "postgres://c@h/g", SslMode::Disable),
        ] {
            let info = parsed(address);
            assert_eq!((info.shown(), info.sslmode), (shown, mode), "{address}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_address() {
        for (address, reason) in [
            ("postgres://u:geheim@h/g?sslmode=sure", "sslmode is"),
            ("postgres://u:geheim@h:x/g", "port lies between 1 and 65535"),
            ("postgres://u:geheim@h/g?colour=red", "\"colour\" is no parameter"),
            ("postgres://u:geheim%2@h/g", "password has a %"),
            ("postgres://u:geheim@[::1/g", "ends with ]"),
            ("postgres://u:geheim@h,i/g?port=1,2,3", "port is one"),
            ("postgres://u:geheim@h/g?connect_timeout=soon", "connect_timeout is a number of seconds"),
            ("postgres://u:geheim@h/g?target_session_attrs=standby", "target_session_attrs is"),
            ("postgres://u:geheim@h/g?gssencmode=require", "gssencmode is"),
            ("postgres://u:geheim@h/g?service=none", "there is no service"),
            ("postgres://u:geheim@h/g?sslmode", "key=value"),
        ] {
            let refused = ConnInfo::parse(address, &nothing).map(|info| info.shown).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
            assert!(!refused.contains("geheim"), "{refused}");
        }
    }

    #[test]
    fn the_environment_stands_in_for_what_is_left_out() {
        let environment = |name: &str| {
            let value = match name {
                "PGUSER" => "alice",
                "PGHOST" => "db.example.com",
                "PGSSLMODE" => "verify-ca",
                "PGPASSWORD" => "geheim",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let info = ConnInfo::parse("postgres:///g", &environment).expect("an address");
        assert_eq!((info.shown(), info.sslmode), ("postgres://alice@db.example.com/g", SslMode::VerifyCa));
        assert_eq!(info.config.get_password(), Some(&b"geheim"[..]));
        assert_eq!(format!("{info:?}"), "postgres://alice@db.example.com/g");
    }

    #[cfg(unix)]
    #[test]
    fn passwords_and_services_come_from_files_that_nobody_else_can_read()
    -> Result<(), Box<dyn std::error::Error>> {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir()?;
        let file = home.path().join(".pgpass");
        fs::write(&file, "# a comment\nother:*:*:*:no\nh:5432:g:we\\:ird:p\\\\w:x\n*:*:*:*:last\n")?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        fs::write(
            home.path().join(".pg_service.conf"),
            "[a]\nhost=x\n[mine]\n# words\nhost = h\ndbname=g\n\n[b]\nport=1\n",
        )?;
        let folder = home.path().display().to_string();
        let environment = |name: &str| (name == "HOME").then(|| folder.clone());
        let info = ConnInfo::parse("postgres://we%3Aird@/?service=mine", &environment)?;
        assert_eq!(info.shown(), "postgres://we:ird@h/g");
        assert_eq!(info.config.get_password(), Some(&b"p\\w:x"[..]));
        let with_variables = |name: &str| match name {
            "PGSERVICE" => Some("mine".to_owned()),
            "PGHOST" | "PGUSER" | "PGDATABASE" => Some("of-the-environment".to_owned()),
            _ => environment(name),
        };
        let info = ConnInfo::parse("postgres:///mine", &with_variables)?;
        assert_eq!(info.shown(), "postgres://of-the-environment@h/mine", "address, service, environment");
        let info = ConnInfo::parse("postgres://bob@i/g", &environment)?;
        assert_eq!(info.config.get_password(), Some(&b"last"[..]));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
        assert_eq!(ConnInfo::parse("postgres://bob@i/g", &environment)?.config.get_password(), None);
        Ok(())
    }

    /// No text makes it panic, and none comes back in an error.
    #[test]
    fn whatever_it_is_given_it_keeps_the_password_to_itself() {
        let pieces = [
            "postgres://",
            "u",
            ":",
            "GEHEIM",
            "@",
            "h",
            "[",
            "]",
            ",",
            "/",
            "?",
            "&",
            "=",
            "%",
            "%41",
            "port",
            "\0",
            "é",
        ];
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            let mut address = "postgres://u:GEHEIM@".to_owned();
            for _ in 0..8 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let piece = pieces[(seed >> 33) as usize % pieces.len()];
                address.push_str(if piece == "GEHEIM" { "x" } else { piece });
            }
            match ConnInfo::parse(&address, &nothing) {
                Ok(info) => assert!(
                    !format!("{info:?}").contains("GEHEIM") || address.matches('@').count() > 1,
                    "{address}"
                ),
                Err(reason) => assert!(!reason.contains("GEHEIM"), "{address}: {reason}"),
            }
        }
    }
}
