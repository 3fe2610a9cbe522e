//! The end of a reply by its reader.

use chat::{ChatModel as _, Part, Transfer};
use futures_util::StreamExt as _;
use testkit::{ChatScript, ChatServer};

use crate::upstream::{BOTH, client, read, request, text};

#[tokio::test]
async fn nothing_is_sent_before_the_stream_is_polled() {
    let server = ChatServer::start().await;
    let model = client(&server);
    drop(model.complete(request(Transfer::Streamed)));
    let (parts, _) = read(&model, request(Transfer::Streamed)).await;
    assert_eq!((text(&parts), server.calls().len()), ("Hello, world".to_owned(), 1));
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let server = ChatServer::start().await;
    let model = client(&server);
    // Between two texts.
    server.answers([ChatScript::new().texts(&["a", "b"]).hang()]);
    let mut reply = model.complete(request(Transfer::Streamed));
    assert_eq!(reply.next().await, Some(Ok(Part::Started)));
    assert_eq!(reply.next().await, Some(Ok(Part::Text("a".to_owned()))));
    drop(reply);
    server.hung_up(1).await;

    // Before the head.
    server.answers([ChatScript::silent()]);
    for (count, transfer) in BOTH.into_iter().enumerate() {
        let mut reply = model.complete(request(transfer));
        tokio::select! {
            part = reply.next() => panic!("{part:?}"),
            () = server.called(2 + count) => {}
        }
        drop(reply);
        server.hung_up(2 + count).await;
    }
}

#[tokio::test]
async fn an_error_closes_the_connection_though_the_stream_is_kept() {
    let server = ChatServer::start().await;
    server.answers([ChatScript::new().fail("x").hang()]);
    let mut reply = client(&server).complete(request(Transfer::Streamed));
    while !matches!(reply.next().await, Some(Err(_))) {}
    server.hung_up(1).await;
    assert_eq!(reply.next().await, None);
}

#[tokio::test]
async fn replies_do_not_wait_for_each_other() {
    let server = ChatServer::start().await;
    server.answers([ChatScript::silent(), ChatScript::reply(&["a"])]);
    let model = client(&server);
    let mut stuck = model.complete(request(Transfer::Streamed));
    tokio::select! {
        part = stuck.next() => panic!("{part:?}"),
        () = server.called(1) => {}
    }
    let (parts, error) = read(&model, request(Transfer::Streamed)).await;
    assert_eq!((text(&parts), error), ("a".to_owned(), None));
    drop(stuck);
    server.hung_up(1).await;
}
