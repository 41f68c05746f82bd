//! The values of a statement.

use sqlx::{Arguments, error::BoxDynError, postgres::PgArguments, sqlite::SqliteArguments};

use crate::clock::Clock;

/// A value as a statement takes it. `None` is NULL and keeps its type, which Postgres asks for.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Integer(Option<i64>),
    Real(Option<f64>),
    Bool(Option<bool>),
    Text(Option<&'a str>),
    Bytes(Option<&'a [u8]>),
    /// An array on Postgres, a JSON array on `SQLite`.
    Integers(&'a [i64]),
    /// The same.
    Texts(&'a [&'a str]),
    /// The present, for `visavis_now`: by the clock of this process on `SQLite`, by that of the
    /// server on Postgres, unless a test has set the clock.
    Present(&'a Clock),
}

impl Value<'_> {
    pub(super) fn for_sqlite(values: &[Self]) -> Result<SqliteArguments, BoxDynError> {
        let mut all = SqliteArguments::default();
        for value in values {
            match *value {
                Self::Integer(value) => Arguments::add(&mut all, value),
                Self::Real(value) => Arguments::add(&mut all, value),
                Self::Bool(value) => Arguments::add(&mut all, value),
                Self::Text(value) => Arguments::add(&mut all, value),
                Self::Bytes(value) => Arguments::add(&mut all, value),
                Self::Integers(values) => Arguments::add(&mut all, serde_json::to_string(values)?),
                Self::Texts(values) => Arguments::add(&mut all, serde_json::to_string(values)?),
                Self::Present(clock) => Arguments::add(&mut all, clock.now()),
            }?;
        }
        Ok(all)
    }

    pub(super) fn for_postgres(values: &[Self]) -> Result<PgArguments, BoxDynError> {
        let mut all = PgArguments::default();
        for value in values {
            match *value {
                Self::Integer(value) => Arguments::add(&mut all, value),
                Self::Real(value) => Arguments::add(&mut all, value),
                Self::Bool(value) => Arguments::add(&mut all, value),
                Self::Text(value) => Arguments::add(&mut all, value),
                Self::Bytes(value) => Arguments::add(&mut all, value),
                Self::Integers(values) => Arguments::add(&mut all, values),
                Self::Texts(values) => Arguments::add(&mut all, values),
                Self::Present(clock) => Arguments::add(&mut all, clock.set_time()),
            }?;
        }
        Ok(all)
    }
}

/// For a type and for `Option` of it.
macro_rules! values {
    ($($variant:ident: $type:ty,)*) => {
        $(
            impl<'a> From<$type> for Value<'a> {
                fn from(value: $type) -> Self {
                    Self::$variant(Some(value))
                }
            }

            impl<'a> From<Option<$type>> for Value<'a> {
                fn from(value: Option<$type>) -> Self {
                    Self::$variant(value)
                }
            }
        )*
    };
}

values! {
    Integer: i64,
    Real: f64,
    Bool: bool,
    Text: &'a str,
    Bytes: &'a [u8],
}

impl<'a> From<&'a Clock> for Value<'a> {
    fn from(clock: &'a Clock) -> Self {
        Self::Present(clock)
    }
}

impl<'a> From<&'a [i64]> for Value<'a> {
    fn from(values: &'a [i64]) -> Self {
        Self::Integers(values)
    }
}

impl<'a> From<&'a [&'a str]> for Value<'a> {
    fn from(values: &'a [&'a str]) -> Self {
        Self::Texts(values)
    }
}
