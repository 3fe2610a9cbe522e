//! `gateway check-config`: what counts, and what is wrong.

use super::{failure::Failure, output, prepare::prepare};
use crate::config::{DatabaseSource, Effective, Loaded, Origin, Purpose};

/// Prints one line a variable, or fails with every problem; then with that of the data folder. Starts nothing and writes no
/// file.
pub(super) fn run() -> Result<(), Failure> {
    let (loaded, _account) = prepare(Purpose::Serving)?;
    if let DatabaseSource::Embedded { .. } = loaded.config.database.source {
        local_postgres::check_data_dir(&loaded.config.data_dir).map_err(Failure::DataDir)?;
    }
    output::print(&table(&loaded)).map_err(Failure::Output)
}

fn table(loaded: &Loaded) -> String {
    let width = loaded.values.iter().map(|value| value.name.len()).max().unwrap_or(0);
    let mut lines: Vec<String> = loaded.values.iter().map(|value| line(value, width)).collect();
    lines.extend(loaded.notices.iter().map(|notice| format!("note: {notice}")));
    lines.join("\n")
}

fn line(value: &Effective, width: usize) -> String {
    let Effective { name, text, origin } = value;
    let text = text.as_ref().map(|text| text.replace('\n', "\\n"));
    match (text, origin) {
        (Some(text), Origin::Set) => format!("{name:width$}  {text}"),
        (Some(text), Origin::Default) => format!("{name:width$}  {text}  (default)"),
        (None, _) => format!("{name:width$}  (not set)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn values_are_shown_with_their_origin_and_secrets_are_not() {
        let lookup = |name: &str| match name {
            "PORT" => Some("9000".to_owned()),
            "METRICS_TOKEN" => Some("hunter2".to_owned()),
            "REDIS_URL" => Some("redis://:hunter2@localhost".to_owned()),
            "CHAT_SYSTEM_PROMPT" => Some("Be brief.\nBe kind.".to_owned()),
            "STRIPE_API_BASE" => Some("https://stripe.example.com".to_owned()),
            _ => None,
        };
        let loaded = config::load(&lookup, Purpose::Serving);
        let text = table(&loaded.unwrap());
        assert!(!text.contains("hunter2"), "{text}");
        let line = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("PORT"), "PORT 9000");
        assert_eq!(line("CHAT_SYSTEM_PROMPT"), "CHAT_SYSTEM_PROMPT Be brief.\\nBe kind.");
        assert_eq!(line("HOST"), "HOST 127.0.0.1 (default)");
        assert_eq!(line("METRICS_TOKEN"), "METRICS_TOKEN (hidden)");
        assert_eq!(line("DATABASE_URL"), "DATABASE_URL (not set)");
        assert_eq!(line("REDIS_URL"), "REDIS_URL localhost:6379 (database 0)");
        assert!(line("note:").contains("STRIPE_API_BASE is set"));
    }
}
