//! kill -9 of a gateway while files are uploaded: what was acknowledged is there, byte by byte, and nothing else stays.
//!
//! `CRASH_KILLS` and `CRASH_SEED` as in `crash`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use testkit::{FORM, form};

use super::{
    crash::choices::{self, Choices},
    gateway_process::{Gateway, database, folder},
};
use crate::{examples::encoded, prelude::*};

/// Uploads that are under way at a time.
const AT_ONCE: u64 = 10;
/// Bytes of a piece of a request.
const PIECE: usize = 16 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_leaves_whole_files_and_nothing_else() {
    let (db, home) = (database().await, folder());
    let (seed, kills) = (choices::seed(), choices::kills());
    println!("{kills} kills of {AT_ONCE} uploads each, CRASH_SEED={seed} repeats the choices");
    let choices = Choices::new(seed);
    let variables = [("DATABASE_URL", db.url()), ("INITIAL_CREDITS", "0")];
    let mut acknowledged: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for kill in 0..kills {
        let gateway = Gateway::start(home.path(), &variables).await;
        gateway.ensure("a").await;
        let (sent, mut total) = (Arc::new(AtomicU64::new(0)), 0);
        let mut clients = JoinSet::new();
        for nth in 0..AT_ONCE {
            let size = choices.below(if nth % 2 == 0 { 1 << 20 } else { 5_000 });
            let text = format!("{kill}-{nth} ").repeat(usize::try_from(size).unwrap() / 4 + 1).into_bytes();
            total += text.len() as u64;
            clients.spawn(upload(
                format!("{}/api/v1/users/a/files/upload", gateway.url),
                text,
                Arc::clone(&sent),
            ));
        }
        // Also a little after the last byte, among the answers.
        let enough = choices.below(total + total / 4);
        let mut patience = 2_000;
        while sent.load(Ordering::Relaxed) < enough && patience > 0 && !clients.is_empty() {
            if sent.load(Ordering::Relaxed) >= total {
                patience -= 1;
            }
            tokio::task::yield_now().await;
        }
        gateway.signal("-9");
        acknowledged.extend(clients.join_all().await.into_iter().flatten());
        drop(gateway);
        // What began is given up in an hour.
        db.run(
            "UPDATE files.files SET expires_at = created_at - interval '1 second' WHERE status <> 'ready'",
        )
        .await;
        let gateway = Gateway::start(home.path(), &variables).await;
        let mut deadline = Deadline::new();
        while db.ask("SELECT (SELECT count(*) FROM files.files WHERE status <> 'ready') + (SELECT count(*) FROM files.removals)").await > 0 {
            assert!(deadline.allows_another(), "{}", gateway.log_tail());
            tokio::task::yield_now().await;
        }
        check(&gateway, home.path(), &acknowledged).await;
    }
}

/// Uploads a text; its path and the text, if it was acknowledged.
async fn upload(url: String, text: Vec<u8>, sent: Arc<AtomicU64>) -> Option<(String, Vec<u8>)> {
    let pieces: Vec<Vec<u8>> = form("a.txt", "text/plain", &text).chunks(PIECE).map(<[u8]>::to_vec).collect();
    let body = futures_util::stream::iter(pieces.into_iter().map(move |piece| {
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok::<_, std::io::Error>(piece)
    }));
    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    let request = client.post(url).bearer_auth(SERVICE_KEY).header("Content-Type", FORM);
    let reply = TestRequest::new(request.body(reqwest::Body::wrap_stream(body))).try_send().await.ok()?;
    assert_eq!(reply.status, 200, "{}", reply.text);
    Some((reply.data()["file_path"].text().to_owned(), text))
}

/// Asserts that every acknowledged file is whole, and that rows and objects agree. The quota is audited with the database.
async fn check(gateway: &Gateway, home: &Path, acknowledged: &BTreeMap<String, Vec<u8>>) {
    let mut files = BTreeMap::new();
    let mut page = "a/files?limit=500".to_owned();
    loop {
        let reply = gateway.get(&page).expect(200).await;
        files.extend(reply.rows().into_iter().map(|file| (file["file_path"].text().to_owned(), file)));
        match reply.header("x-next-cursor") {
            "" => break,
            cursor => page = format!("a/files?limit=500&cursor={}", encoded(cursor)),
        }
    }
    for (path, text) in acknowledged {
        let file = files.get(path).unwrap_or_else(|| panic!("an acknowledged file is lost: {path}"));
        let link = file["download_url"].text();
        let place = link.find("/files/raw/").unwrap();
        let fetched = gateway.get(&link[place..]).expect(200).await;
        assert_eq!(fetched.text.as_bytes(), text, "{path}");
    }
    let ids: BTreeSet<String> = files.values().map(|file| file["file_id"].text().to_owned()).collect();
    let mut objects = BTreeSet::new();
    let store = fs::read_dir(home.join("data/files")).unwrap().next().unwrap().unwrap().path();
    for shelf in fs::read_dir(store.join("files")).unwrap() {
        for object in fs::read_dir(shelf.unwrap().path()).unwrap() {
            objects.insert(object.unwrap().file_name().into_string().unwrap());
        }
    }
    assert_eq!(objects, ids, "{}", gateway.log_tail());
}
