//! Prices: versions that follow one another, found by exact name.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::TokenClass;

/// What one unit of a class costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Pico-credits that the user pays; zero is explicitly free.
    pub charge_pico: i64,
    /// Pico-dollars that the provider takes.
    pub cost_pico: i64,
}

/// What is priced: a model of a provider, in a tier of service.
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
    /// Whether it says that there is no price any more.
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
        let mut book = Self {
            aliases: aliases.into_iter().collect(),
            ..Self::default()
        };
        for price in prices {
            let steps = book.prices.entry(price.key.clone()).or_default();
            let versions = steps.entry(price.min_context).or_default();
            versions.insert(price.valid_from, price);
        }
        book
    }

    /// The price of a call at an instant: of exactly this provider, model and tier, else of the model that the name is an
    /// alias of. Nothing is guessed from prefixes or similar names.
    ///
    /// Of several steps the highest that `input_tokens` reach and that has begun applies. `None` if there is no price, or
    /// none any more: a step that was retired does not fall back to a lower one, which might be cheaper.
    #[must_use]
    pub fn find(&self, key: &Key, input_tokens: i64, at: OffsetDateTime) -> Option<&Price> {
        if self.prices.contains_key(key) {
            return self.find_exactly(key, input_tokens, at);
        }
        let name = (key.provider.clone(), key.model.clone());
        let (provider, model) = self.aliases.get(&name)?.clone();
        let meant = Key {
            provider,
            model,
            service_tier: key.service_tier.clone(),
        };
        self.find_exactly(&meant, input_tokens, at)
    }

    fn find_exactly(&self, key: &Key, input_tokens: i64, at: OffsetDateTime) -> Option<&Price> {
        let steps = self.prices.get(key)?;
        let reached = steps.range(..=input_tokens).rev();
        let mut begun = reached.filter_map(|(_, versions)| versions.range(..=at).next_back());
        let (_, price) = begun.next()?;
        (!price.is_retired).then_some(price)
    }
}
