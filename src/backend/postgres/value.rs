//! Parameters of statements, and columns of rows.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::row::RowIndex;
use tokio_postgres::types::{FromSql, ToSql, Type};

use super::failure::Failure;
use crate::backend::statements::TxResult;
use crate::model::Timestamp;

/// A statement with its parameters, `$1` and so on. Each has a type of its own, so that the server need not be asked
/// for one, which would cost a round trip and a named statement.
pub(super) struct Statement {
    pub sql: &'static str,
    pub parameters: Vec<Parameter>,
}

impl Statement {
    pub fn typed(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.parameters.iter().map(Parameter::typed).collect()
    }

    /// Whether it has a text with a NUL in it.
    pub fn has_nul(&self) -> bool {
        self.parameters.iter().any(Parameter::has_nul)
    }
}

/// Makes a [`Statement`] of its text and its parameters.
macro_rules! statement {
    ($sql:expr $(, $parameter:expr)* $(,)?) => {
        $crate::backend::postgres::value::Statement {
            sql: $sql,
            parameters: vec![$($crate::backend::postgres::value::Parameter::from($parameter)),*],
        }
    };
}
pub(super) use statement;

/// The value of a parameter.
pub(super) enum Parameter {
    Truth(Option<bool>),
    Whole(Option<i64>),
    Number(Option<f64>),
    Text(Option<String>),
    Time(Option<DateTime<Utc>>),
    Numbers(Option<Vec<f64>>),
    Bytes(Option<Vec<u8>>),
    Texts(Vec<Option<String>>),
}

impl Parameter {
    pub fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Truth(value) => (value, Type::BOOL),
            Self::Whole(value) => (value, Type::INT8),
            Self::Number(value) => (value, Type::FLOAT8),
            Self::Text(value) => (value, Type::TEXT),
            Self::Time(value) => (value, Type::TIMESTAMPTZ),
            Self::Numbers(value) => (value, Type::FLOAT8_ARRAY),
            Self::Bytes(value) => (value, Type::BYTEA),
            Self::Texts(value) => (value, Type::TEXT_ARRAY),
        }
    }

    /// Whether it has a NUL in it, which PostgreSQL can't hold.
    fn has_nul(&self) -> bool {
        match self {
            Self::Text(Some(text)) => text.contains('\0'),
            Self::Texts(texts) => texts.iter().flatten().any(|text| text.contains('\0')),
            _ => false,
        }
    }
}

/// A type that is a parameter as it is, and as an option.
macro_rules! parameter {
    ($($from:ty => $variant:ident($make:expr);)*) => {
        $(
            impl From<$from> for Parameter {
                fn from(value: $from) -> Self {
                    let make: fn($from) -> _ = $make;
                    Self::$variant(Some(make(value)))
                }
            }

            impl From<Option<$from>> for Parameter {
                fn from(value: Option<$from>) -> Self {
                    Self::$variant(value.map($make))
                }
            }
        )*
    };
}

parameter! {
    bool => Truth(|value| value);
    i64 => Whole(|value| value);
    u32 => Whole(i64::from);
    u16 => Whole(i64::from);
    u64 => Whole(|value| i64::try_from(value).unwrap_or(i64::MAX));
    f64 => Number(|value| value);
    String => Text(|value| value);
    &str => Text(str::to_owned);
    Timestamp => Time(Timestamp::to_utc);
    Vec<f64> => Numbers(|value| value);
    [u8; 16] => Bytes(|value| value.to_vec());
}

impl From<Vec<String>> for Parameter {
    fn from(value: Vec<String>) -> Self {
        Self::Texts(value.into_iter().map(Some).collect())
    }
}

/// The columns of a row, by name or by position.
pub(super) trait Columns {
    fn take<'r, T: FromSql<'r>>(&'r self, column: impl RowIndex + Display + Copy) -> TxResult<T>;

    /// A whole number of the width that is asked for.
    fn whole<T: TryFrom<i64, Error: Display>>(&self, column: impl RowIndex + Display + Copy) -> TxResult<T> {
        let value: i64 = self.take(column)?;
        value.try_into().map_err(|e: T::Error| Failure::unreadable(column, e).into())
    }

    fn whole_or_null<T: TryFrom<i64, Error: Display>>(
        &self,
        column: impl RowIndex + Display + Copy,
    ) -> TxResult<Option<T>> {
        let value: Option<i64> = self.take(column)?;
        value
            .map(|value| value.try_into().map_err(|e: T::Error| Failure::unreadable(column, e).into()))
            .transpose()
    }

    /// A text that stands for something: a word of an enum.
    fn parsed<T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>>(
        &self,
        column: impl RowIndex + Display + Copy,
    ) -> TxResult<T> {
        let text: &str = self.take(column)?;
        text.parse().map_err(|e: T::Err| Failure::unreadable(column, e.into()).into())
    }

    fn parsed_or_null<T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>>(
        &self,
        column: impl RowIndex + Display + Copy,
    ) -> TxResult<Option<T>> {
        let text: Option<&str> = self.take(column)?;
        text.map(|text| text.parse().map_err(|e: T::Err| Failure::unreadable(column, e.into()).into()))
            .transpose()
    }

    fn time(&self, column: impl RowIndex + Display + Copy) -> TxResult<Timestamp> {
        Ok(self.take::<DateTime<Utc>>(column)?.into())
    }

    fn time_or_null(&self, column: impl RowIndex + Display + Copy) -> TxResult<Option<Timestamp>> {
        Ok(self.take::<Option<DateTime<Utc>>>(column)?.map(Timestamp::from))
    }

    /// A text that is JSON.
    fn json<T: DeserializeOwned>(&self, column: impl RowIndex + Display + Copy) -> TxResult<T> {
        let text: &str = self.take(column)?;
        serde_json::from_str(text).map_err(|e| Failure::unreadable(column, e).into())
    }

    /// What is not finite reads as 0: a CHECK doesn't see it.
    fn numbers(&self, column: impl RowIndex + Display + Copy) -> TxResult<Option<Vec<f64>>> {
        let numbers: Option<Vec<f64>> = self.take(column)?;
        let finite = |number: f64| if number.is_finite() { number } else { 0.0 };
        Ok(numbers.map(|numbers| numbers.into_iter().map(finite).collect()))
    }
}

impl Columns for Row {
    fn take<'r, T: FromSql<'r>>(&'r self, column: impl RowIndex + Display + Copy) -> TxResult<T> {
        self.try_get(column).map_err(|e| {
            let reason = e.source().map_or_else(|| e.to_string(), ToString::to_string);
            Failure::unreadable(column, reason).into()
        })
    }
}

/// Clients send a handful of numbers and the vector is padded to 128; the padding need not be stored.
pub(super) fn without_trailing_zeros(parameters: &[f64]) -> Vec<f64> {
    let used = parameters.iter().rposition(|p| *p != 0.0).map_or(0, |last| last + 1);
    parameters[..used].to_vec()
}
