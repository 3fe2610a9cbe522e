//! Charges are exact, rounded once and upwards, and a price is never guessed.

use std::collections::BTreeMap;

use kernel::{AmountError, Credits, Usd};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};
use usage::rating::{
    Key, Per, Price, PriceBook, Quantities, QuantitiesError, Rate, Rated, RatingError, TokenClass, rate,
    terms,
};

fn key(provider: &str, model: &str) -> Key {
    Key { provider: provider.to_owned(), model: model.to_owned(), service_tier: String::new() }
}

fn price(rates: impl IntoIterator<Item = (TokenClass, i64, i64)>) -> Price {
    let rate = |(class, charge_pico, cost_pico)| (class, Rate { charge_pico, cost_pico });
    Price {
        id: 1,
        key: key("openai", "gpt-4"),
        min_context: 0,
        valid_from: testkit::instant(),
        is_retired: false,
        rates: rates.into_iter().map(rate).collect(),
    }
}

fn quantities(counts: &[(TokenClass, i64)]) -> Quantities {
    Quantities::from_counts(counts.iter().copied()).unwrap()
}

#[test]
fn a_call_is_the_sum_of_its_classes_rounded_up_once() {
    // 3 credits a million tokens in, 15 out: 3 and 15 million pico-credits a token.
    let price =
        price([(TokenClass::Input, 3_000_000, 30_000_000), (TokenClass::Output, 15_000_001, 60_000_000)]);
    let used = quantities(&[(TokenClass::Input, 800), (TokenClass::Output, 450)]);
    // 2400 + 6750.00045 micro-credits, and 24000 + 27000 micro-dollars.
    let rated = rate(&price, &used).unwrap();
    assert_eq!(rated.charge, Credits::from_micro(9_151));
    assert_eq!(rated.cost, Usd::from_nano(51_000_000));
    let nothing = rate(&price, &Quantities::default()).unwrap();
    assert_eq!((nothing.charge, nothing.cost), (Credits::ZERO, Usd::ZERO));
}

#[test]
fn a_class_without_a_rate_is_refused_and_a_rate_of_zero_is_free() {
    let price = price([(TokenClass::Input, 0, 5)]);
    let free = rate(&price, &quantities(&[(TokenClass::Input, 7)])).unwrap();
    assert_eq!((free.charge, free.cost), (Credits::ZERO, Usd::from_nano(1)));
    let class = TokenClass::Reasoning;
    assert_eq!(
        rate(&price, &quantities(&[(TokenClass::Input, 7), (class, 1)])),
        Err(RatingError::ClassNotPriced { class })
    );
}

#[test]
fn what_no_account_can_hold_is_too_large() {
    let limit = price([(TokenClass::Token, 1_000_000, 0)]);
    let most = Credits::MAX.micro();
    let of = |count| rate(&limit, &quantities(&[(TokenClass::Token, count)]));
    assert_eq!(of(most).unwrap().charge, Credits::MAX);
    assert_eq!(of(most + 1), Err(RatingError::TooLarge));
    let all = TokenClass::all().map(|class| (class, i64::MAX, i64::MAX));
    let used: Vec<_> = TokenClass::all().map(|class| (class, i64::MAX)).collect();
    assert_eq!(rate(&price(all), &quantities(&used)), Err(RatingError::TooLarge));
}

#[test]
fn parts_are_taken_out_of_the_counts_that_contain_them() {
    use TokenClass::{CacheRead, Input, Output, Reasoning};
    let contained = [(CacheRead, Input), (Reasoning, Output)];
    let report = [(Input, 800), (CacheRead, 300), (Output, 450), (Reasoning, 450)];
    let split = Quantities::split(report, &contained).unwrap();
    let expected = [(Input, 500), (CacheRead, 300), (Reasoning, 450)];
    assert_eq!(split, quantities(&expected));
    assert_eq!(split.input_tokens(), 800);
    assert_eq!(
        Quantities::split([(Input, 1), (CacheRead, 2)], &contained),
        Err(QuantitiesError::PartExceedsWhole { part: CacheRead, whole: Input })
    );
    assert_eq!(Quantities::from_counts([(Input, -1)]), Err(QuantitiesError::Negative { class: Input }));
}

#[test]
fn a_price_is_found_by_exact_name_or_alias_in_its_latest_version() {
    let begin = testkit::instant();
    let day = Duration::DAY;
    let version = |id, model: &str, min_context, valid_from: OffsetDateTime, is_retired| Price {
        id,
        key: key("openai", model),
        min_context,
        valid_from,
        is_retired,
        rates: BTreeMap::new(),
    };
    let book = PriceBook::new(
        [
            version(1, "gpt-4", 0, begin, false),
            version(2, "gpt-4", 0, begin + day, false),
            version(3, "gpt-4", 200_000, begin + day, false),
            version(4, "gpt-4", 200_000, begin + 2 * day, true),
            version(5, "old", 0, begin, false),
            version(6, "old", 0, begin + day, true),
        ],
        [(("openai".to_owned(), "gpt-4-latest".to_owned()), ("openai".to_owned(), "gpt-4".to_owned()))],
    );
    let found = |model: &str, input, at| book.find(&key("openai", model), input, at).map(|price| price.id);
    assert_eq!(found("gpt-4", 10, begin - Duration::microseconds(1)), None);
    assert_eq!(found("gpt-4", 10, begin), Some(1));
    assert_eq!(found("gpt-4", 10, begin + day), Some(2));
    assert_eq!(found("gpt-4", 200_000, begin), Some(1), "its step has not begun");
    assert_eq!(found("gpt-4", 199_999, begin + day), Some(2));
    assert_eq!(found("gpt-4", 200_000, begin + day), Some(3));
    assert_eq!(found("gpt-4", 200_000, begin + 2 * day), None, "a retired step");
    assert_eq!(found("gpt-4-latest", 10, begin + day), Some(2));
    assert_eq!(found("gpt-4-turbo", 10, begin + day), None, "no guess by prefix");
    assert_eq!(found("old", 1, begin), Some(5));
    assert_eq!(found("old", 1, begin + day), None);
    let tier = Key { service_tier: "batch".to_owned(), ..key("openai", "gpt-4") };
    assert_eq!(book.find(&tier, 10, begin), None, "another tier has its own price");
}

#[test]
fn an_exact_provider_wins_over_none_and_both_over_an_alias() {
    let begin = testkit::instant();
    let version = |id, provider: &str, model: &str, hours, is_retired| Price {
        id,
        key: key(provider, model),
        min_context: 0,
        valid_from: begin + Duration::hours(hours),
        is_retired,
        rates: BTreeMap::new(),
    };
    let name = |provider: &str, model: &str| (provider.to_owned(), model.to_owned());
    let book = PriceBook::new(
        [
            version(1, "", "m", 0, false),
            version(2, "azure", "m", 2, false),
            version(3, "azure", "m", 4, true),
            version(4, "openai", "target", 0, false),
        ],
        [(name("azure", "m"), name("openai", "target")), (name("", "short"), name("openai", "target"))],
    );
    let found = |provider: &str, model: &str, hours| {
        let price = book.find(&key(provider, model), 10, begin + Duration::hours(hours));
        price.map(|price| price.id)
    };
    assert_eq!(found("azure", "m", 1), Some(1), "its own price has not begun");
    assert_eq!(found("azure", "m", 2), Some(2));
    assert_eq!(found("azure", "m", 4), None, "what was retired falls back to nothing");
    assert_eq!(found("other", "m", 2), Some(1));
    assert_eq!(found("", "m", 2), Some(1));
    assert_eq!(found("azure", "m", -1), None, "no price and no alias has begun");
    assert_eq!(found("", "short", 0), Some(4));
    assert_eq!(found("openai", "short", 0), None, "an alias is of one provider");
    assert_eq!(found("", "target", 0), None);
    let batch = Key { service_tier: "batch".to_owned(), ..key("other", "m") };
    assert_eq!(book.find(&batch, 10, begin), None);
}

#[test]
fn a_charge_is_explained_term_by_term() {
    // The documented example: 1500 credits a million tokens in, 4500 out.
    let price = price([
        (TokenClass::Input, 1_500_000_000, 30_000_000),
        (TokenClass::Output, 4_500_000_000, 60_000_000),
    ]);
    let used = quantities(&[(TokenClass::Output, 450), (TokenClass::Input, 800)]);
    let shown: Vec<_> = terms(&price, &used)
        .unwrap()
        .into_iter()
        .map(|term| {
            let rate = Rate::text(term.rate.charge_pico, Per::Million);
            (term.class.as_str(), term.quantity, rate, term.credits.to_string(), term.cost.to_string())
        })
        .collect();
    let text = ToOwned::to_owned;
    assert_eq!(
        shown,
        [
            ("input", 800, text("1500.0"), text("1.2"), text("0.024")),
            ("output", 450, text("4500.0"), text("2.025"), text("0.027")),
        ]
    );
    let class = TokenClass::Image;
    assert_eq!(terms(&price, &quantities(&[(class, 1)])), Err(RatingError::ClassNotPriced { class }));
}

#[test]
fn rates_are_whole_pico_for_one_unit() {
    for (literal, per, pico) in [
        ("1500.0", Per::Million, Ok(1_500_000_000)),
        ("1.5", Per::Thousand, Ok(1_500_000_000)),
        ("0.01", Per::One, Ok(10_000_000_000)),
        ("0.000001", Per::Million, Ok(1)),
        ("0.0000001", Per::Million, Err(AmountError::TooPrecise(6))),
        ("0.0000000001", Per::Thousand, Err(AmountError::TooPrecise(9))),
        ("0.0000000000001", Per::One, Err(AmountError::TooPrecise(12))),
        ("-1", Per::One, Err(AmountError::Negative)),
        ("1000000", Per::One, Ok(Rate::PICO_MAX)),
        ("1000000.000001", Per::One, Err(AmountError::TooLarge)),
        ("1e12", Per::Million, Ok(Rate::PICO_MAX)),
        ("1000000000000.1", Per::Million, Err(AmountError::TooLarge)),
        ("99999999999999999999", Per::Million, Err(AmountError::TooLarge)),
        ("{}", Per::One, Err(AmountError::NotANumber)),
    ] {
        assert_eq!(Rate::pico_from_json(literal, per), pico, "{literal} {per:?}");
    }
    assert_eq!(Rate::text(1, Per::Million), "0.000001");
    assert_eq!(Rate::text(10_000_000_000, TokenClass::Request.per()), "0.01");
    assert_eq!(Rate::text(Rate::PICO_MAX, TokenClass::Input.per()), "1000000000000.0");
}

fn used() -> impl Strategy<Value = Vec<(TokenClass, i64, i64, i64)>> {
    let classes: Vec<_> = TokenClass::all().collect();
    let one = (0..=2_000_000_i64, 0..=500_000_000_i64, 0..=500_000_000_i64);
    prop::collection::vec(one, classes.len()).prop_map(move |counts| {
        let with = classes.iter().zip(counts);
        with.map(|(class, (count, charge, cost))| (*class, count, charge, cost)).collect()
    })
}

proptest! {
    /// U5: the bound of rounding, whatever the order, and the same amount when it is computed again.
    #[test]
    fn a_charge_is_less_than_one_micro_credit_above_the_exact_sum(used in used()) {
        let price = price(used.iter().map(|(class, _, charge, cost)| (*class, *charge, *cost)));
        let counts: Vec<_> = used.iter().map(|(class, count, ..)| (*class, *count)).collect();
        let backwards: Vec<_> = counts.iter().rev().copied().collect();
        let rated = rate(&price, &quantities(&counts)).unwrap();
        prop_assert_eq!(rated, rate(&price, &quantities(&backwards)).unwrap());
        let exact = |pico: fn(&(TokenClass, i64, i64, i64)) -> i64| -> i128 {
            used.iter().map(|one| i128::from(one.1) * i128::from(pico(one))).sum()
        };
        let (charge, cost) = (exact(|one| one.2), exact(|one| one.3));
        let explained = terms(&price, &quantities(&counts)).unwrap();
        prop_assert_eq!(explained.iter().map(|term| term.credits.0).sum::<i128>(), charge);
        prop_assert_eq!(explained.iter().map(|term| term.cost.0).sum::<i128>(), cost);
        let Rated { charge: charged, cost: costs } = rated;
        let over = i128::from(charged.micro()) * 1_000_000 - charge;
        prop_assert!((0..1_000_000).contains(&over));
        prop_assert_eq!(charged > Credits::ZERO, charge > 0);
        let over = i128::from(costs.nano()) * 1_000 - cost;
        prop_assert!((0..1_000).contains(&over));
    }

    #[test]
    fn every_rate_survives_being_written(pico in 0..=Rate::PICO_MAX, place in 0..3_usize) {
        let per = [Per::One, Per::Thousand, Per::Million][place];
        prop_assert_eq!(Rate::pico_from_json(&Rate::text(pico, per), per), Ok(pico));
    }

    #[test]
    fn every_class_is_known_by_its_name(place in 0..12_usize) {
        let class = TokenClass::all().nth(place).unwrap();
        prop_assert_eq!(class.as_str().parse(), Ok(class));
    }
}
