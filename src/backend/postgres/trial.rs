//! A schema of its own for a trial, beside whatever else is in the database.

use std::hash::{BuildHasher, RandomState};

use super::database::Database;
use super::link::Step;
use super::open::{OpenOptions, unopened};
use crate::backend::deadline::Deadline;
use crate::error::Result;
use crate::model::LOCK_TIMEOUT;

/// Dropping it drops the schema.
pub(crate) struct Trial {
    database: Database,
    schema: String,
    address: String,
}

impl Trial {
    pub fn begin(address: &str, options: &OpenOptions) -> Result<Self> {
        let database = unopened(address, 1)?;
        let wait = Deadline::within(options.lock_timeout.unwrap_or(LOCK_TIMEOUT));
        let schema = format!("govstore_trial_{:016x}", RandomState::new().hash_one(()));
        let create = format!("CREATE SCHEMA {schema}");
        database.set_up(&wait, |link| {
            Ok(link.run(vec![Step::Batch(create.clone().into())], &wait).map(drop)?)
        })?;
        Ok(Self { address: in_schema(address, &schema), database, schema })
    }

    /// The address of the database, for whoever is to see this schema alone. It has the password that was given.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let wait = Deadline::within(LOCK_TIMEOUT);
        let drop_it = format!("DROP SCHEMA {} CASCADE", self.schema);
        // If it fails the schema stays, which says by its name what it is.
        let _ = self.database.set_up(&wait, |link| {
            Ok(link.run(vec![Step::Batch(drop_it.clone().into())], &wait).map(drop)?)
        });
    }
}

/// The address with an option for the sessions, before those that it has.
fn in_schema(address: &str, schema: &str) -> String {
    let option = format!("-c%20search_path%3D{schema}");
    for given in ["?options=", "&options="] {
        if let Some((before, after)) = address.split_once(given) {
            return format!("{before}{given}{option}%20{after}");
        }
    }
    let separator = if address.contains('?') { '&' } else { '?' };
    format!("{address}{separator}options={option}")
}

#[cfg(test)]
mod tests {
    use super::in_schema;

    #[test]
    fn the_option_comes_before_those_that_were_given() {
        let option = "-c%20search_path%3Ds";
        assert_eq!(in_schema("postgres://h/g", "s"), format!("postgres://h/g?options={option}"));
        assert_eq!(in_schema("postgres://h/g?a=b", "s"), format!("postgres://h/g?a=b&options={option}"));
        assert_eq!(
            in_schema("postgres:///g?options=-cx", "s"),
            format!("postgres:///g?options={option}%20-cx")
        );
    }
}
