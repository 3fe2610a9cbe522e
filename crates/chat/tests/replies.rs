//! Texts and ends of replies, in every form that the protocol allows.

use chat::{ChatModel as _, Finish, FinishReason, Part, Transfer, UpstreamError};
use futures_util::StreamExt as _;
use testkit::{ChatScript, ChatServer};

use crate::upstream::{BOTH, answer, client, finished, play, request, stopped, text};

const TEXTS: [&str; 7] =
    ["Hé", "llo ", "你好，世界", "👩‍👩‍👧 e\u{301}", "\r\n\ndata: [DONE]\n\n", "\"\\ \u{2028}", " "];

#[tokio::test]
async fn texts_arrive_one_by_one_and_exactly() {
    let (parts, error) = play(ChatScript::reply(&TEXTS), Transfer::Streamed).await;
    let mut expected = vec![Part::Started];
    expected.extend(TEXTS.map(|text| Part::Text(text.to_owned())));
    expected.push(Part::Finished(stopped(10, 7)));
    assert_eq!((parts, error), (expected, None));

    let (parts, error) = play(ChatScript::reply(&TEXTS), Transfer::Whole).await;
    let expected = vec![Part::Started, Part::Text(TEXTS.concat()), Part::Finished(stopped(10, 7))];
    assert_eq!((parts, error), (expected, None));
}

#[tokio::test]
async fn form_and_pieces_of_a_stream_do_not_matter() {
    let reply = ChatScript::reply(&TEXTS);
    for script in [
        reply.clone().crlf(),
        reply.clone().comments(),
        reply.clone().in_pieces(1),
        reply.clone().crlf().comments().in_pieces(1),
        reply.clone().crlf().in_pieces(2),
        reply.clone().comments().in_pieces(7),
        reply.clone().in_pieces(100_000),
        ChatScript::new()
            .bytes("\u{feff}retry: 10\nid: 1\nunknown: x\nunknown\n\n")
            .texts(&TEXTS)
            .finish("stop")
            .usage(10, 7)
            .done(),
    ] {
        let form = format!("{script:?}");
        let (parts, error) = play(script, Transfer::Streamed).await;
        assert_eq!((text(&parts), finished(&parts), error), (TEXTS.concat(), stopped(10, 7), None), "{form}");
    }
}

#[tokio::test]
async fn events_with_other_line_ends_and_fields_are_read() {
    for body in [
        "data:{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\rdata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\r\rdata:[DONE]\r\r",
        "event: x\nid: 7\ndata: {\"choices\":\ndata: [{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n:\n\ndata:\n\ndata: [DONE] \n\n",
        "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}},{\"index\":0,\"delta\":{\"role\":null,\"content\":\"a\"},\"finish_reason\":\"stop\"}],\"error\":null}\n\ndata: [DONE]\n\n",
        "data: {\"choices\":[{\"message\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        "data: {\"choices\":[]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\",\"reasoning_content\":\"hm\"},\"finish_reason\":\"stop\"}]}\n\n",
    ] {
        let (parts, error) = play(answer("text/event-stream", body), Transfer::Streamed).await;
        let finish = Finish { reason: Some(FinishReason::Stop), usage: None };
        assert_eq!((text(&parts), error), ("a".to_owned(), None), "{body}");
        assert_eq!(finished(&parts), finish, "{body}");
    }
}

#[tokio::test]
async fn the_end_of_a_stream_needs_a_reason_or_a_mark() {
    let begun = ChatScript::new().text("a");
    let (parts, error) = play(begun.clone().finish("stop"), Transfer::Streamed).await;
    assert_eq!((finished(&parts).reason, error), (Some(FinishReason::Stop), None));
    let (parts, error) = play(begun.clone().done(), Transfer::Streamed).await;
    assert_eq!((finished(&parts).reason, error), (None, None));
    let (parts, error) = play(begun, Transfer::Streamed).await;
    assert_eq!((text(&parts), error), ("a".to_owned(), Some(UpstreamError::Broken)));
    // Nothing follows the mark.
    let (parts, error) =
        play(ChatScript::reply(&["a"]).text("b").bytes("nonsense"), Transfer::Streamed).await;
    assert_eq!((text(&parts), error), ("a".to_owned(), None));
}

#[tokio::test]
async fn each_reason_of_an_end_has_its_name() {
    for (word, reason) in [
        ("stop", FinishReason::Stop),
        ("length", FinishReason::Length),
        ("tool_calls", FinishReason::ToolCalls),
        ("function_call", FinishReason::ToolCalls),
        ("content_filter", FinishReason::ContentFilter),
        ("eos", FinishReason::Other),
    ] {
        for transfer in BOTH {
            let (parts, _) = play(ChatScript::new().text("a").finish(word).done(), transfer).await;
            assert_eq!(finished(&parts).reason, Some(reason), "{word}");
        }
    }
}

#[tokio::test]
async fn a_reply_may_have_no_text() {
    for transfer in BOTH {
        let (parts, error) = play(ChatScript::reply(&[]), transfer).await;
        assert_eq!((parts, error), (vec![Part::Started, Part::Finished(stopped(10, 0))], None));
    }
}

#[tokio::test]
async fn the_media_type_decides_and_not_the_request() {
    let object = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    let (parts, error) = play(answer("Application/JSON; charset=utf-8", object), Transfer::Streamed).await;
    assert_eq!((text(&parts), error), ("a".to_owned(), None));
    let events = format!("data: {object}\n\ndata: [DONE]\n\n");
    for media_type in ["text/event-stream", "text/plain", "\""] {
        let (parts, error) = play(answer(media_type, &events), Transfer::Whole).await;
        assert_eq!((text(&parts), error), ("a".to_owned(), None), "{media_type}");
    }
}

#[tokio::test]
async fn texts_can_be_stored() {
    for transfer in BOTH {
        let (parts, _) = play(ChatScript::reply(&["a\0b\u{1}"]), transfer).await;
        assert_eq!(text(&parts), "a\u{fffd}b\u{1}");
    }
}

#[tokio::test]
async fn the_start_precedes_the_first_text() {
    let server = ChatServer::start().await;
    server.answers([ChatScript::new().bytes(": queued\n\n").pause().text("a").finish("stop").done()]);
    let mut reply = client(&server).complete(request(Transfer::Streamed));
    assert_eq!(reply.next().await, Some(Ok(Part::Started)));
    server.release();
    assert_eq!(reply.next().await, Some(Ok(Part::Text("a".to_owned()))));
}
