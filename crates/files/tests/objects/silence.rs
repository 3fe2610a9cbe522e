//! Every call to a store that does not answer ends.

use std::{net::TcpListener, time::Duration};

use files::objects::{FaultCause, Objects, S3Timeouts, StorageError, StorageFault};
use futures_util::TryStreamExt as _;
use testkit::{S3Fault, S3Server};
use tokio::time::timeout;
use uuid::Uuid;

use super::{content, open, put, settings};

const KEY: &str = "files/00/a";

fn hasty(silence: u64, call: u64) -> S3Timeouts {
    let millis = Duration::from_millis;
    S3Timeouts { connect: millis(500), silence: millis(silence), call: millis(call) }
}

/// The faults of all calls; a call that does not end fails the test.
async fn faults(objects: &Objects) -> Vec<StorageFault> {
    let calls = async {
        [
            put(objects, KEY, &content(10)).await,
            put(objects, KEY, &content(6_000_000)).await,
            objects.read(KEY, None).await.map(drop),
            objects.size(KEY).await.map(drop),
            objects.copy(KEY, "files/00/b").await,
            objects.delete(KEY).await,
            objects.list("files").try_collect::<Vec<_>>().await.map(drop),
            objects.check().await.map_err(Into::into),
            objects.self_test(Uuid::nil()).await.map_err(Into::into),
        ]
    };
    let outcomes = timeout(Duration::from_secs(60), calls).await.expect("a call does not end");
    let fault = |outcome| match outcome {
        Err(StorageError::Fault(fault)) => fault,
        other => panic!("{other:?}"),
    };
    outcomes.map(fault).into()
}

#[tokio::test]
async fn a_store_that_takes_requests_and_is_silent() {
    let server = S3Server::start();
    server.fail(|_| Some(S3Fault::Silence));
    // The pause of the answer ends the calls, or their time as a whole.
    for timeouts in [hasty(50, 20_000), hasty(20_000, 200)] {
        let objects = open(files::objects::S3Settings { timeouts, ..settings(&server) });
        for fault in faults(&objects).await {
            assert_eq!(fault.cause(), FaultCause::Timeout, "{fault}");
            let begin = format!("S3_ENDPOINT: {} took too long to ", server.endpoint());
            assert!(fault.to_string().starts_with(&begin), "{fault}");
        }
    }
}

#[tokio::test]
async fn a_listener_that_accepts_nothing() {
    let server = S3Server::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let settings = settings(&server);
    let objects =
        open(files::objects::S3Settings { endpoint: Some(endpoint), timeouts: hasty(50, 300), ..settings });
    for fault in faults(&objects).await {
        assert_eq!(fault.cause(), FaultCause::Timeout, "{fault}");
    }
}
