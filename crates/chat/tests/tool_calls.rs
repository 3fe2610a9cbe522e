//! Calls of tools.

use chat::{FinishReason, Part, Transfer, UpstreamError};
use serde_json::{Value, json};
use testkit::ChatScript;

use crate::upstream::{BOTH, Outcome, finished, play, text};

fn calls(parts: &[Part]) -> Value {
    let found: Vec<&str> = parts
        .iter()
        .filter_map(|part| match part {
            Part::ToolCalls(calls) => Some(calls.as_json()),
            _ => None,
        })
        .collect();
    assert_eq!(found.len(), 1, "{parts:?}");
    serde_json::from_str(found[0]).unwrap()
}

async fn of_deltas(deltas: &[Value]) -> Outcome {
    let event = |delta: &Value| json!({"choices": [{"delta": {"tool_calls": [delta]}}]}).to_string();
    let script = deltas.iter().fold(ChatScript::new(), |script, delta| script.event(&event(delta)));
    play(script.finish("tool_calls").done(), Transfer::Streamed).await
}

#[tokio::test]
async fn calls_are_assembled_from_their_pieces() {
    let script = ChatScript::new()
        .text("Let me look. ")
        .tool_call(0, "call_1", "weather", &["{\"city\":", "\"北京\""])
        .tool_call(1, "call_2", "time", &["{", "}"])
        .tool_arguments(0, "}")
        .finish("tool_calls")
        .usage(10, 5)
        .done();
    let expected = json!([
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"北京\"}"}},
        {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]);
    let (parts, error) = play(script.clone().in_pieces(1), Transfer::Streamed).await;
    assert_eq!((calls(&parts), error), (expected.clone(), None));
    assert_eq!(
        (text(&parts), finished(&parts).reason),
        ("Let me look. ".to_owned(), Some(FinishReason::ToolCalls))
    );
    assert!(matches!(parts[parts.len() - 2], Part::ToolCalls(_)), "{parts:?}");

    let (parts, error) = play(script, Transfer::Whole).await;
    assert_eq!((calls(&parts), error), (expected, None));
}

#[tokio::test]
async fn calls_without_indexes_begin_with_an_id() {
    let (parts, error) = of_deltas(&[
        json!({"id": "a", "function": {"name": "f", "arguments": "{"}}),
        json!({"function": {"arguments": "}"}}),
        json!({"id": "b", "function": {"name": "g", "arguments": "{}"}}),
    ])
    .await;
    assert_eq!(error, None);
    let found = calls(&parts);
    assert_eq!(found[0]["function"]["arguments"], "{}");
    assert_eq!((&found[1]["id"], &found[1]["function"]["name"]), (&json!("b"), &json!("g")));
}

#[tokio::test]
async fn calls_come_in_the_order_of_their_indexes() {
    let (parts, _) = of_deltas(&[
        json!({"index": 4_000_000_000_u32, "id": "z", "function": {"name": "f"}}),
        json!({"index": 2, "id": "y", "function": {"name": "g", "arguments": "{}"}}),
    ])
    .await;
    let found = calls(&parts);
    assert_eq!((&found[0]["id"], &found[1]["id"]), (&json!("y"), &json!("z")));
}

#[tokio::test]
async fn calls_of_nothing_and_too_many_calls_are_refused() {
    let (_, error) = of_deltas(&[json!({"index": 0, "id": "a", "function": {"arguments": "{}"}})]).await;
    assert_eq!(error, Some(UpstreamError::Nonsense));
    let (_, error) = of_deltas(&[json!({"index": 0, "id": "a", "function": {"name": "f\0"}})]).await;
    assert_eq!(error, Some(UpstreamError::Nonsense));
    let many: Vec<Value> =
        (0..129).map(|index| json!({"index": index, "id": "a", "function": {"name": "f"}})).collect();
    assert_eq!(of_deltas(&many[..128]).await.1, None);
    assert_eq!(of_deltas(&many).await.1, Some(UpstreamError::TooLarge));
    let long = "x".repeat(100 * 1024);
    let long = [0, 1, 2]
        .map(|index| json!({"index": index, "id": "a", "function": {"name": "f", "arguments": long}}));
    assert_eq!(of_deltas(&long[..2]).await.1, None);
    assert_eq!(of_deltas(&long).await.1, Some(UpstreamError::TooLarge));
}

#[tokio::test]
async fn there_is_no_part_without_calls() {
    for transfer in BOTH {
        let (parts, _) = play(ChatScript::reply(&["a"]), transfer).await;
        assert_eq!(parts.len(), 3, "{parts:?}");
    }
}
