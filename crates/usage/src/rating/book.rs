//! Prices: versions that follow one another, found by exact name.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::{Rate, TokenClass};

/// Key of a price: a model of a provider, in a tier of service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The provider's name.
    pub provider: String,
    /// The model's name.
    pub model: String,
    /// The tier; empty for the usual one.
    pub service_tier: String,
}

/// One version of a price. It holds until the next version of the same key and step begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Its id.
    pub id: i64,
    /// Of what.
    pub key: Key,
    /// The step: input tokens from which it applies.
    pub min_context: i64,
    /// When it begins.
    pub valid_from: OffsetDateTime,
    /// True if it says that there is no price any more.
    pub is_retired: bool,
    /// Rates by class.
    pub rates: BTreeMap<TokenClass, Rate>,
}

/// All versions of all prices, and other names of models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriceBook {
    /// By key, then by step, then by beginning.
    prices: BTreeMap<Key, BTreeMap<i64, BTreeMap<OffsetDateTime, Price>>>,
    /// The (provider, model) that another (provider, model) stands for.
    aliases: BTreeMap<(String, String), (String, String)>,
}

impl PriceBook {
    /// The book of these versions and aliases. An alias leads to a model, never to another alias.
    #[must_use]
    pub fn new(
        prices: impl IntoIterator<Item = Price>,
        aliases: impl IntoIterator<Item = ((String, String), (String, String))>,
    ) -> Self {
        let mut book = Self { aliases: aliases.into_iter().collect(), ..Self::default() };
        for price in prices {
            let steps = book.prices.entry(price.key.clone()).or_default();
            let versions = steps.entry(price.min_context).or_default();
            versions.insert(price.valid_from, price);
        }
        book
    }

    /// The price of a call at an instant: of exactly this provider, model and tier, else of this model for any provider (a
    /// price whose provider is empty), else of the model that the name is an alias of. Nothing is guessed from prefixes or
    /// similar names, and a tier has its own price.
    ///
    /// The first of these that has begun decides. Of its steps the highest that `input_tokens` reach and that has begun
    /// applies. `None` if there is no price, or none any more: what was retired does not fall back to a lower step or to
    /// another name, which might be cheaper.
    #[must_use]
    pub fn find(&self, key: &Key, input_tokens: i64, at: OffsetDateTime) -> Option<&Price> {
        let named = |provider: &str, model: &str| Key {
            provider: provider.to_owned(),
            model: model.to_owned(),
            service_tier: key.service_tier.clone(),
        };
        self.steps(key, at)
            .or_else(|| self.steps(&named("", &key.model), at))
            .or_else(|| {
                let name = (key.provider.clone(), key.model.clone());
                let (provider, model) = self.aliases.get(&name)?;
                self.steps(&named(provider, model), at)
            })
            .and_then(|steps| steps.reached(input_tokens, at))
    }

    /// The steps of a key, if any of them has begun.
    fn steps(&self, key: &Key, at: OffsetDateTime) -> Option<Steps<'_>> {
        let steps = self.prices.get(key)?;
        let begun = steps.values().any(|versions| versions.range(..=at).next().is_some());
        begun.then_some(Steps(steps))
    }
}

struct Steps<'a>(&'a BTreeMap<i64, BTreeMap<OffsetDateTime, Price>>);

impl<'a> Steps<'a> {
    fn reached(&self, input_tokens: i64, at: OffsetDateTime) -> Option<&'a Price> {
        let reached = self.0.range(..=input_tokens).rev();
        let mut begun = reached.filter_map(|(_, versions)| versions.range(..=at).next_back());
        let (_, price) = begun.next()?;
        (!price.is_retired).then_some(price)
    }
}
