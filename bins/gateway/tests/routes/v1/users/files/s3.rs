//! Files on S3, against a server that verifies signatures.

use testkit::{FileSample, S3Fault, S3Server};

use super::*;

/// A service whose files are on this server.
async fn service(server: &S3Server) -> (TestApp, TestUser) {
    let variables = server.variables();
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    TestApp::with_user(&variables).await
}

/// A request to the store, without a credential.
fn client(method: &str, url: &str) -> TestRequest {
    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    TestRequest::new(client.request(method.parse().unwrap(), url))
}

#[tokio::test]
async fn a_file_goes_to_the_store_and_links_lead_there() {
    let server = S3Server::start();
    let (app, user) = service(&server).await;
    let large: Vec<u8> = (0..6_000_000_u32).map(|place| b'a' + (place % 26) as u8).collect();
    for (name, bytes) in [("小.txt", b"small".as_slice()), ("large.txt", &large), ("empty.csv", b"")] {
        let file = upload(&app, &user, name, bytes).await;
        let path = file["file_path"].text();
        let link = file["download_url"].text().to_owned();
        assert!(link.starts_with(&server.endpoint()), "{link}");
        let fetched = client("GET", &link).expect(200).await;
        assert!(fetched.text.as_bytes() == bytes, "{name}");
        assert_eq!(fetched.header("content-type"), file["content_type"].text());
        assert!(fetched.header("content-disposition").starts_with("attachment"), "{name}");
        client("GET", &link.replace("attachment", "inline")).expect(403).await;
        let query = format!("file_path={}", encoded(path));
        app.get(&format!("files/download?{query}")).by(&user).expect(302).await;
        app.delete(&format!("files?{query}")).by(&user).expect(200).await;
        client("GET", &link).expect(404).await;
    }
    assert!(server.keys().is_empty(), "{:?}", server.keys());
    assert_eq!(server.unfinished(), 0);
    // Refused in the middle of a second part.
    let mut wrong = large.clone();
    *wrong.last_mut().unwrap() = 0;
    app.post("files/upload")
        .by(&user)
        .file("a.txt", "", &wrong)
        .refused(415, "UnsupportedFileTypeException")
        .await;
    sweep(&app).await;
    assert_eq!((server.keys().len(), server.unfinished()), (0, 0));
    quota(&app).await.has(json!({"used_bytes": 0, "used_files": 0, "reserved_bytes": 0}));
}

#[tokio::test]
async fn spreadsheets_are_judged_in_the_store() {
    let server = S3Server::start();
    let (app, _user) = service(&server).await;
    let samples: Vec<_> = testkit::good_files().into_iter().chain(testkit::hostile_files()).collect();
    let is_declared =
        |sample: &FileSample| sample.declared.as_ref().is_none_or(|declared| declared.contains("sheet"));
    let sheets = samples.iter().filter(|sample| {
        sample.name.ends_with(".xlsx") && is_declared(sample) && sample.content.len() < 100_000
    });
    let (mut good, mut bad) = (0, 0);
    for sample in sheets {
        let reply = app.post("files/upload").service().file("a.xlsx", "", &sample.content).await;
        match sample.accepted {
            Some(_) => good += 1,
            None => bad += 1,
        }
        assert_eq!(reply.status == 200, sample.accepted.is_some(), "{}: {}", sample.why, reply.text);
    }
    assert!(good >= 2 && bad >= 5, "{good} {bad}");
    assert_eq!(server.keys().len(), good);
}

#[tokio::test]
async fn a_direct_upload_goes_past_the_service() {
    let server = S3Server::start();
    let (app, user) = service(&server).await;
    let body = json!({"filename": "a.txt", "file_size": 5, "content_type": "text/plain", "sha256": sha256(b"bytes")});
    let offered = app.post("files/uploads").by(&user).json(body).data().await;
    let link = offered["upload_url"].text();
    assert!(link.starts_with(&server.endpoint()), "{link}");
    let put = |bytes: &'static [u8]| {
        let headers = offered["headers"].as_object().unwrap();
        let request = client("PUT", link).body(bytes);
        headers.iter().fold(request, |request, (name, value)| request.header(name, value.text()))
    };
    assert_ne!(put(b"other").await.status, 200);
    assert_ne!(put(b"longer").await.status, 200);
    let path = format!("files/uploads/{}/complete", offered["upload_id"].text());
    app.post(&path).by(&user).refused(409, "UploadIncompleteException").await;
    put(b"bytes").expect(200).await;
    let file = app.post(&path).by(&user).data().await;
    assert_eq!(app.post(&path).by(&user).data().await["file_id"], file["file_id"]);
    // The link works until it ends; what it writes is not served, and goes.
    put(b"bytes").expect(200).await;
    assert_eq!(client("GET", file["download_url"].text()).expect(200).await.text, "bytes");
    app.clock().advance(Duration::hours(2) + Duration::MINUTE);
    sweep(&app).await;
    assert_eq!(server.keys().len(), 1, "{:?}", server.keys());
    let user = app.user("auth0|a").await;
    let exported = app.get("export").by(&user).ok().await;
    client("GET", exported["files"][0]["download_url"].text()).expect(200).await;
    app.delete("/api/v1/users/auth0%7Ca").by(&user).expect(200).await;
    sweep(&app).await;
    assert!(server.keys().is_empty(), "{:?}", server.keys());
}

/// A store that does not hold a client to the size that was signed.
#[tokio::test]
async fn an_upload_of_another_size_is_not_completed() {
    let server = S3Server::start();
    let (app, user) = service(&server).await;
    let body = json!({"filename": "a.txt", "file_size": 5, "content_type": "text/plain"});
    let offered = app.post("files/uploads").by(&user).json(body).data().await;
    let id = offered["upload_id"].text();
    let place = offered["upload_url"].text().split(&format!("/{}/", testkit::S3_BUCKET)).nth(1).unwrap();
    let object = server.bucket_folder().join(place.split('?').next().unwrap());
    fs::create_dir_all(object.parent().unwrap()).unwrap();
    fs::write(object, b"longer than it was offered").unwrap();
    let path = format!("files/uploads/{id}/complete");
    let copies = || server.calls().iter().filter(|call| call.header("x-amz-copy-source").is_some()).count();
    app.post(&path).by(&user).refused(409, "UploadIncompleteException").await;
    assert_eq!(copies(), 0, "it is not copied");
    app.post(&path).by(&user).refused(404, "UploadNotFoundException").await;
    quota(&app).await.has(json!({"used_bytes": 0, "reserved_bytes": 0}));
}

/// Objects of another database or service are out of reach.
#[tokio::test]
async fn a_bucket_may_be_shared() {
    let server = S3Server::start();
    let (app, user) = service(&server).await;
    upload(&app, &user, "a.txt", b"of this database").await;
    let id = "00000000-0000-4000-8000-00000000000a";
    for strange in [format!("{id}/files/0a/{id}"), format!("files/0a/{id}"), "uploads/photo.jpg".to_owned()] {
        let object = server.bucket_folder().join(strange);
        fs::create_dir_all(object.parent().unwrap()).unwrap();
        fs::write(object, b"of somebody else").unwrap();
    }
    assert_eq!(server.keys().len(), 4, "{:?}", server.keys());
    let files = app.app().files.clone().unwrap();
    app.clock().advance(kernel::SystemClock.now() + Duration::hours(25) - app.clock().now());
    files.find_lost().await.unwrap();
    assert_eq!(server.keys().len(), 4, "{:?}", server.keys());
    app.db()
        .run("DELETE FROM files.files; DELETE FROM files.removals; UPDATE files.quotas SET used_bytes = 0, used_files = 0")
        .await;
    files.find_lost().await.unwrap();
    assert_eq!(server.keys().len(), 3, "its own object without a row is gone: {:?}", server.keys());
}

#[tokio::test]
async fn a_store_that_fails_is_503_and_nothing_is_lost() {
    let server = S3Server::start();
    let (app, user) = service(&server).await;
    let file = upload(&app, &user, "a.txt", b"kept").await;
    app.get("/readyz").expect(200).await.has(json!({"checks.storage": "ok"}));
    server.fail(|_| Some(S3Fault::Error(500, "InternalError")));
    let failed = app.post("files/upload").by(&user).file("b.txt", "", b"lost");
    let failed = failed.refused(503, "ProviderUnavailableException").await;
    failed.has(json!({"error_details.provider": "storage"}));
    quota(&app).await.has(json!({"used_files": 1, "reserved_bytes": 0}));
    // The row goes, and the object later.
    let query = format!("files?file_path={}", encoded(file["file_path"].text()));
    app.delete(&query).by(&user).expect(200).await;
    assert_eq!(server.keys().len(), 1);
    server.heal();
    app.clock().advance(Duration::minutes(3));
    sweep(&app).await;
    assert!(server.keys().is_empty(), "{:?}", server.keys());
}
