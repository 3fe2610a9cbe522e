//! Clock, randomness and environment come in as parameters (I6).

use crate::{
    rule::Rule,
    source::{Source, has_word},
    workspace::Workspace,
};

const READS: [&str; 17] = [
    "OffsetDateTime::now_utc",
    "OffsetDateTime::now_local",
    "SystemTime::now",
    "Uuid::new_v4",
    "Uuid::now_v7",
    "rand",
    "getrandom",
    "OsRng",
    "thread_rng",
    "SystemRandom",
    "env::var",
    "env::var_os",
    "env::vars",
    "env::vars_os",
    "env::set_var",
    "option_env",
    "dotenvy",
];

/// Where these are read on behalf of all others.
const READERS: [&str; 4] = [
    "crates/kernel/src/clock.rs",
    "crates/kernel/src/ids.rs",
    "bins/gateway/src/config.rs",
    "bins/gateway/src/config/",
];

#[test]
fn i6_clock_chance_and_environment_are_parameters() {
    let rule = Rule {
        name: "I6",
        says: "clock, randomness and environment are read only in kernel::{clock, ids} and the gateway's configuration",
        because: "a test can then stop time, repeat ids and run beside others; take a kernel::Clock, kernel::Ids or a \
            setting as parameter",
    };
    let breaches: Vec<String> = Workspace::get().production().flat_map(reads_in).collect();
    rule.is_kept(&breaches);
}

#[test]
fn i6_clippy_refuses_the_same_in_tests() {
    let rule = Rule {
        name: "I6",
        says: "clippy.toml disallows the raw clock, ids, randomness and environment",
        because: "this test looks at src/ only; clippy sees every use, with its type",
    };
    rule.is_kept(&missing_in(&Workspace::get().read("clippy.toml").unwrap()));
}

fn reads_in(source: &Source) -> Vec<String> {
    // The harness has no configuration to be given these by.
    let is_reader = source.path.starts_with("crates/testkit/")
        || READERS.iter().any(|reader| {
            source.path == *reader || (reader.ends_with('/') && source.path.starts_with(reader))
        });
    if is_reader {
        return Vec::new();
    }
    let mut breaches = Vec::new();
    for (line, code) in source.lines() {
        for word in READS.iter().filter(|word| has_word(code, word)) {
            breaches.push(format!("{} reads {word}", source.at(line)));
        }
    }
    breaches
}

fn missing_in(clippy: &str) -> Vec<String> {
    [
        "time::OffsetDateTime::now_utc",
        "std::time::SystemTime::now",
        "uuid::Uuid::new_v4",
        "uuid::Uuid::now_v7",
        "rand::rng",
        "rand::random",
        "std::env::var",
        "std::env::var_os",
        "std::env::vars",
    ]
    .iter()
    .filter(|path| !clippy.contains(&format!("\"{path}\"")))
    .map(|path| format!("clippy.toml does not name {path}"))
    .collect()
}

#[test]
fn raw_readings_are_found() {
    let found = |path: &str, text: &str| reads_in(&Source::new(path, text)).len();
    let service = "crates/usage/src/service.rs";
    for text in [
        "let now = OffsetDateTime::now_utc();",
        "let now = std::time::SystemTime::now();",
        "let id = Uuid::new_v4();",
        "use rand::Rng;",
        "let port = std::env::var(\"PORT\");",
    ] {
        assert_eq!(found(service, text), 1, "{text}");
        assert_eq!(found("bins/gateway/src/config/reader.rs", text), 0);
    }
    assert_eq!(found(service, "let now = clock.now(); let operand = 1;"), 0);
    assert_eq!(found("crates/kernel/src/clock.rs", "OffsetDateTime::now_utc()"), 0);
    assert_eq!(found("crates/kernel/src/amount.rs", "OffsetDateTime::now_utc()"), 1);
    assert_eq!(missing_in("{ path = \"rand::rng\" }").len(), 8);
}
