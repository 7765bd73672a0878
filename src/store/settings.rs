//! The settings, as they are and as they are changed.

use serde_json::Value;

use super::handle::Store;
use crate::error::{Error, Result};
use crate::model::Settings;

impl Store {
    /// The settings as they are now.
    pub fn settings(&self) -> Result<Settings> {
        let settings = self.read(|reader| reader.settings())?;
        self.follow(&settings);
        Ok(settings)
    }

    /// Changes one setting and returns them all. `value` is spelled as on the command line: a number,
    /// `true` or `false`, `spare`, `evict` or `refuse`, `none` for no limit.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = govstore::Store::open(dir.path().join("governance.db"))?;
    /// store.set_setting("risk_degraded_max", "0.4")?;
    /// assert_eq!(store.settings()?.risk_degraded_max, 0.4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSetting`], or [`Error::InvalidSetting`] with the rule that the value breaks.
    pub fn set_setting(&self, key: &str, value: &str) -> Result<Settings> {
        let changed = self.write(|tx| {
            let settings = changed(&tx.settings_to_change()?, key, value)?;
            tx.save_settings(&settings)?;
            Ok(settings)
        });
        let settings = changed.map_err(|e| match e {
            Error::Constraint { rule } => {
                Error::InvalidSetting { key: key.to_owned(), value: value.to_owned(), reason: rule }
            }
            other => other,
        })?;
        self.follow(&settings);
        Ok(settings)
    }
}

/// The same settings with `key` set to what `value` spells.
fn changed(settings: &Settings, key: &str, value: &str) -> Result<Settings> {
    let mut fields = serde_json::to_value(settings).unwrap_or_default();
    let Some(field) = fields.get_mut(key) else {
        return Err(Error::UnknownSetting { key: key.to_owned() });
    };
    let takes = match field {
        Value::Bool(_) => "true or false",
        Value::String(_) => "spare, evict or refuse",
        _ if key == "history_max_age_days" => "a number of days above 0, or none",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) if key != "history_limit" => "a whole number from 0 on",
        _ => "a whole number from 1 on, or none",
    };
    *field = match (value, &*field) {
        ("0" | "false", Value::Bool(_)) => Value::Bool(false),
        ("1" | "true", Value::Bool(_)) => Value::Bool(true),
        ("none" | "NULL", _) => Value::Null,
        _ => serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
    };
    serde_json::from_value(fields).map_err(|_| Error::InvalidSetting {
        key: key.to_owned(),
        value: value.to_owned(),
        reason: format!("it takes {takes}"),
    })
}
