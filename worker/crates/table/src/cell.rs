//! One value of a table.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A list or a matrix of the document, as JSON text. In JSON lines it is what it was.
    Json,
    /// Of 64 bits.
    Integer,
    /// Of double precision.
    Number,
    /// Of single precision, as the network gives it.
    Single,
    Flag,
    /// A moment in UTC, to the microsecond.
    Time,
}

impl Kind {
    /// As the reference calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "JSON text",
            Self::Integer => "64-bit integer",
            Self::Number => "double",
            Self::Single => "float",
            Self::Flag => "boolean",
            Self::Time => "time (UTC, microseconds)",
        }
    }
}

/// One value. It is null, or of its column's kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Cell {
    #[default]
    Null,
    Text(String),
    Json(String),
    Integer(i64),
    Number(f64),
    Single(f32),
    Flag(bool),
    /// Microseconds since 1970.
    Time(i64),
}

impl Cell {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub fn some_text(text: Option<&str>) -> Self {
        text.map_or(Self::Null, Self::text)
    }

    pub fn json(value: &impl Serialize) -> Self {
        serde_json::to_string(value).map_or(Self::Null, Self::Json)
    }

    /// Counts and sizes. What does not fit is not defined.
    pub fn integer(number: impl TryInto<i64>) -> Self {
        number.try_into().map_or(Self::Null, Self::Integer)
    }

    pub fn number(number: Option<f64>) -> Self {
        number.filter(|number| number.is_finite()).map_or(Self::Null, Self::Number)
    }

    pub fn single(number: f32) -> Self {
        if number.is_finite() { Self::Single(number) } else { Self::Null }
    }

    pub fn flag(flag: Option<bool>) -> Self {
        flag.map_or(Self::Null, Self::Flag)
    }

    pub fn time(moment: Option<OffsetDateTime>) -> Self {
        let micros =
            moment.and_then(|moment| i64::try_from(moment.unix_timestamp_nanos().div_euclid(1000)).ok());
        micros.map_or(Self::Null, Self::Time)
    }

    /// A fact of a document as a cell of this kind; `None` when the fact is of another.
    pub fn fact(kind: Kind, value: &serde_json::Value) -> Option<Self> {
        if value.is_null() {
            return Some(Self::Null);
        }
        Some(match kind {
            Kind::Text => Self::text(value.as_str()?),
            Kind::Json => Self::json(value),
            Kind::Integer => Self::Integer(value.as_i64()?),
            Kind::Number => Self::Number(value.as_f64()?),
            Kind::Flag => Self::Flag(value.as_bool()?),
            Kind::Single | Kind::Time => return None,
        })
    }
}

/// In UTC by RFC 3339; empty beyond its years.
pub(crate) fn moment(micros: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000);
    moment.ok().and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default()
}
