//! Defaults for omitted fields (HTTP contract 4.1), without a database.

use time::OffsetDateTime;

use crate::{
    NewRecord, Pricing, UsageInput, UsageRefusal,
    rating::{Key, PriceBook, Quantities, Rated, RatingError, TokenClass, rate},
};

/// Greatest token count that is accepted from outside (HTTP contract 1.8).
pub const TOKENS_MAX: i64 = 1_000_000_000_000;

/// `calculation_method` when the charge follows from the price list.
pub const PRICE_LIST: &str = "price_list";

/// Event ids that begin with this are given by the service itself: `correction:<id>` is claimed by the one correction of a
/// record.
pub const CORRECTION: &str = "correction:";

impl UsageInput {
    /// Decides everything that was left out, with the prices that hold at `at`, which is when an event occurred that states no
    /// time (HTTP contract 4.1 and 4.8).
    ///
    /// # Errors
    /// [`UsageRefusal::PartExceedsWhole`] when more tokens were cached than asked, [`UsageRefusal::ChargeTooLarge`].
    pub fn priced(self, book: &PriceBook, at: OffsetDateTime) -> Result<NewRecord, UsageRefusal> {
        let quoted = self.quote(book, self.occurred_at.unwrap_or(at))?;
        let states_charge = self.credits_charged.is_some();
        let states_method = self.calculation_method.is_some();
        let mut record = self.clone().complete();
        match quoted {
            Quote::Nothing => {}
            Quote::Unknown(token_class) if !states_charge => {
                record.pricing = Pricing::Unrated { token_class }
            }
            Quote::Unknown(_) => {}
            Quote::Priced { price_id, quantities, rated } => {
                record.cost_usd = self.cost_usd.unwrap_or(rated.cost);
                if !states_charge {
                    record.credits_charged = rated.charge;
                    record.pricing = Pricing::Rated { price_id, quantities };
                    if !states_method {
                        PRICE_LIST.clone_into(&mut record.calculation_method);
                    }
                }
            }
        }
        Ok(record)
    }

    /// Result of the price book, if it was asked.
    fn quote(&self, book: &PriceBook, at: OffsetDateTime) -> Result<Quote, UsageRefusal> {
        let counts = self.counts()?;
        let Some(model) = self.model_name.as_deref().filter(|model| !model.is_empty()) else {
            return Ok(Quote::Nothing);
        };
        if self.credits_charged.is_some() && self.cost_usd.is_some() {
            return Ok(Quote::Nothing);
        }
        let key = Key {
            provider: self.provider.clone().unwrap_or_default(),
            model: model.to_owned(),
            service_tier: String::new(),
        };
        let Some(price) = book.find(&key, counts.input_tokens(), at) else {
            return Ok(Quote::Unknown(None));
        };
        let request = price.rates.contains_key(&TokenClass::Request);
        let request = request.then_some((TokenClass::Request, 1));
        let quantities = Quantities::from_counts(counts.iter().chain(request))
            .map_err(|_| UsageRefusal::ChargeTooLarge)?;
        match rate(price, &quantities) {
            Ok(rated) => Ok(Quote::Priced { price_id: price.id, quantities, rated }),
            Err(RatingError::ClassNotPriced { class }) => Ok(Quote::Unknown(Some(class))),
            Err(RatingError::TooLarge) => Err(UsageRefusal::ChargeTooLarge),
        }
    }

    /// Quantities by class: where only the total is known, tokens of which nothing else is known.
    fn counts(&self) -> Result<Quantities, UsageRefusal> {
        use TokenClass::{CacheRead, Input, Output, Token};
        let (asked, answered) = (self.prompt_tokens.unwrap_or(0), self.completion_tokens.unwrap_or(0));
        let cached = self.cached_prompt_tokens.unwrap_or(0);
        let counted = if asked == 0 && answered == 0 && cached == 0 {
            Quantities::from_counts([(Token, self.tokens_used.unwrap_or(0))])
        } else {
            let counts = [(Input, asked), (Output, answered), (CacheRead, cached)];
            Quantities::split(counts, &[(CacheRead, Input)])
        };
        counted.map_err(|_| UsageRefusal::PartExceedsWhole)
    }
}

/// Price of an event in the price book.
enum Quote {
    /// They were not asked.
    Nothing,
    /// They do not know the model, or not this class of what was used.
    Unknown(Option<TokenClass>),
    /// This.
    Priced { price_id: i64, quantities: Quantities, rated: Rated },
}

#[cfg(test)]
mod tests {
    use kernel::{Credits, FreeForm, Usd};

    use super::*;
    use crate::{UNKNOWN, UNRATED};

    fn event() -> UsageInput {
        UsageInput::new("auth0|a".parse().unwrap(), "ai_chat")
    }

    #[test]
    fn what_is_left_out_is_zero_empty_or_unknown() {
        let record = event().complete();
        assert_eq!(record.event_type, "ai_chat");
        assert_eq!(record.credits_charged, Credits::ZERO);
        assert_eq!(record.cost_usd, Usd::ZERO);
        assert_eq!(record.calculation_method, UNKNOWN);
        assert_eq!((record.tokens_used, record.prompt_tokens, record.completion_tokens), (0, 0, 0));
        assert_eq!(record.billing_metadata, FreeForm::empty());
        assert_eq!((record.endpoint, record.model_name, record.session_id), (None, None, None));
    }

    #[test]
    fn tokens_are_added_up_only_when_the_total_is_absent() {
        let parts = UsageInput { prompt_tokens: Some(800), completion_tokens: Some(450), ..event() };
        assert_eq!(parts.clone().complete().tokens_used, 1_250);
        let total = |tokens| UsageInput { tokens_used: Some(tokens), ..parts.clone() };
        assert_eq!(total(7).complete().tokens_used, 7);
        assert_eq!(total(0).complete().tokens_used, 0);
        let most =
            UsageInput { prompt_tokens: Some(TOKENS_MAX), completion_tokens: Some(TOKENS_MAX), ..event() };
        assert_eq!(most.complete().tokens_used, 2 * TOKENS_MAX);
    }

    #[test]
    fn the_method_says_whether_the_charge_is_known() {
        let model = Some("gpt-4".to_owned());
        let given = Some("gpt4_pricing".to_owned());
        let zero = Some(Credits::ZERO);
        for (model_name, credits_charged, calculation_method, expected) in [
            (None, None, None, UNKNOWN),
            (model.clone(), None, None, UNRATED),
            (model.clone(), zero, None, UNKNOWN),
            (None, zero, None, UNKNOWN),
            (Some(String::new()), None, None, UNKNOWN),
            (model.clone(), None, given.clone(), "gpt4_pricing"),
            (model, zero, given, "gpt4_pricing"),
        ] {
            let input = UsageInput { model_name, credits_charged, calculation_method, ..event() };
            assert_eq!(input.clone().complete().calculation_method, expected, "{input:?}");
        }
    }

    #[test]
    fn empty_dimensions_count_as_absent() {
        let empty = Some(String::new());
        let record = UsageInput {
            model_name: empty.clone(),
            provider: empty.clone(),
            tool_name: empty.clone(),
            operation_name: empty.clone(),
            ..event()
        }
        .complete();
        assert_eq!((record.model_name, record.provider, record.tool_name), (None, None, None));
        assert_eq!(record.operation_name, empty);
    }
}
