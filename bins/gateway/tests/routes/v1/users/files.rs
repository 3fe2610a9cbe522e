//! `/api/v1/users/{user_id}/files` and below, `/files/raw/{file_id}` and `/files/uploads/{upload_id}`

mod direct;
mod forms;
mod hostile;
mod raw;
mod s3;

use std::{fs, path::Path};

use flows::jobs::Next;
use time::Duration;

use crate::{examples::encoded, prelude::*};

const PDF: &[u8] = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n";

/// The files in a folder and below it.
fn files_below(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

/// Objects in the storage of a service.
fn objects(app: &TestApp) -> usize {
    files_below(&app.data_dir().join("files"))
}

/// The part of the storage that belongs to the database.
fn store(app: &TestApp) -> std::path::PathBuf {
    fs::read_dir(app.data_dir().join("files")).unwrap().next().unwrap().unwrap().path()
}

async fn upload(app: &TestApp, user: &TestUser, name: &str, bytes: &[u8]) -> Value {
    let path = format!("/api/v1/users/{}/files/upload", user.id);
    app.post(&path).service().file(name, "", bytes).data().await
}

async fn quota(app: &TestApp) -> Value {
    app.get("files/quota").service().data().await
}

/// Runs the job that removes what is left, until it has nothing to do.
async fn sweep(app: &TestApp) {
    let files = app.app().files.clone().unwrap();
    while files.give_up_expired().await.unwrap() != Next::Later {}
    while files.remove_due().await.unwrap() != Next::Later {}
}

#[tokio::test]
async fn a_file_is_uploaded_listed_described_fetched_and_deleted() {
    let (app, user) = TestApp::with_user(&[]).await;
    let reply =
        app.post("files/upload").by(&user).file("../文档 1.PDF", "application/pdf", PDF).expect(200).await;
    reply.has(json!({"success": true, "message": "File uploaded successfully"}));
    let file = reply.data();
    file.has(json!({"file_size": PDF.len(), "content_type": "application/pdf"}));
    let path = file["file_path"].text();
    let stem = path.strip_prefix("users/auth0|a/files/2026/01/文档_1_20260115").expect(path);
    assert!(stem.ends_with(".pdf") && stem.len() == "120000_0a1b2c3d.pdf".len(), "{path}");
    let described = app.get(&format!("files/info?file_path={}", encoded(path))).by(&user).data().await;
    described.has(json!({
        "file_path": path, "file_size": PDF.len(), "content_type": "application/pdf", "filename": "文档 1.PDF",
        "file_id": file["file_id"], "last_modified": file["uploaded_at"], "download_url": file["download_url"],
        "etag": sha256(PDF),
    }));
    assert_eq!(app.get("files").by(&user).rows().await, std::slice::from_ref(&described));
    quota(&app).await.has(json!({"used_bytes": PDF.len(), "used_files": 1, "reserved_bytes": 0}));

    let link = file["download_url"].text();
    let fetched = app.get(app.path_of(link)).expect(200).await;
    assert_eq!(fetched.text.as_bytes(), PDF);
    let query = format!("file_path={}", encoded(path));
    let redirect = app.get(&format!("files/download?{query}")).by(&user).expect(302).await;
    assert_eq!(redirect.header("location"), link);
    let body = app.get(&format!("files/download?{query}")).header("Accept", "application/json").by(&user);
    body.data().await.has(json!({"file_path": path, "download_url": link, "expires_in": 3600}));

    let deleted = app.delete(&format!("files?{query}")).by(&user).expect(200).await;
    deleted
        .has(json!({"message": "File deleted successfully", "data": {"file_path": path, "deleted": true}}));
    app.get(app.path_of(link)).refused(404, "FileNotFoundException").await;
    app.delete(&format!("files?{query}")).by(&user).refused(404, "FileNotFoundException").await;
    assert_eq!(objects(&app), 0);
    quota(&app).await.has(json!({"used_bytes": 0, "used_files": 0}));
    app.db().run("DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM files.removals); END $$").await;
}

#[tokio::test]
async fn files_of_another_user_are_out_of_reach() {
    let (app, owner) = TestApp::with_user(&[]).await;
    let stranger = app.user("auth0|b").await;
    let file = upload(&app, &owner, "a.txt", b"mine").await;
    let path = file["file_path"].text();
    let below = |user: &str, rest: &str| format!("/api/v1/users/{user}/files{rest}");
    // The path of the owner, and a path in the stranger's own name that leads to the owner's file.
    for path in [path, "users/auth0|a/files/2026/01/none_20260115120000_00000000.txt", "users/nobody/files/x"]
    {
        let query = format!("file_path={}", encoded(path));
        for request in [
            app.get(&below("auth0%7Cb", &format!("/info?{query}"))),
            app.delete(&below("auth0%7Cb", &format!("?{query}"))),
            app.get(&below("auth0%7Cb", &format!("?prefix={}", encoded(path)))),
        ] {
            let refused = request.by(&stranger).refused(403, "PermissionDeniedException").await;
            assert_eq!(refused.json()["message"], "Access denied: File does not belong to user");
        }
        let hidden = app.get(&below("auth0%7Cb", &format!("/download?{query}"))).by(&stranger);
        hidden.refused(404, "FileNotFoundException").await;
    }
    let query = format!("file_path={}", encoded(path));
    app.get(&below("auth0%7Ca", &format!("/info?{query}")))
        .by(&stranger)
        .refused(403, "PermissionDeniedException")
        .await;
    app.get(&below("auth0%7Ca", &format!("/download?{query}")))
        .by(&stranger)
        .refused(404, "UserNotFoundException")
        .await;
    app.get("files/info?file_path=users%2Fauth0%7Ca%2Fx")
        .by(&owner)
        .refused(404, "FileNotFoundException")
        .await;
    app.get("files/info").by(&owner).fault("query.file_path").await;
    assert_eq!(app.get("files").by(&owner).rows().await.len(), 1);
}

#[tokio::test]
async fn lists_are_newest_first_by_prefix_and_in_pages() {
    let (app, user) = TestApp::with_user(&[]).await;
    let mut paths = Vec::new();
    for month in 0..3 {
        for name in ["a.txt", "b%.txt"] {
            paths.insert(0, upload(&app, &user, name, b"x").await["file_path"].clone());
        }
        if month < 2 {
            app.clock().advance(Duration::days(31));
        }
    }
    let user = app.user("auth0|a").await;
    assert_eq!(app.get("files").by(&user).column("file_path").await, paths);
    for (prefix, found) in [
        ("2026/02", 2..4),
        ("users/auth0|a/files/2026/03/", 0..2),
        ("2026/0", 0..6),
        ("2026/03/a", 1..2),
        ("2026_03", 0..0),
        ("", 0..6),
        ("users/", 0..6),
    ] {
        let listed =
            app.get(&format!("files?prefix={}", encoded(prefix))).by(&user).column("file_path").await;
        assert_eq!(listed, paths[found], "{prefix}");
    }
    let pages = app.pages("files?limit=4", &user).await;
    assert_eq!(pages.concat().iter().map(|file| file["file_path"].clone()).collect::<Vec<_>>(), paths);
    assert_eq!(pages.len(), 2);
    assert_eq!(app.get("files?limit=2&offset=3").by(&user).column("file_path").await, paths[3..5]);
}

#[tokio::test]
async fn the_quota_counts_bytes_and_files() {
    let (app, user) = TestApp::with_user(&[("FILE_QUOTA_BYTES", "1000"), ("FILE_QUOTA_FILES", "3")]).await;
    upload(&app, &user, "a.txt", &[b'a'; 600]).await;
    let refused = app.post("files/upload").by(&user).file("b.txt", "", &[b'b'; 401]);
    let refused = refused.refused(400, "QuotaExceededException").await;
    refused.has(json!({"error_details.unit": "bytes", "error_details.limit": 1000}));
    upload(&app, &user, "b.txt", &[b'b'; 400]).await;
    let refused = app.post("files/upload").by(&user).file("c.txt", "", b"");
    refused.refused(400, "QuotaExceededException").await.has(json!({"error_details.used": 1000}));
    quota(&app).await.has(
        json!({"used_bytes": 1000, "used_files": 2, "reserved_bytes": 0, "max_bytes": 1000, "max_files": 3}),
    );
    let first = app.get("files?offset=1").by(&user).rows().await;
    let query = format!("files?file_path={}", encoded(first[0]["file_path"].text()));
    app.delete(&query).by(&user).expect(200).await;
    for name in ["c.txt", "d.txt"] {
        upload(&app, &user, name, b"x").await;
    }
    let refused = app.post("files/upload").by(&user).file("e.txt", "", b"x");
    refused.refused(400, "QuotaExceededException").await.has(json!({"error_details": {
        "operation": "upload_file", "user_id": "auth0|a", "timestamp": refused_at(&app), "unit": "files", "used": 3,
        "limit": 3, "requested": 1,
    }}));
    assert_eq!(objects(&app), 3);
}

fn refused_at(app: &TestApp) -> String {
    kernel::rfc3339(app.clock().now())
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn events_say_what_was_uploaded_and_deleted() {
    let (app, user) = TestApp::with_user(&[("WEBHOOK_URL", "https://example.com/hook")]).await;
    let file = upload(&app, &user, "a.txt", b"four").await;
    let path = file["file_path"].text().to_owned();
    app.post("files/upload")
        .by(&user)
        .file("a.pdf", "", b"four")
        .refused(415, "UnsupportedFileTypeException")
        .await;
    app.delete(&format!("files?file_path={}", encoded(&path))).by(&user).expect(200).await;
    let id = user.id.clone();
    let events = app.app().pool.read(async |conn| webhooks::newest(conn, &id, 10).await).await.unwrap();
    let events: Vec<_> =
        events.iter().map(|event| (event.event_type.as_str(), event.payload.clone())).collect();
    let kinds: Vec<&str> = events.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds[..2], ["file_deleted", "file_uploaded"], "{events:?}");
    assert!(!kinds[2..].iter().any(|kind| kind.starts_with("file_")), "{events:?}");
    for (_, payload) in &events[..2] {
        let payload: Value = serde_json::from_str(payload.as_json()).unwrap();
        payload.has(json!({"file_path": path, "file_size": 4}));
    }
}

#[tokio::test]
async fn an_erased_user_leaves_no_object() {
    let (app, user) = TestApp::with_user(&[("WEBHOOK_URL", "https://example.com/hook")]).await;
    let file = upload(&app, &user, "secret-name.txt", b"bytes").await;
    let exported = app.get("export").by(&user).ok().await;
    assert_eq!(exported["files"][0]["file_path"], file["file_path"]);
    app.get(app.path_of(exported["files"][0]["download_url"].text())).expect(200).await;
    let offer = json!({"filename": "b.txt", "file_size": 5, "content_type": "text/plain"});
    let offered = app.post("files/uploads").by(&user).json(offer).data().await;
    app.put(app.path_of(offered["upload_url"].text())).body(*b"bytes").expect(200).await;
    assert_eq!(objects(&app), 2);
    app.delete("/api/v1/users/auth0%7Ca").by(&user).expect(200).await;
    app.get(app.path_of(file["download_url"].text())).refused(404, "FileNotFoundException").await;
    app.put(app.path_of(offered["upload_url"].text()))
        .body(*b"bytes")
        .refused(404, "UploadNotFoundException")
        .await;
    // The link to upload could have been used until it ended.
    app.clock().advance(Duration::hours(2) + Duration::MINUTE);
    sweep(&app).await;
    assert_eq!(objects(&app), 0);
    app.db()
        .run(
            "DO $$ BEGIN
                 ASSERT NOT EXISTS (SELECT FROM files.files) AND NOT EXISTS (SELECT FROM files.quotas);
                 ASSERT NOT EXISTS (SELECT FROM webhooks.events WHERE payload::text LIKE '%secret-name%');
             END $$",
        )
        .await;
}

/// An upload whose user is erased before its last byte leaves neither row nor quota nor object.
#[tokio::test]
async fn an_upload_that_outlives_its_user_leaves_nothing() {
    let (app, user) = TestApp::with_user(&[]).await;
    let files = app.app().files.clone().unwrap();
    let new = flows::files::NewUpload {
        user_id: user.id.clone(),
        filename: "a.txt".to_owned(),
        declared_type: None,
        bytes_max: Some(1000),
    };
    let mut upload = files.upload(new).await.unwrap().unwrap();
    assert!(upload.write(bytes::Bytes::from_static(b"some bytes")).await);
    quota(&app).await.has(json!({"reserved_bytes": 1000}));
    app.delete("/api/v1/users/auth0%7Ca").by(&user).expect(200).await;
    let refused = upload.finish().await.unwrap().unwrap_err();
    assert_eq!(refused, flows::files::FilesRefusal::NoUser(user.id.clone()));
    sweep(&app).await;
    assert_eq!(objects(&app), 0);
    let empty = "DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM files.files) AND NOT EXISTS (SELECT FROM files.quotas); END $$";
    app.db().run(empty).await;
}

/// A request that goes away in the middle.
#[tokio::test]
async fn an_upload_that_is_dropped_removes_what_it_stored() {
    let (app, user) = TestApp::with_user(&[]).await;
    let body = testkit::form("a.txt", "", &[b'a'; 200_000]);
    let head = format!(
        "POST /api/v1/users/auth0%7Ca/files/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: {}\r\n\
         Content-Length: {}\r\n\r\n",
        user.token,
        testkit::FORM,
        body.len()
    );
    let stream = open(app.address(), [head.as_bytes(), &body[..150_000]].concat()).await;
    let mut deadline = Deadline::new();
    while quota(&app).await["reserved_bytes"] == 0 {
        assert!(deadline.allows_another(), "it did not begin");
    }
    drop(stream);
    let mut deadline = Deadline::new();
    while quota(&app).await["reserved_bytes"] != 0 {
        assert!(deadline.allows_another(), "it did not end");
    }
    sweep(&app).await;
    assert_eq!(objects(&app), 0);
}

/// Rows that did not become ready, objects whose row is gone, and objects that never had one.
#[tokio::test]
async fn whatever_a_killed_process_left_is_removed() {
    let (app, user) = TestApp::with_user(&[]).await;
    let kept = upload(&app, &user, "kept.txt", b"kept").await;
    app.db()
        .run(
            "INSERT INTO files.files (user_id, file_id, object_id, status, file_path, filename, size_bytes, created_at, expires_at)
             VALUES ('auth0|a', '00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-00000000000a', 'pending', 'x',
                 'x', 100, '2026-01-15 12:00Z', '2026-01-15 13:00Z');
             UPDATE files.quotas SET reserved_bytes = 100, reserved_files = 1",
        )
        .await;
    let folder = store(&app).join("files");
    for (name, id) in
        [("0a", "00000000-0000-4000-8000-00000000000a"), ("0b", "00000000-0000-4000-8000-00000000000b")]
    {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join(id), b"left").unwrap();
        fs::write(folder.join(name).join(format!("{id}#1")), b"a part").unwrap();
    }
    assert_eq!(objects(&app), 5);
    sweep(&app).await;
    assert_eq!(objects(&app), 5, "it may still become ready");
    app.clock().advance(Duration::minutes(61));
    sweep(&app).await;
    assert_eq!(objects(&app), 3, "the row has expired, and its object went with it");
    quota(&app).await.has(json!({"used_bytes": 4, "used_files": 1, "reserved_bytes": 0}));
    let files = app.app().files.clone().unwrap();
    files.find_lost().await.unwrap();
    assert_eq!(objects(&app), 3, "what is younger than a day may be about to get its row");
    // Objects have the time of the machine.
    let ahead = kernel::SystemClock.now() + Duration::hours(25) - app.clock().now();
    app.clock().advance(ahead);
    files.find_lost().await.unwrap();
    assert_eq!(objects(&app), 1);
    let path = format!("files/info?file_path={}", encoded(kept["file_path"].text()));
    let link = app.get(&path).service().data().await["download_url"].text().to_owned();
    assert_eq!(app.get(app.path_of(&link)).expect(200).await.text, "kept");
}
