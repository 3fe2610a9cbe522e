//! The prices that the service brings along: `seeds/prices.csv` and `seeds/aliases.csv`.
//!
//! Both have a line of names and then one entry a line, in the order of their keys, without quotes. Prices are US dollars for
//! a million tokens; an empty field is an unknown rate. What a model thinks costs what it shows: every provider in the table
//! bills it so.

use std::collections::BTreeMap;

use kernel::Credits;

use crate::{
    NewPrice, Offer,
    rating::{Key, Per, Rate, TokenClass},
};

const PRICES: &str = include_str!("../../seeds/prices.csv");
const ALIASES: &str = include_str!("../../seeds/aliases.csv");

/// Everything that is brought along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seeds {
    pub(crate) prices: Vec<NewPrice>,
    pub(crate) aliases: Vec<Alias>,
}

/// Another name of a model; pairs of provider and model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alias {
    pub(crate) name: (String, String),
    pub(crate) meant: (String, String),
    pub(crate) source: String,
}

/// A line that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{entry}: {problem}")]
pub(crate) struct SeedFault {
    entry: String,
    problem: &'static str,
}

impl Seeds {
    /// The prices and aliases of this version, where a dollar of the provider costs the user `credits_per_usd`; rates are
    /// rounded up to whole pico-credits.
    pub(crate) fn read(credits_per_usd: Credits) -> Result<Self, SeedFault> {
        let mut prices = Vec::new();
        for line in PRICES.lines().skip(1) {
            let price = price(line, credits_per_usd);
            prices.push(price.map_err(|problem| fault(line, problem))?);
        }
        let mut aliases = Vec::new();
        for line in ALIASES.lines().skip(1) {
            aliases.push(alias(line).ok_or_else(|| fault(line, "not the fields of an alias"))?);
        }
        let nameless = nameless(&prices, &aliases);
        aliases.extend(nameless);
        Ok(Self { prices, aliases })
    }
}

/// Every name in the table belongs to one provider, so a record that names none means that one.
fn nameless(prices: &[NewPrice], aliases: &[Alias]) -> Vec<Alias> {
    let models = prices.iter().map(|price| {
        let key = (price.key.provider.clone(), price.key.model.clone());
        (key.1.clone(), key)
    });
    let others = aliases.iter().map(|alias| (alias.name.1.clone(), alias.meant.clone()));
    let all: BTreeMap<String, (String, String)> = models.chain(others).collect();
    let alias = |(model, meant): (String, (String, String))| Alias {
        name: (String::new(), model),
        meant,
        source: "the only provider of this name among the prices brought along".to_owned(),
    };
    all.into_iter().map(alias).collect()
}

fn alias(line: &str) -> Option<Alias> {
    let fields: Vec<&str> = line.split(',').collect();
    let [provider, model, to_model, source] = fields.as_slice() else {
        return None;
    };
    Some(Alias {
        name: ((*provider).to_owned(), (*model).to_owned()),
        meant: ((*provider).to_owned(), (*to_model).to_owned()),
        source: (*source).to_owned(),
    })
}

fn price(line: &str, credits_per_usd: Credits) -> Result<NewPrice, &'static str> {
    use TokenClass::{AudioIn, CacheRead, CacheWrite1h, CacheWrite5m, Input, Output, Reasoning};
    let fields: Vec<&str> = line.split(',').collect();
    let [
        provider,
        model,
        min_context,
        input,
        cache_read,
        write_5m,
        write_1h,
        output,
        audio_in,
        source,
        as_of,
    ] = fields.as_slice()
    else {
        return Err("not the fields of a price");
    };
    let mut rates = BTreeMap::new();
    for (class, usd) in [
        (Input, input),
        (CacheRead, cache_read),
        (CacheWrite5m, write_5m),
        (CacheWrite1h, write_1h),
        (Output, output),
        (Reasoning, output),
        (AudioIn, audio_in),
    ] {
        if !usd.is_empty() {
            rates.insert(class, rate(usd, credits_per_usd)?);
        }
    }
    Ok(NewPrice {
        key: Key {
            provider: (*provider).to_owned(),
            model: (*model).to_owned(),
            service_tier: String::new(),
        },
        min_context: min_context.parse().map_err(|_| "min_context is not a number")?,
        valid_from: None,
        offer: Offer::Rates(rates),
        source: format!("{source} as of {as_of}"),
    })
}

fn rate(usd: &str, credits_per_usd: Credits) -> Result<Rate, &'static str> {
    let cost_pico = Rate::pico_from_json(usd, Per::Million).map_err(|_| "a price is not a usable number")?;
    let one = i128::from(Credits::from_micro(1_000_000).micro());
    let charge = i128::from(cost_pico)
        .saturating_mul(credits_per_usd.micro().into())
        .saturating_add(one.saturating_sub(1))
        .checked_div(one);
    let charge_pico = charge.and_then(|charge| i64::try_from(charge).ok());
    match charge_pico {
        Some(charge_pico) if charge_pico > Rate::PICO_MAX => Err("a rate is too large"),
        Some(charge_pico) if charge_pico > 0 && cost_pico > 0 => Ok(Rate { charge_pico, cost_pico }),
        Some(_) => Err("a price of zero is a mistake"),
        None => Err("a rate is too large"),
    }
}

fn fault(line: &str, problem: &'static str) -> SeedFault {
    SeedFault { entry: line.split(',').take(3).collect::<Vec<_>>().join(","), problem }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use time::{Date, macros::format_description};

    use super::*;

    fn seeds() -> Seeds {
        Seeds::read(Credits::from_micro(500_000_000)).unwrap()
    }

    fn source_and_date(line: &str) -> (&str, &str) {
        let mut fields = line.rsplit(',');
        let date = fields.next().unwrap();
        (fields.next().unwrap(), date)
    }

    #[test]
    fn every_price_has_a_source_a_date_and_its_place_in_the_order() {
        let mut before = None;
        for line in PRICES.lines().skip(1) {
            let price = price(line, Credits::from_micro(1_000_000)).unwrap();
            let (source, date) = source_and_date(line);
            assert!(source.starts_with("https://"), "{line}");
            Date::parse(date, format_description!("[year]-[month]-[day]")).unwrap();
            let place = (price.key.clone(), price.min_context);
            assert!(before.as_ref().is_none_or(|before| *before < place), "{line}");
            before = Some(place);
            let Offer::Rates(rates) = price.offer else { panic!("{line}") };
            assert!(rates.contains_key(&TokenClass::Input), "{line}");
            // What is read from a cache costs less than what is not, what is written there no less.
            let usd = |class| rates.get(&class).map(|rate: &Rate| rate.cost_pico);
            let input = usd(TokenClass::Input);
            assert!(usd(TokenClass::CacheRead).is_none_or(|read| Some(read) < input), "{line}");
            assert!(usd(TokenClass::CacheWrite5m).is_none_or(|write| Some(write) >= input), "{line}");
            assert!(usd(TokenClass::Output).is_none_or(|output| Some(output) >= input), "{line}");
        }
    }

    #[test]
    fn every_step_belongs_to_a_model_that_has_a_first_one_and_costs_more() {
        let seeds = seeds();
        let input = |price: &NewPrice| match &price.offer {
            Offer::Rates(rates) => rates[&TokenClass::Input].cost_pico,
            Offer::Retired => 0,
        };
        for price in seeds.prices.iter().filter(|price| price.min_context > 0) {
            let first = seeds.prices.iter().find(|other| other.key == price.key && other.min_context == 0);
            assert!(input(first.unwrap()) < input(price), "{price:?}");
        }
    }

    #[test]
    fn aliases_lead_to_prices_and_have_none_themselves() {
        let seeds = seeds();
        let names: BTreeSet<_> =
            seeds.prices.iter().map(|price| (price.key.provider.clone(), price.key.model.clone())).collect();
        let models: BTreeSet<_> = names.iter().map(|(_, model)| model).collect();
        assert_eq!(models.len(), names.len(), "two providers have a model of the same name");
        let mut known = BTreeSet::new();
        for alias in &seeds.aliases {
            assert!(names.contains(&alias.meant), "{alias:?} leads nowhere");
            assert!(!names.contains(&alias.name), "{alias:?} has a price");
            assert!(known.insert(&alias.name), "{alias:?} comes twice");
        }
        assert!(known.contains(&(String::new(), "gpt-4o".to_owned())));
        assert!(known.contains(&(String::new(), "gpt-4o-2024-08-06".to_owned())));
    }

    #[test]
    fn a_dollar_is_worth_so_many_credits_rounded_up_to_a_pico_credit() {
        let per = |micro| rate("0.075", Credits::from_micro(micro)).map(|rate| rate.charge_pico);
        assert_eq!(per(500_000_000), Ok(37_500_000));
        assert_eq!(per(1), Ok(1), "0.075 pico-credits, rounded up");
        assert_eq!(per(0), Err("a price of zero is a mistake"));
        assert_eq!(rate("0", Credits::MAX), Err("a price of zero is a mistake"));
        assert_eq!(rate("2000", Credits::MAX), Err("a rate is too large"));
        assert_eq!(rate("0.0000001", Credits::MAX), Err("a price is not a usable number"));
        let fault = |line| price(line, Credits::MAX).unwrap_err();
        assert_eq!(fault("openai,gpt-4o,0"), "not the fields of a price");
        assert_eq!(fault("openai,gpt-4o,x,1,,,,1,,s,d"), "min_context is not a number");
    }
}
