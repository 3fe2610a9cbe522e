//! Transfers to a bucket.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use files::objects::{FaultCause, StorageError};
use testkit::{Deadline, S3Call, S3Fault, S3Server};

use super::{behaves, content, get, keys_of, open, put, settings};

const KEY: &str = "files/00/a";
const PART: usize = 5 * 1024 * 1024;

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let mut deadline = Deadline::new();
    while !is_so() {
        assert!(deadline.allows_another(), "{what}");
        tokio::task::yield_now().await;
    }
}

fn sizes(calls: &[S3Call], method: &str) -> Vec<usize> {
    let calls = calls.iter().filter(|call| call.method == method);
    calls.map(|call| call.header("content-length").map_or(0, |size| size.parse().unwrap())).collect()
}

#[tokio::test]
async fn objects_are_written_read_copied_and_deleted() {
    let server = S3Server::start();
    let objects = open(settings(&server));
    behaves(&objects).await;
    assert!(server.keys().is_empty());
    assert_eq!(objects.buffer_bytes(), 2 * PART);
}

#[tokio::test]
async fn small_objects_take_one_request_and_large_ones_parts_of_one_size() {
    let server = S3Server::start();
    let objects = open(settings(&server));
    for (size, parts) in [
        (1_000_000, vec![1_000_000]),
        (PART, vec![PART]),
        (PART + 1, vec![PART, 1]),
        (12_000_000, vec![PART, PART, 12_000_000 - 2 * PART]),
    ] {
        let (content, seen) = (content(size), server.calls().len());
        put(&objects, KEY, &content).await.unwrap();
        let calls = server.calls().split_off(seen);
        assert_eq!(sizes(&calls, "PUT"), parts);
        assert_eq!(sizes(&calls, "POST").len(), if size < PART { 0 } else { 2 });
        // The request that makes the object names its type.
        assert_eq!(calls[0].header("content-type"), Some("text/plain"));
        assert!(get(&objects, KEY).await.unwrap() == content, "{size}");
    }
    assert_eq!(server.unfinished(), 0);
}

#[tokio::test]
async fn a_writing_that_is_aborted_dropped_or_fails_leaves_nothing() {
    let server = S3Server::start();
    let objects = open(settings(&server));
    let mut writing = objects.write(KEY, "text/plain").await.unwrap();
    writing.write(content(2 * PART)).await.unwrap();
    until("a part arrives", || server.unfinished() > 0).await;
    writing.abort().await;
    assert_eq!((server.unfinished(), server.keys()), (0, vec![]));

    let mut writing = objects.write(KEY, "text/plain").await.unwrap();
    writing.write(content(2 * PART)).await.unwrap();
    drop(writing);
    until("nothing is left", || server.calls().iter().filter(|call| call.method == "DELETE").count() == 2)
        .await;
    until("nothing is left", || server.unfinished() == 0).await;

    server.fail(|call| {
        (call.parameter("partNumber") == Some("2")).then_some(S3Fault::Error(403, "AccessDenied"))
    });
    let failed = put(&objects, KEY, &content(3 * PART)).await.unwrap_err();
    let line = "S3_ACCESS_KEY_ID: the key may not write objects in bucket \"user-files\" (403 AccessDenied)";
    assert_eq!(failed.to_string(), line);
    until("nothing is left", || server.calls().iter().filter(|call| call.method == "DELETE").count() == 3)
        .await;
    until("nothing is left", || server.unfinished() == 0).await;
    assert!(server.keys().is_empty());
}

#[tokio::test]
async fn short_faults_are_overcome_and_long_ones_reported() {
    let server = S3Server::start();
    let objects = open(settings(&server));
    for fault in [
        S3Fault::Error(503, "SlowDown"),
        S3Fault::HangUp,
        S3Fault::LoseAnswer,
        S3Fault::Error(500, "InternalError"),
    ] {
        let tries = Arc::new(AtomicUsize::new(0));
        let (counter, once) = (Arc::clone(&tries), fault.clone());
        // Every second request fails, completions of parts excepted: an answer to them that is lost is not asked for again.
        server.fail(move |call| {
            let is_first = call.method != "POST" && counter.fetch_add(1, Ordering::SeqCst) % 2 == 0;
            is_first.then(|| once.clone())
        });
        for size in [0, 10, PART + 1] {
            put(&objects, KEY, &content(size)).await.unwrap();
            assert!(get(&objects, KEY).await.unwrap() == content(size), "{fault:?}");
        }
        assert!(tries.load(Ordering::SeqCst) >= 14, "{fault:?}");
    }
    let before = server.calls().len();
    server.fail(|_| Some(S3Fault::Error(503, "SlowDown")));
    let failed = put(&objects, KEY, &content(10)).await.unwrap_err();
    let StorageError::Fault(fault) = failed else { panic!("{failed}") };
    assert_eq!(fault.cause(), FaultCause::Unavailable);
    let line = format!("S3_ENDPOINT: {} cannot write objects at present (503 SlowDown)", server.endpoint());
    assert_eq!(fault.to_string(), line);
    assert_eq!(server.calls().len() - before, 3);
    server.heal();
    assert_eq!(get(&objects, KEY).await.unwrap().len(), PART + 1);
}

#[tokio::test]
async fn lists_have_any_number_of_pages() {
    let server = S3Server::start();
    let objects = open(settings(&server));
    let folder = server.bucket_folder().join("files/00");
    fs::create_dir_all(&folder).unwrap();
    for number in 0..2_005 {
        fs::write(folder.join(number.to_string()), "").unwrap();
    }
    put(&objects, "filesystem/00/b", &content(1)).await.unwrap();
    assert_eq!(keys_of(&objects, "files").await.len(), 2_005);
    let lists = server.calls().iter().filter(|call| call.parameter("list-type").is_some()).count();
    assert_eq!(lists, 3);
}

/// A source that is faster than the store is stopped when two parts are in memory.
#[tokio::test]
async fn memory_of_a_writing_is_bounded() {
    const PIECE: usize = 64 * 1024;
    let server = S3Server::start();
    let objects = open(settings(&server));
    let (given, parts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let most = Arc::new(AtomicUsize::new(0));
    let (given_then, parts_then, most_then) = (Arc::clone(&given), Arc::clone(&parts), Arc::clone(&most));
    server.fail(move |call| {
        // All parts before this one have been acknowledged.
        call.is_part().then(|| {
            let acknowledged = parts_then.fetch_add(1, Ordering::SeqCst) * PART;
            let held = given_then.load(Ordering::SeqCst).saturating_sub(acknowledged);
            most_then.fetch_max(held, Ordering::SeqCst);
            S3Fault::Pause
        })
    });
    let (source, total) = (Arc::clone(&given), 3 * PART);
    let write = async {
        let mut writing = objects.write(KEY, "text/plain").await.unwrap();
        for piece in content(total).chunks(PIECE) {
            writing.write(bytes::Bytes::copy_from_slice(piece)).await.unwrap();
            source.fetch_add(piece.len(), Ordering::SeqCst);
        }
        writing.finish().await.unwrap();
    };
    let slow_store = async {
        for part in 1..=3 {
            until("a part begins", || parts.load(Ordering::SeqCst) == part).await;
            // The source goes on as far as it may while this part waits.
            let filled = total.min((part + 1) * PART) - PIECE;
            until("the next part is filled", || given.load(Ordering::SeqCst) >= filled).await;
            most.fetch_max(given.load(Ordering::SeqCst) - (part - 1) * PART, Ordering::SeqCst);
            server.release();
        }
    };
    tokio::join!(write, slow_store);
    let most = most.load(Ordering::SeqCst);
    assert!(most <= objects.buffer_bytes() && most >= 2 * PART - PIECE, "{most}");
    assert!(get(&objects, KEY).await.unwrap() == content(total));
}
