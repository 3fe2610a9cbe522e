//! The language model.

use std::time::Duration;

use chat::OpenAi;
use kernel::Credits;
use secrecy::ExposeSecret as _;

use super::{LONG, config, problems, production, read};

const URL: (&str, &str) = ("CHAT_BASE_URL", "https://models.example.com/v1/");
const MODEL: (&str, &str) = ("CHAT_MODEL", "qwen/qwen3:8b");

#[test]
fn there_is_no_model_unless_it_is_configured() {
    assert!(config(&[]).chat.is_none());
    assert!(config(&[("CHAT_API_KEY", "k"), ("CHAT_MAX_TOKENS", "7")]).chat.is_none());
}

#[test]
fn address_and_name_of_the_model_suffice() {
    let chat = config(&production(&[URL, MODEL])).chat.unwrap();
    assert_eq!((chat.base_url.as_str(), chat.model.as_str()), (URL.1, MODEL.1));
    assert!(chat.api_key.is_none());
    assert_eq!(chat.timeout, Duration::from_secs(60));
    assert_eq!((chat.system_prompt.as_ref(), chat.max_tokens, chat.history), (None, 1024, 50));
    assert_eq!(chat.credits_per_token, Credits::from_micro(1_000_000));
    assert!(OpenAi::new(chat.upstream()).is_ok());
}

#[test]
fn given_values_of_the_model_are_taken() {
    let chat = config(&[
        URL,
        MODEL,
        ("CHAT_API_KEY", "sk-1"),
        ("CHAT_SYSTEM_PROMPT", "Be brief.\\nBe kind.\r\n\tAlways, 永远。"),
        ("CHAT_MAX_TOKENS", "131072"),
        ("CHAT_HISTORY_MESSAGES", "0"),
        ("CHAT_TIMEOUT_SECONDS", "600"),
        ("CHAT_CREDITS_PER_TOKEN", "0.000001"),
    ])
    .chat
    .unwrap();
    assert_eq!(chat.api_key.unwrap().expose_secret(), "sk-1");
    assert_eq!(chat.timeout, Duration::from_mins(10));
    assert_eq!(chat.system_prompt.as_deref(), Some("Be brief.\nBe kind.\n\tAlways, 永远。"));
    assert_eq!((chat.max_tokens, chat.history), (131_072, 0));
    assert_eq!(chat.credits_per_token, Credits::from_micro(1));
}

#[test]
fn half_a_model_is_a_mistake() {
    assert_eq!(problems(&[URL]), ["CHAT_MODEL: is not set, but CHAT_BASE_URL is"]);
    assert_eq!(problems(&[MODEL]), ["CHAT_BASE_URL: is not set, but CHAT_MODEL is"]);
}

#[test]
fn conversations_in_clear_are_pointed_out_outside_development() {
    let plain = [("CHAT_BASE_URL", "http://models.example.com/v1"), MODEL];
    assert!(config(&plain).chat.is_some());
    let readable = |pairs: &[_]| {
        let notices = read(&production(pairs)).unwrap().notices;
        notices.iter().any(|notice| notice.starts_with("CHAT_BASE_URL is plain http to another machine"))
    };
    assert!(readable(&plain) && read(&plain).unwrap().notices.is_empty());
    for url in ["http://localhost:8080/v1", "http://127.0.0.1:8000/v1", "http://[::1]/v1"] {
        assert!(!readable(&[("CHAT_BASE_URL", url), MODEL]), "{url}");
    }
}

#[test]
fn malformed_values_of_the_model_are_refused() {
    let long = "x".repeat(32_769);
    let whole = |name: &str, value: &str, range: &str| {
        (name.to_owned(), value.to_owned(), format!("{name}: {value:?} is not a whole number from {range}"))
    };
    let text =
        |name: &str, value: &str, line: &str| (name.to_owned(), value.to_owned(), format!("{name}: {line}"));
    for (name, value, line) in [
        whole("CHAT_MAX_TOKENS", "0", "1 to 131072"),
        whole("CHAT_MAX_TOKENS", "131073", "1 to 131072"),
        whole("CHAT_HISTORY_MESSAGES", "1001", "0 to 1000"),
        whole("CHAT_HISTORY_MESSAGES", "-1", "0 to 1000"),
        text("CHAT_TIMEOUT_SECONDS", "0", "\"0\" is not a number of seconds (1 to 3600)"),
        text("CHAT_CREDITS_PER_TOKEN", "0", "\"0\" is not an amount of credits above 0"),
        text("CHAT_API_KEY", "hunter2 x", "the value may hold visible ASCII characters only"),
        text("CHAT_SYSTEM_PROMPT", "a\u{7}", "\"a\\u{7}\" has control characters"),
        text("CHAT_SYSTEM_PROMPT", &long, &format!("\"{}...\" is longer than 32768 bytes", &long[..80])),
    ] {
        assert_eq!(problems(&[(&name, &value)]), [line]);
    }
    for (url, fault) in [
        ("localhost:8080", "is not an http or https URL"),
        ("https://me:pw@models.example.com/v1", "has a user name or password in it"),
        ("https://models.example.com/v1?a=b", "has a query or a fragment, and paths are appended to it"),
    ] {
        assert_eq!(problems(&[("CHAT_BASE_URL", url), MODEL]), [format!("CHAT_BASE_URL: {url:?} {fault}")]);
    }
    let line = problems(&[URL, ("CHAT_MODEL", "a b")]);
    assert_eq!(line, ["CHAT_MODEL: \"a b\" has white space in it"]);
}

#[test]
fn the_key_of_the_model_is_for_this_purpose_only() {
    let lines = problems(&production(&[URL, MODEL, ("CHAT_API_KEY", LONG)]));
    assert_eq!(
        lines,
        ["CHAT_API_KEY: is the same as SUPABASE_JWT_SECRET: use a secret for one purpose only"]
    );
}
