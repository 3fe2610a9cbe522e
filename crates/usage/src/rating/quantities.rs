//! Quantities by class.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// Unit with a price of its own. The classes are disjoint: a token is in one of them only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenClass {
    /// Tokens read for the first time.
    Input,
    /// Tokens read from the provider's cache.
    CacheRead,
    /// Tokens written to a cache that lives five minutes.
    CacheWrite5m,
    /// Tokens written to a cache that lives an hour.
    CacheWrite1h,
    /// Tokens that were shown.
    Output,
    /// Tokens that were thought.
    Reasoning,
    /// Tokens of sound that was heard.
    AudioIn,
    /// Tokens of sound that was spoken.
    AudioOut,
    /// Pictures made.
    Image,
    /// Calls.
    Request,
    /// Seconds of time or of sound.
    Second,
    /// Tokens of which nothing else is known.
    Token,
}

/// Every class, in the order in which they are listed.
const ALL: [(TokenClass, &str); 12] = [
    (TokenClass::Input, "input"),
    (TokenClass::CacheRead, "cache_read"),
    (TokenClass::CacheWrite5m, "cache_write_5m"),
    (TokenClass::CacheWrite1h, "cache_write_1h"),
    (TokenClass::Output, "output"),
    (TokenClass::Reasoning, "reasoning"),
    (TokenClass::AudioIn, "audio_in"),
    (TokenClass::AudioOut, "audio_out"),
    (TokenClass::Image, "image"),
    (TokenClass::Request, "request"),
    (TokenClass::Second, "second"),
    (TokenClass::Token, "token"),
];

impl TokenClass {
    /// Every class.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.into_iter().map(|(class, _)| class)
    }

    /// Its name in requests, answers and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ALL.into_iter().find(|(class, _)| *class == self).map_or("token", |(_, name)| name)
    }
}

impl fmt::Display for TokenClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that no class has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such token class")]
pub struct UnknownTokenClass;

impl FromStr for TokenClass {
    type Err = UnknownTokenClass;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = ALL.into_iter().find(|(_, name)| *name == text);
        found.map(|(class, _)| class).ok_or(UnknownTokenClass)
    }
}

/// Why counts cannot be split into classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantitiesError {
    /// A part is larger than the count that contains it.
    #[error("{part} are more than the {whole} that contain them")]
    PartExceedsWhole {
        /// The part.
        part: TokenClass,
        /// Its container.
        whole: TokenClass,
    },
    /// A count below zero.
    #[error("{class} is below zero")]
    Negative {
        /// Of what.
        class: TokenClass,
    },
}

/// Quantities by class. Only what is above zero is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quantities(BTreeMap<TokenClass, i64>);

impl Quantities {
    /// The quantities of these classes; of one that comes twice, both together.
    ///
    /// # Errors
    /// [`QuantitiesError::Negative`], also for a sum that cannot be counted.
    pub fn from_counts(counts: impl IntoIterator<Item = (TokenClass, i64)>) -> Result<Self, QuantitiesError> {
        let mut quantities = BTreeMap::new();
        for (class, count) in counts {
            let sum = quantities.entry(class).or_insert(0_i64);
            *sum = sum
                .checked_add(count)
                .filter(|sum| count >= 0 && *sum >= 0)
                .ok_or(QuantitiesError::Negative { class })?;
        }
        quantities.retain(|_, count| *count > 0);
        Ok(Self(quantities))
    }

    /// The quantities of a report in which counts are contained in others, as providers make them: takes each part out of
    /// the whole that contains it, so that nothing is priced twice.
    ///
    /// # Errors
    /// [`QuantitiesError::PartExceedsWhole`] when the parts are more than the whole, [`QuantitiesError::Negative`].
    pub fn split(
        counts: impl IntoIterator<Item = (TokenClass, i64)>,
        contained: &[(TokenClass, TokenClass)],
    ) -> Result<Self, QuantitiesError> {
        let mut quantities = Self::from_counts(counts)?;
        for (part, whole) in contained {
            let inside = quantities.get(*part);
            let left = quantities.get(*whole).checked_sub(inside).filter(|left| *left >= 0);
            let left = left.ok_or(QuantitiesError::PartExceedsWhole { part: *part, whole: *whole })?;
            quantities.0.insert(*whole, left);
        }
        quantities.0.retain(|_, count| *count > 0);
        Ok(quantities)
    }

    /// Quantity of a class.
    #[must_use]
    pub fn get(&self, class: TokenClass) -> i64 {
        self.0.get(&class).copied().unwrap_or(0)
    }

    /// Quantities in the order of classes.
    pub fn iter(&self) -> impl Iterator<Item = (TokenClass, i64)> {
        self.0.iter().map(|(class, count)| (*class, *count))
    }

    /// Tokens that went in: they decide which step of a price by context length applies.
    #[must_use]
    pub fn input_tokens(&self) -> i64 {
        use TokenClass::{AudioIn, CacheRead, CacheWrite1h, CacheWrite5m, Input};
        [Input, CacheRead, CacheWrite5m, CacheWrite1h, AudioIn]
            .into_iter()
            .fold(0, |sum, class| sum.saturating_add(self.get(class)))
    }
}
