//! The codes of errors and their catalogue say the same.

use crate::{rule::Rule, source::Source, workspace::Workspace};

/// The catalogue of this service, and the entries of every service.
const CATALOGUES: [&str; 2] = ["bins/gateway/src/http/catalogue.rs", "crates/web/src/catalogue.rs"];
/// Calls that make an error of an entry. A list of what a route may answer is none.
const MAKERS: [&str; 2] = ["new(&catalogue::", "unauthorized(&catalogue::"];

const RULE: Rule = Rule {
    name: "error codes",
    says: "every code of an error is in the catalogue, and every code of the catalogue is answered somewhere",
    because: "an unknown code is answered as a fault of ours (500), and clients handle what is documented",
};

#[test]
fn error_codes_and_their_catalogue_say_the_same() {
    let (catalogues, others): (Vec<_>, Vec<_>) =
        Workspace::get().production().partition(|source| CATALOGUES.contains(&source.path.as_str()));
    let entries = catalogues.into_iter().flat_map(entries).collect::<Vec<_>>();
    assert!(entries.len() > 30, "the catalogues are not read: {entries:?}");
    RULE.is_kept(&differences(&entries, &others));
}

/// Names and codes of a catalogue.
fn entries(catalogue: &Source) -> Vec<(&str, &str)> {
    let lines = catalogue.text.lines();
    lines.filter_map(|line| entry(line.trim())).collect()
}

/// `NAME = 404 "NameException", ...`
fn entry(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(" = ")?;
    let (status, rest) = rest.split_once(" \"")?;
    status.parse::<u16>().ok()?;
    Some((name, rest.split('"').next()?))
}

fn differences(entries: &[(&str, &str)], sources: &[&Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    for source in sources {
        for literal in source.literals.iter().filter(|literal| is_code(&literal.text)) {
            if !entries.iter().any(|(_, code)| *code == literal.text) {
                breaches.push(format!("{}: {} is in no catalogue", source.at(literal.line), literal.text));
            }
        }
    }
    for (name, code) in entries {
        let is_made = |source: &Source| {
            source.literals.iter().any(|literal| literal.text == *code)
                || MAKERS.iter().any(|maker| source.code.contains(&format!("{maker}{name})")))
        };
        if !sources.iter().any(|source| is_made(source)) {
            breaches.push(format!("{code} is never answered"));
        }
    }
    breaches
}

fn is_code(text: &str) -> bool {
    text.len() > "Exception".len()
        && text.ends_with("Exception")
        && text.chars().all(|letter| letter.is_ascii_alphabetic())
}

#[test]
fn codes_without_an_entry_and_entries_that_are_not_answered_are_found() {
    let catalogue = Source::new(
        CATALOGUES[0],
        "x! {\n    GONE = 404 \"GoneException\", \"Gone\";\n    LOST = 404 \"LostException\";\n}",
    );
    let entries = entries(&catalogue);
    assert_eq!(entries, [("GONE", "GoneException"), ("LOST", "LostException")]);
    let check = |text: &str| differences(&entries, &[&Source::new("crates/a/src/lib.rs", text)]);
    assert_eq!(check("fn a() { e(\"GoneException\"); E::new(&catalogue::LOST) }"), [""; 0]);
    let undocumented =
        check("fn a() { e(\"GoneException\"); e(\"NewException\"); E::unauthorized(&catalogue::LOST) }");
    assert_eq!(undocumented, ["crates/a/src/lib.rs:1: NewException is in no catalogue"]);
    let listed = check("fn a() { e(\"GoneException\"); errors(&[&catalogue::LOST]) }");
    assert_eq!(listed, ["LostException is never answered"]);
}
