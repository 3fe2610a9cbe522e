//! The charge of a reply: by the price of its model, or by the token where it has none (HTTP contract 9.1).

use kernel::{Credits, UserId};
use pg::DbError;
use time::OffsetDateTime;
use usage::{
    NewRecord, Pricing, UsageInput,
    rating::{PriceBook, TokenClass},
};

use super::settings::{EVENT_TYPE, ReplySettings};

/// The tokens of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) prompt: i64,
    /// Part of the prompt that the provider had in its cache.
    pub(super) cached: i64,
    pub(super) completion: i64,
}

/// The usage of a reply with this many tokens, priced; what has no price is charged by the token.
pub(super) fn priced(
    settings: &ReplySettings,
    book: &PriceBook,
    at: OffsetDateTime,
    usage: UsageInput,
    tokens: Tokens,
) -> Result<NewRecord, DbError> {
    let input = UsageInput {
        model_name: Some(settings.model.clone()),
        prompt_tokens: Some(tokens.prompt),
        completion_tokens: Some(tokens.completion),
        cached_prompt_tokens: Some(tokens.cached).filter(|cached| *cached > 0),
        ..usage
    };
    let unusable =
        |refusal| DbError::Inconsistent(format!("the usage of a reply cannot be priced: {refusal}"));
    let record = input.clone().priced(book, at).map_err(unusable)?;
    match record.pricing {
        Pricing::Stated | Pricing::Rated { .. } => return Ok(record),
        // The price says nothing about cached tokens: they cost what others do.
        Pricing::Unrated { token_class: Some(TokenClass::CacheRead) } if tokens.cached > 0 => {
            return priced(settings, book, at, input, Tokens { cached: 0, ..tokens });
        }
        Pricing::Unrated { .. } => {}
    }
    let count = tokens.prompt.saturating_add(tokens.completion);
    let charge = settings.credits_per_token.micro().saturating_mul(count);
    let charge = Credits::from_micro(charge).min(Credits::MAX);
    UsageInput { credits_charged: Some(charge), calculation_method: Some("per_token".to_owned()), ..input }
        .priced(book, at)
        .map_err(unusable)
}

/// Charges of replies to one prompt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quotes<'a> {
    pub(super) settings: &'a ReplySettings,
    pub(super) book: &'a PriceBook,
    pub(super) at: OffsetDateTime,
    pub(super) user_id: &'a UserId,
}

impl Quotes<'_> {
    /// The charge of so many tokens.
    pub(super) fn charge(&self, prompt: i64, completion: i64) -> Result<Credits, DbError> {
        let usage = UsageInput::new(self.user_id.clone(), EVENT_TYPE);
        let tokens = Tokens { prompt, cached: 0, completion };
        Ok(priced(self.settings, self.book, self.at, usage, tokens)?.credits_charged)
    }

    /// The longest reply, at most `max` tokens, that costs no more than `amount`; at least one token, which is affordable.
    pub(super) fn affordable(&self, prompt: i64, max: i64, amount: Credits) -> Result<i64, DbError> {
        let (mut fits, mut beyond) = (1_i64, max.saturating_add(1));
        while beyond.saturating_sub(fits) > 1 {
            let middle = fits.midpoint(beyond);
            if self.charge(prompt, middle)? <= amount {
                fits = middle;
            } else {
                beyond = middle;
            }
        }
        Ok(fits)
    }
}
