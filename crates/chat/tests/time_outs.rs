//! Pauses of upstreams.

use std::time::{Duration, Instant};

use chat::{ChatModel as _, Finish, OpenAi, OpenAiSettings, Part, Transfer, UpstreamError};
use futures_util::StreamExt as _;
use testkit::{ChatScript, ChatServer};

use crate::upstream::{BOTH, finished, read, request, settings, stopped, text};

fn hasty(server: &ChatServer, timeout: Duration) -> OpenAi {
    OpenAi::new(OpenAiSettings { timeout, ..settings(&server.url()) }).unwrap()
}

#[tokio::test]
async fn silence_is_timed_out_wherever_it_begins() {
    let server = ChatServer::start().await;
    let model = hasty(&server, Duration::from_millis(300));
    for (count, (script, expected, transfer)) in [
        (ChatScript::silent(), "", Transfer::Streamed),
        (ChatScript::silent(), "", Transfer::Whole),
        (ChatScript::new().head().hang(), "", Transfer::Streamed),
        (ChatScript::new().text("a").hang(), "a", Transfer::Streamed),
        (ChatScript::new().text("a").bytes("data: {\"cho").hang(), "a", Transfer::Streamed),
        (ChatScript::new().text("a").finish("stop").hang(), "", Transfer::Whole),
    ]
    .into_iter()
    .enumerate()
    {
        server.answers([script]);
        let begun = Instant::now();
        let (parts, error) = read(&model, request(transfer)).await;
        assert_eq!((text(&parts).as_str(), error), (expected, Some(UpstreamError::TimedOut)), "{count}");
        assert!(begun.elapsed() >= Duration::from_millis(300));
        server.hung_up(count + 1).await;
    }
}

/// The text is whole. Only the usage is missing, if it is.
#[tokio::test]
async fn silence_after_the_reason_ends_the_reply() {
    let server = ChatServer::start().await;
    let model = hasty(&server, Duration::from_millis(300));
    let begun = ChatScript::new().text("a").finish("stop");
    server.answers([begun.clone().hang(), begun.usage(10, 1).hang()]);
    for usage in [None, stopped(10, 1).usage] {
        let (parts, error) = read(&model, request(Transfer::Streamed)).await;
        assert_eq!((text(&parts).as_str(), error), ("a", None));
        assert_eq!(finished(&parts), Finish { usage, ..stopped(0, 0) });
    }
}

#[tokio::test]
async fn a_slow_reply_may_take_longer_than_the_time_out() {
    let server = ChatServer::start().await;
    let (pace, timeout) = (Duration::from_millis(200), Duration::from_secs(2));
    let texts = ["a"; 12];
    server.answers([ChatScript::reply(&texts).every(pace)]);
    let begun = Instant::now();
    let (parts, error) = read(&hasty(&server, timeout), request(Transfer::Streamed)).await;
    assert_eq!((text(&parts), error), (texts.concat(), None));
    assert!(begun.elapsed() > timeout);
}

/// Comments count, too: some upstreams send nothing else while the model thinks.
#[tokio::test]
async fn every_byte_ends_a_pause() {
    let server = ChatServer::start().await;
    let timeout = Duration::from_secs(2);
    // An empty text has no event of its own, but takes its time.
    let script = (0..12).fold(ChatScript::new(), |script, _| script.text("").bytes(": thinking\n"));
    server.answers([script
        .bytes("\n")
        .text("a")
        .finish("stop")
        .usage(1, 1)
        .done()
        .every(Duration::from_millis(200))]);
    let begun = Instant::now();
    let (parts, error) = read(&hasty(&server, timeout), request(Transfer::Streamed)).await;
    assert_eq!((text(&parts), finished(&parts), error), ("a".to_owned(), stopped(1, 1), None));
    assert!(begun.elapsed() > timeout);
}

/// The time of the reader is not the upstream's.
#[tokio::test]
async fn a_slow_reader_is_not_a_slow_upstream() {
    let server = ChatServer::start().await;
    let timeout = Duration::from_millis(500);
    server.answers([ChatScript::new().text("a").pause().text("b").finish("stop").done()]);
    let mut reply = hasty(&server, timeout).complete(request(Transfer::Streamed));
    for expected in [Part::Started, Part::Text("a".to_owned())] {
        assert_eq!(reply.next().await, Some(Ok(expected)));
    }
    server.release();
    tokio::time::sleep(timeout * 2).await; // the reader is busy for longer than the time-out
    assert_eq!(reply.next().await, Some(Ok(Part::Text("b".to_owned()))));
    assert!(matches!(reply.next().await, Some(Ok(Part::Finished(_)))));
    assert_eq!(reply.next().await, None);
}

#[tokio::test]
async fn the_whole_answer_may_come_late() {
    let server = ChatServer::start().await;
    server.answers([ChatScript::new().pause().text("a").finish("stop").done()]);
    for transfer in BOTH {
        let model = hasty(&server, Duration::from_secs(30));
        let reply = tokio::spawn(async move { read(&model, request(transfer)).await });
        server.called(server.calls().len() + 1).await;
        server.release();
        let (parts, error) = reply.await.unwrap();
        assert_eq!((text(&parts), error), ("a".to_owned(), None));
    }
}
