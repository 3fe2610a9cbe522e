//! Figures of a summary that may be worth a look: fixed rules, no guesses (HTTP contract 4.7).

use crate::{Suggestion, Summary};

/// The suggestions that follow from a summary.
///
/// One model with more than half of the cost; questions with more than 80 % of the tokens; each model that has no price.
#[must_use]
pub fn suggestions(summary: &Summary) -> Vec<Suggestion> {
    let totals = &summary.total.totals;
    let mut found = Vec::new();
    if let Some((model, cost)) = &summary.costliest
        && cost.nano().saturating_mul(2) > totals.cost_usd.nano()
    {
        found.push(Suggestion::CostlyModel {
            model: model.clone(),
            percent: percent(cost.nano(), totals.cost_usd.nano()),
        });
    }
    if totals.tokens_used > 0 && totals.prompt_tokens.saturating_mul(5) > totals.tokens_used.saturating_mul(4)
    {
        found.push(Suggestion::LongPrompts { percent: percent(totals.prompt_tokens, totals.tokens_used) });
    }
    found.extend(summary.unrated.iter().cloned().map(Suggestion::UnpricedModel));
    found
}

/// A share, rounded to whole per cent; at most 100, for nobody checks that the parts a caller states fit his total.
fn percent(part: i128, whole: i128) -> u8 {
    let half = whole.checked_div(2).unwrap_or(0);
    let percent = part.saturating_mul(100).saturating_add(half).checked_div(whole);
    u8::try_from(percent.unwrap_or(0).clamp(0, 100)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Counted, Point, Totals, UnratedModel};
    use kernel::UsdSum;

    fn summary(cost: i128, costliest: i128, tokens_used: i128, prompt_tokens: i128) -> Summary {
        Summary {
            total: Point {
                totals: Totals {
                    cost_usd: UsdSum::from_nano(cost),
                    tokens_used,
                    prompt_tokens,
                    ..Totals::default()
                },
                active_users: 1,
            },
            costliest: Some(("gpt-4".to_owned(), UsdSum::from_nano(costliest))),
            ..Summary::default()
        }
    }

    fn costly(percent: u8) -> Suggestion {
        Suggestion::CostlyModel { model: "gpt-4".to_owned(), percent }
    }

    #[test]
    fn a_model_is_costly_above_one_half() {
        assert_eq!(suggestions(&summary(12_200, 9_100, 0, 0)), [costly(75)]);
        assert_eq!(suggestions(&summary(1_000_000, 500_001, 0, 0)), [costly(50)]);
        assert_eq!(suggestions(&summary(2, 2, 0, 0)), [costly(100)]);
        assert_eq!(suggestions(&summary(2, 1, 0, 0)), []);
        assert_eq!(suggestions(&summary(0, 0, 0, 0)), []);
        let enormous = i128::MAX / 200;
        assert_eq!(suggestions(&summary(enormous, enormous, 0, 0)), [costly(100)]);
    }

    #[test]
    fn prompts_are_long_above_four_fifths() {
        let long = |percent| Suggestion::LongPrompts { percent };
        assert_eq!(suggestions(&summary(0, 0, 1_000, 801)), [long(80)]);
        assert_eq!(suggestions(&summary(0, 0, 1_000, 800)), []);
        // A caller may state fewer tokens in all than in the question.
        assert_eq!(suggestions(&summary(0, 0, 10, 1_000)), [long(100)]);
        assert_eq!(suggestions(&summary(0, 0, 0, 1_000)), []);
    }

    #[test]
    fn each_model_without_a_price_is_told() {
        let unrated =
            |model: &str| UnratedModel { model: model.to_owned(), records: 3, counted: Counted::All };
        let both = Summary { unrated: vec![unrated("a"), unrated("b")], ..Summary::default() };
        let told = [unrated("a"), unrated("b")].map(Suggestion::UnpricedModel);
        assert_eq!(suggestions(&both), told);
    }
}
