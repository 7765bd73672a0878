//! Opening a database.

use std::path::PathBuf;
use std::time::Duration;

use super::connect::Connector;
use super::conninfo::ConnInfo;
use super::database::{Database, Host};
use super::value::{Columns, statement};
use super::{migrate, tls};
use crate::backend::deadline::Deadline;
use crate::backend::statements::SettingsReads;
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
    let environment = |name: &str| std::env::var(name).ok();
    let bad = |reason| Error::BadAddress { reason };
    let info = ConnInfo::parse(address, &environment).map_err(bad)?;
    let shown = PathBuf::from(info.shown());
    let tls = tls::config(&info).map_err(bad)?;
    let connector = Connector::new(info, tls).map_err(|source| Error::NoThread { source })?;
    let wait = Deadline::within(options.lock_timeout.unwrap_or(LOCK_TIMEOUT));
    let database = Database::new(connector, host(), options.max_connections);
    database.set_up(&wait, |link| migrate::migrate(link, &wait, &shown, options.create))?;
    let (settings, copied_from, is_alone) = database.look(&wait, |session| {
        let found = session.one_row(statement!(
            "SELECT (SELECT copied_from FROM unfinished_copy) AS copied_from,
                    current_setting('synchronous_standby_names') = '' AS is_alone,
                    concat_ws('-', (SELECT oid FROM pg_database WHERE datname = current_database()),
                              'govstore_schema'::regclass::oid,
                              (SELECT extract(epoch FROM min(applied_at)) FROM govstore_schema)) AS id"
        ))?;
        database.mark_process(&found.take::<String>("id")?);
        Ok((session.settings()?, found.take::<Option<String>>("copied_from")?, found.take("is_alone")?))
    })?;
    if is_alone {
        database.warn(ALONE);
    }
    match copied_from {
        Some(from) if !options.for_copy => Err(Error::UnfinishedCopy { path: shown, from }),
        _ => Ok((database, settings)),
    }
}

pub(super) fn host() -> Host {
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
