//! Opening a database.

use std::time::Duration;

use super::connect::Connector;
use super::conninfo::ConnInfo;
use super::database::{Database, Host};
use super::{migrate, tls};
use crate::backend::deadline::Deadline;
use crate::error::{Error, Result};
use crate::model::{LOCK_TIMEOUT, Settings};
use crate::os;

/// What is to be known of a server that waits for no standby.
const ALONE: &str = "no standby is synchronous: should the server be replaced by a standby, updates that were acknowledged \
                     last may be lost";

/// How a database is opened.
pub(crate) struct OpenOptions {
    /// How long opening waits, if it is not for the default to say.
    pub lock_timeout: Option<Duration>,
    pub max_connections: u32,
    pub create: bool,
    /// Whether it is opened to be filled by a copy.
    pub for_copy: bool,
}

/// Opens the database at an address, and brings its schema up to date. Returns its settings as well.
pub(crate) fn open(address: &str, options: &OpenOptions) -> Result<(Database, Settings)> {
    let database = unopened(address, options.max_connections)?;
    let wait = Deadline::within(options.lock_timeout.unwrap_or(LOCK_TIMEOUT));
    let path = database.address();
    database.set_up(&wait, |link| migrate::migrate(link, &wait, path, options.create))?;
    let found = database.look(&wait, |session| {
        let found = session.at_open()?;
        database.mark_process(&found.id);
        Ok(found)
    })?;
    if found.is_alone {
        database.warn(ALONE);
    }
    match found.copied_from {
        Some(from) if !options.for_copy => Err(Error::UnfinishedCopy { path: path.to_owned(), from }),
        _ => Ok((database, found.settings)),
    }
}

/// The database at an address, to which nobody has connected yet.
pub(super) fn unopened(address: &str, max_connections: u32) -> Result<Database> {
    let environment = |name: &str| std::env::var(name).ok();
    let bad = |reason| Error::BadAddress { reason };
    let info = ConnInfo::parse(address, &environment).map_err(bad)?;
    let tls = tls::config(&info).map_err(bad)?;
    let connector = Connector::new(info, tls).map_err(|source| Error::NoThread { source })?;
    Ok(Database::new(connector, host(), max_connections))
}

fn host() -> Host {
    let key = match os::native() {
        Ok(system) => {
            let here = os::System::here(&system);
            format!("{}/{}", here.host_id.as_deref().unwrap_or_default(), here.boot_id)
        }
        Err(_) => "/unknown".to_owned(),
    };
    let name = sysinfo::System::host_name().unwrap_or_default();
    let name = if name.is_empty() { "unnamed" } else { &name };
    Host { key, name: name.chars().take(200).collect() }
}
