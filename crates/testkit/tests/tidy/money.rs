//! No float touches money (I10). The columns are looked at in `schema.rs`.

use crate::{
    rule::Rule,
    source::{Source, has_word, without_attributes},
    workspace::Workspace,
};

/// Crates in which every number may be money.
const KEEP_BOOKS: [&str; 5] = ["kernel", "credits", "usage", "billing", "flows"];
/// Parts of names that mean money.
pub const MONEY: [&str; 7] = ["amount", "price", "cost", "credit", "balance", "usd", "money"];

#[test]
fn i10_no_float_touches_money() {
    let rule = Rule {
        name: "I10",
        says: "money is kernel::Credits or kernel::Usd; no float touches an amount, a price or a cost",
        because: "0.1 + 0.2 is not 0.3 in floats, and a ledger that is off by a millionth does not balance",
    };
    let breaches: Vec<String> = Workspace::get().production().flat_map(floats_in).collect();
    rule.is_kept(&breaches);
}

fn floats_in(source: &Source) -> Vec<String> {
    let keeps_books = KEEP_BOOKS.iter().any(|name| source.path.starts_with(&format!("crates/{name}/")));
    // The documentation of the API calls an exact decimal a number; attributes state that, and in the examples of inputs.
    let code = without_examples(&without_attributes(&source.code));
    let mut breaches = Vec::new();
    for (line, code) in (1_usize..).zip(code.lines()) {
        let float = has_word(code, "f64") || has_word(code, "f32") || has_float_literal(code);
        if float && (keeps_books || means_money(code)) {
            breaches.push(format!("{}: {}", source.at(line), code.trim()));
        }
    }
    if keeps_books {
        let sql = source.literals.iter().filter(|literal| {
            let text = literal.text.to_lowercase();
            ["::float", "double precision", "::real", "::numeric("].iter().any(|cast| text.contains(cast))
        });
        breaches.extend(
            sql.map(|literal| format!("{}: a float or rounded number in SQL", source.at(literal.line))),
        );
    }
    breaches
}

/// The code without what stands in `example(..)` of a declared field.
fn without_examples(code: &str) -> String {
    let mut parts = code.split(", example(");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| kept + part.split_once(')').map_or(part, |(_, after)| after))
}

pub fn means_money(text: &str) -> bool {
    let text = text.to_lowercase();
    MONEY.iter().any(|word| text.contains(word))
}

/// Digits, a point, digits, with no name in front (that would be a field of a tuple, as in `pair.0.1`).
fn has_float_literal(code: &str) -> bool {
    let bytes = code.as_bytes();
    let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    code.match_indices('.').any(|(at, _)| {
        let start = code[..at].trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
        let in_name = start.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
        is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)) && !in_name
    })
}

#[test]
fn floats_near_money_are_found() {
    let found = |path: &str, text: &str| floats_in(&Source::new(path, text)).len();
    let credits = "crates/credits/src/core/burn.rs";
    assert_eq!(found(credits, "let share = part as f64;"), 1);
    assert_eq!(found(credits, "let share = part * 0.5;"), 1);
    assert_eq!(found(credits, "let first = pair.0.1; let x = a[1..2];"), 0);
    assert_eq!(found(credits, r#"pg::sql("SELECT sum(amount)::float8 AS total")"#), 1);
    let route = "bins/gateway/src/http/routes/credits/consume.rs";
    assert_eq!(found(route, "pub balance: f64,"), 1);
    assert_eq!(found(route, "#[schema(value_type = f64, example = 1.5)]\npub balance: Credits,"), 0);
    assert_eq!(found(route, "pub importance_score: f64,"), 0);
    assert_eq!(found(route, "amount: Credits = required(Body, credits()), example(25.5);"), 0);
    assert_eq!(found(route, "amount: Credits = required(Body, credits(0.5)), example(25.5);"), 1);
}
