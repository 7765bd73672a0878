//! Columns whose text or bytes stand for something.

use std::error::Error;
use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Result, ToSql};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A TEXT column that is parsed: words of an enum, timestamps.
pub(super) struct Parsed<T>(pub T);

impl<T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>> FromSql for Parsed<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(|e: T::Err| FromSqlError::Other(e.into()))
    }
}

/// A TEXT column that is JSON.
pub(super) struct Json<T>(pub T);

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(FromSqlError::other)
    }
}

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        let text =
            serde_json::to_string(&self.0).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
        Ok(text.into())
    }
}

/// A BLOB column of little-endian f64 numbers. What is not finite reads as 0: a CHECK can't see inside.
pub(super) struct Numbers(pub Vec<f64>);

impl FromSql for Numbers {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let numbers = value.as_blob()?.chunks_exact(size_of::<f64>()).map(|bytes| {
            let number = f64::from_le_bytes(bytes.try_into().unwrap_or_default());
            if number.is_finite() { number } else { 0.0 }
        });
        Ok(Self(numbers.collect()))
    }
}

/// The bytes of a [`Numbers`] column.
pub(super) fn bytes(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().map(|number| number.to_le_bytes()).collect::<Vec<_>>().into_flattened()
}
