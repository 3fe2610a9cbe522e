//! Direct uploads.

use super::*;

const TEXT: &[u8] = b"sent directly";

async fn offered(app: &TestApp, user: &TestUser, further: Value) -> Value {
    let mut body = json!({"filename": "a.txt", "file_size": TEXT.len(), "content_type": "text/plain"});
    for (name, value) in further.as_object().unwrap() {
        body[name] = value.clone();
    }
    app.post("files/uploads").by(user).json(body).data().await
}

fn complete(upload: &Value) -> String {
    format!("files/uploads/{}/complete", upload["upload_id"].text())
}

#[tokio::test]
async fn a_direct_upload_is_offered_sent_and_completed() {
    let (app, user) = TestApp::with_user(&[]).await;
    let upload = offered(&app, &user, json!({"sha256": sha256(TEXT)})).await;
    upload.has(json!({"method": "PUT", "headers": {}, "expires_at": "2026-01-15T13:00:00.000000Z"}));
    quota(&app).await.has(json!({"used_bytes": 0, "reserved_bytes": TEXT.len(), "used_files": 0}));
    app.post(&complete(&upload)).by(&user).refused(409, "UploadIncompleteException").await;
    assert!(app.get("files").by(&user).rows().await.is_empty());
    let link = app.path_of(upload["upload_url"].text());
    assert_eq!(app.put(link).body(TEXT).ok().await, json!({"success": true}));
    let file = app.post(&complete(&upload)).by(&user).expect(200).await;
    file.has(json!({"message": "File uploaded successfully", "data.file_id": upload["upload_id"], "data.file_size": TEXT.len()}));
    let again = app.post(&complete(&upload)).by(&user).expect(200).await;
    assert_eq!(again.text.len(), file.text.len());
    again.has(json!({"data": file.data(), "timestamp": file.json()["timestamp"]}));
    quota(&app).await.has(json!({"used_bytes": TEXT.len(), "reserved_bytes": 0, "used_files": 1}));
    let fetched = app.get(app.path_of(file.data()["download_url"].text())).expect(200).await;
    assert_eq!(fetched.text.as_bytes(), TEXT);

    // The link to upload is still valid: what it sends is never served, and goes.
    app.put(link).body(*b"<script>evil_").refused(404, "UploadNotFoundException").await;
    // As a second PUT would, if it came while the first was completed: an object is replaced, never written to.
    let object = store(&app).join(object_of("uploads", &upload));
    fs::remove_file(&object).unwrap();
    fs::write(object, b"<script>evil_").unwrap();
    let fetched = app.get(app.path_of(file.data()["download_url"].text())).expect(200).await;
    assert_eq!(fetched.text.as_bytes(), TEXT);
    app.clock().advance(Duration::hours(2) + Duration::MINUTE);
    sweep(&app).await;
    assert_eq!(objects(&app), 1);
}

fn object_of(folder: &str, upload: &Value) -> String {
    let id = upload["upload_id"].text();
    format!("{folder}/{}/{id}", &id[34..])
}

#[tokio::test]
async fn something_else_than_was_offered_is_deleted() {
    let (app, user) = TestApp::with_user(&[]).await;
    for (further, sent, status, code) in [
        (json!({"sha256": sha256(b"other bytes!!")}), TEXT, 409, "UploadIncompleteException"),
        (
            json!({"filename": "a.pdf", "content_type": "application/pdf"}),
            TEXT,
            415,
            "UnsupportedFileTypeException",
        ),
        (
            json!({"filename": "a.json", "content_type": "application/json"}),
            TEXT,
            415,
            "UnsupportedFileTypeException",
        ),
        (json!({}), b"<!doctype htm".as_slice(), 415, "UnsupportedFileTypeException"),
    ] {
        let upload = offered(&app, &user, further).await;
        app.put(app.path_of(upload["upload_url"].text())).body(sent).expect(200).await;
        app.post(&complete(&upload)).by(&user).refused(status, code).await;
        app.post(&complete(&upload)).by(&user).refused(404, "UploadNotFoundException").await;
        app.put(app.path_of(upload["upload_url"].text()))
            .body(sent)
            .refused(404, "UploadNotFoundException")
            .await;
    }
    quota(&app).await.has(json!({"used_bytes": 0, "reserved_bytes": 0, "used_files": 0}));
    app.clock().advance(Duration::hours(2) + Duration::MINUTE);
    sweep(&app).await;
    assert_eq!(objects(&app), 0);
}

#[tokio::test]
async fn other_sizes_are_refused_while_they_come() {
    let (app, user) = TestApp::with_user(&[]).await;
    let upload = offered(&app, &user, json!({})).await;
    let link = app.path_of(upload["upload_url"].text());
    let longer = [TEXT, b"x"].concat();
    app.put(link).body(longer).refused(413, "FileTooLargeException").await;
    app.put(link).body(&TEXT[1..]).refused(409, "UploadIncompleteException").await;
    app.put(link).body(*b"").refused(409, "UploadIncompleteException").await;
    app.post(&complete(&upload)).by(&user).refused(409, "UploadIncompleteException").await;
    app.put(link).body(TEXT).expect(200).await;
    app.post(&complete(&upload)).by(&user).expect(200).await;
}

#[tokio::test]
async fn offers_are_judged_and_reserve_the_quota() {
    let (app, user) = TestApp::with_user(&[("FILE_QUOTA_BYTES", "20"), ("FILE_MAX_BYTES", "15")]).await;
    let ask = |body: Value| app.post("files/uploads").by(&user).json(body);
    let plain = |size: i64| json!({"filename": "a.txt", "file_size": size, "content_type": "text/plain"});
    ask(plain(16))
        .refused(413, "FileTooLargeException")
        .await
        .has(json!({"error_details.max_size": "15 bytes"}));
    ask(json!({"filename": "a.html", "file_size": 1, "content_type": "text/html"}))
        .refused(415, "UnsupportedFileTypeException")
        .await;
    ask(json!({"filename": "a.txt", "file_size": 1, "content_type": "image/png"}))
        .refused(415, "UnsupportedFileTypeException")
        .await;
    ask(plain(-1)).fault("body.file_size").await;
    ask(json!({"filename": "a.txt", "file_size": 1, "content_type": "text/plain", "sha256": "00"}))
        .fault("body.sha256")
        .await;
    ask(plain(13)).expect(200).await;
    ask(plain(8)).refused(400, "QuotaExceededException").await.has(json!({
        "error_details.used": 13, "error_details.requested": 8, "error_details.limit": 20,
    }));
    app.clock().advance(Duration::minutes(61));
    let user = app.user("auth0|a").await;
    sweep(&app).await;
    app.post("files/uploads").by(&user).json(plain(15)).expect(200).await;
}

#[tokio::test]
async fn uploads_belong_to_their_user_and_end_in_an_hour() {
    let (app, user) = TestApp::with_user(&[]).await;
    let stranger = app.user("auth0|b").await;
    let upload = offered(&app, &user, json!({})).await;
    let link = app.path_of(upload["upload_url"].text());
    app.put(link).body(TEXT).expect(200).await;
    let foreign = format!("/api/v1/users/auth0%7Cb/{}", complete(&upload));
    app.post(&foreign).by(&stranger).refused(404, "UploadNotFoundException").await;
    app.post("files/uploads/none/complete").by(&user).refused(404, "UploadNotFoundException").await;
    app.get(&link.replace("/uploads/", "/raw/")).refused(403, "PermissionDeniedException").await;
    app.put(&link.replace("e=", "e=9")).body(TEXT).refused(403, "PermissionDeniedException").await;
    app.clock().advance(Duration::hours(1));
    app.put(link).body(TEXT).refused(403, "PermissionDeniedException").await;
    app.post(&complete(&upload)).service().refused(404, "UploadNotFoundException").await;
}

/// Both read the same bytes, and one file becomes ready.
#[tokio::test]
async fn many_who_complete_at_once_get_the_same_file() {
    let (app, user) = TestApp::with_user(&[("WEBHOOK_URL", "https://example.com/hook")]).await;
    let upload = offered(&app, &user, json!({})).await;
    app.put(app.path_of(upload["upload_url"].text())).body(TEXT).expect(200).await;
    let path = complete(&upload);
    let all = (0..8).map(|_| app.post(&path).by(&user).data());
    let all = futures_util::future::join_all(all).await;
    assert!(all.iter().all(|file| *file == all[0]), "{all:?}");
    quota(&app).await.has(json!({"used_bytes": TEXT.len(), "reserved_bytes": 0, "used_files": 1}));
    let id = user.id.clone();
    let events = app.app().pool.read(async |conn| webhooks::newest(conn, &id, 20).await).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.event_type == "file_uploaded").count(), 1);
    app.clock().advance(Duration::hours(2) + Duration::MINUTE);
    sweep(&app).await;
    assert_eq!(objects(&app), 1, "the copies of those who came later are gone");
}
