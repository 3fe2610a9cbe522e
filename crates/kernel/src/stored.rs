//! Values in stored JSON, for `#[serde(with = "...")]`: exact, and the same in every version.

/// An amount of credits, as micro-credits.
pub mod micro_credits {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::Credits;

    /// Writes the amount.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(amount: &Credits, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(amount.micro())
    }

    /// Reads the amount.
    ///
    /// # Errors
    /// Not a whole number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Credits, D::Error> {
        i64::deserialize(deserializer).map(Credits::from_micro)
    }
}

/// An instant, as microseconds of the Unix epoch.
pub mod micros {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};
    use time::OffsetDateTime;

    /// Writes the instant.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(at: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
        let micros = at.unix_timestamp_nanos().checked_div(1_000);
        let micros = micros.and_then(|micros| i64::try_from(micros).ok());
        serializer.serialize_i64(micros.ok_or_else(|| ser::Error::custom("an instant out of range"))?)
    }

    /// Reads the instant.
    ///
    /// # Errors
    /// Not a whole number, or too large.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OffsetDateTime, D::Error> {
        let nanos = i128::from(i64::deserialize(deserializer)?).saturating_mul(1_000);
        OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(de::Error::custom)
    }
}

/// An instant that may be absent, as [`micros`] or null.
pub mod micros_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use time::OffsetDateTime;

    #[derive(Serialize, Deserialize)]
    struct Micros(#[serde(with = "super::micros")] OffsetDateTime);

    /// Writes the instant.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(at: &Option<OffsetDateTime>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(Micros).serialize(serializer)
    }

    /// Reads the instant.
    ///
    /// # Errors
    /// Those of [`micros`](super::micros::deserialize).
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<OffsetDateTime>, D::Error> {
        Ok(Option::<Micros>::deserialize(deserializer)?.map(|micros| micros.0))
    }
}

/// A value as its text.
pub mod text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes the value.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads the value.
    ///
    /// # Errors
    /// Not the text of such a value.
    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A value that may be absent, as its [`text`] or null.
pub mod text_option {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    /// Writes the value.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(ToString::to_string).serialize(serializer)
    }

    /// Reads the value.
    ///
    /// # Errors
    /// Not the text of such a value.
    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
    }
}
