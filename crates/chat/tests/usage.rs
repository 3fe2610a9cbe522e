//! Counts of tokens, which decide about money.

use chat::{Part, TokenUsage, Transfer};
use testkit::ChatScript;

use crate::upstream::{BOTH, answer, finished, play};

fn usage(parts: &[Part]) -> Option<TokenUsage> {
    finished(parts).usage
}

async fn of_object(usage_json: &str) -> Option<TokenUsage> {
    let whole = format!(
        r#"{{"choices":[{{"message":{{"content":"a"}},"finish_reason":"stop"}}],"usage":{usage_json}}}"#
    );
    let (parts, error) = play(answer("application/json", &whole), Transfer::Whole).await;
    assert_eq!(error, None, "{usage_json}");
    let event = format!(r#"{{"choices":[],"usage":{usage_json}}}"#);
    let script = ChatScript::new().text("a").finish("stop").event(&event).done();
    let (streamed, error) = play(script, Transfer::Streamed).await;
    assert_eq!((usage(&streamed), error), (usage(&parts), None), "{usage_json}");
    usage(&parts)
}

#[tokio::test]
async fn usage_may_be_missing() {
    for transfer in BOTH {
        let (parts, error) = play(ChatScript::new().text("a").finish("stop").done(), transfer).await;
        assert_eq!((usage(&parts), error), (None, None));
    }
}

#[tokio::test]
async fn usage_may_come_early_or_often_and_the_last_one_counts() {
    let counts = |completion: u32| {
        format!(
            r#"{{"choices":[{{"delta":{{"content":"a"}}}}],"usage":{{"prompt_tokens":9,"completion_tokens":{completion}}}}}"#
        )
    };
    let script = ChatScript::new().event(&counts(1)).event(&counts(2)).text("b").finish("stop").done();
    let (parts, _) = play(script, Transfer::Streamed).await;
    let expected = TokenUsage { prompt_tokens: 9, cached_prompt_tokens: 0, completion_tokens: 2 };
    assert_eq!(usage(&parts), Some(expected));
}

#[tokio::test]
async fn cached_tokens_are_a_part_of_the_prompt() {
    for (cached, expected) in [("3", 3), ("9", 9), ("10", 9), ("-1", 0), ("null", 0), ("\"x\"", 0)] {
        let json = format!(
            r#"{{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{{"cached_tokens":{cached}}}}}"#
        );
        let found = of_object(&json).await;
        assert_eq!(
            found,
            Some(TokenUsage { prompt_tokens: 9, cached_prompt_tokens: expected, completion_tokens: 2 })
        );
    }
}

#[tokio::test]
async fn strange_counts_are_no_usage_and_no_failure() {
    for json in [
        "null",
        "{}",
        "[]",
        "7",
        r#"{"prompt_tokens":9}"#,
        r#"{"completion_tokens":9}"#,
        r#"{"prompt_tokens":-1,"completion_tokens":2}"#,
        r#"{"prompt_tokens":9,"completion_tokens":-2}"#,
        r#"{"prompt_tokens":9,"completion_tokens":2.5}"#,
        r#"{"prompt_tokens":9,"completion_tokens":4294967296}"#,
        r#"{"prompt_tokens":9,"completion_tokens":1e300}"#,
        r#"{"prompt_tokens":"9","completion_tokens":2}"#,
    ] {
        assert_eq!(of_object(json).await, None, "{json}");
    }
}
