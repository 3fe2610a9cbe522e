//! Forms, as browsers and others send them.

use testkit::{FORM, form};

use super::*;

fn post(app: &TestApp, user: &TestUser, content_type: &str, body: impl Into<Vec<u8>>) -> TestRequest {
    app.post("files/upload").by(user).header("Content-Type", content_type).body(body)
}

const PART: &str =
    "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhello\r\n";

#[tokio::test]
async fn other_fields_do_not_matter() {
    let (app, user) = TestApp::with_user(&[]).await;
    let note = "--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nwords\r\n";
    for body in [format!("{note}{PART}--b--\r\n"), format!("{PART}{note}--b--\r\n"), format!("{PART}--b--")] {
        let data = post(&app, &user, "multipart/form-data; boundary=b", body).data().await;
        assert_eq!(data["file_size"], 5);
    }
    let extended = PART.replace("filename=\"a.txt\"", "filename=\"x\"; filename*=UTF-8''%e4%b8%ad.txt");
    let data =
        post(&app, &user, "multipart/form-data; boundary=b", format!("{extended}--b--\r\n")).data().await;
    assert!(data["file_path"].text().contains("/中_"), "{data}");
}

#[tokio::test]
async fn forms_without_a_whole_file_leave_nothing() {
    let (app, user) = TestApp::with_user(&[]).await;
    let multipart = "multipart/form-data; boundary=b";
    let large =
        format!("--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n{}\r\n", "x".repeat(70_000));
    for (content_type, body, status) in [
        (multipart, "--b--\r\n".to_owned(), 422),
        (multipart, String::new(), 422),
        (multipart, PART.to_owned(), 422),
        (multipart, PART[..PART.len() - 4].to_owned(), 422),
        (multipart, PART.replace("filename=\"a.txt\"", "x=\"y\"") + "--b--\r\n", 422),
        (multipart, PART.replace("name=\"file\"", "name=\"files\"") + "--b--\r\n", 422),
        (multipart, format!("{PART}{PART}--b--\r\n"), 422),
        (multipart, format!("{PART}--c--\r\n"), 422),
        (multipart, PART.replace("form-data", "attachment") + "--b--\r\n", 422),
        (multipart, PART.replace("a.txt", "") + "--b--\r\n", 415),
        (multipart, PART.replace("a.txt", "a.html") + "--b--\r\n", 415),
        (multipart, format!("{large}{PART}--b--\r\n"), 413),
        ("multipart/form-data", format!("{PART}--b--\r\n"), 422),
        ("multipart/form-data; boundary=", format!("{PART}--b--\r\n"), 422),
        ("application/json", "{}".to_owned(), 415),
        ("text/plain", "hello".to_owned(), 415),
        ("", "hello".to_owned(), 415),
    ] {
        let reply = post(&app, &user, content_type, body.clone()).await;
        assert_eq!(reply.status, status, "{content_type} {body:.200}: {}", reply.text);
    }
    let fault = post(&app, &user, multipart, "--b--\r\n").fault("body.file").await;
    fault.has(json!({"type": "missing", "msg": "Field required"}));
    let packed = app.post("files/upload").by(&user).header("Content-Encoding", "gzip");
    packed.file("a.txt", "", b"x").refused(415, "UnsupportedMediaTypeException").await;
    assert_eq!(objects(&app), 0);
    quota(&app).await.has(json!({"used_bytes": 0, "reserved_bytes": 0, "used_files": 0}));
}

#[tokio::test]
async fn a_file_has_fifty_mebibytes_at_most() {
    let (app, user) = TestApp::with_user(&[("FILE_MAX_BYTES", "100000")]).await;
    let most = vec![b'a'; 100_000];
    upload(&app, &user, "a.txt", &most).await;
    let more = [&most[..], b"b"].concat();
    let refused = app.post("files/upload").by(&user).file("b.txt", "", &more);
    refused.refused(413, "FileTooLargeException").await.has(json!({"error_details.limit": 100_000}));
    // Without a length, it is found out as it comes.
    let pieces = form("c.txt", "", &more).chunks(7_000).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let stream = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(60)).build().unwrap();
    let request = client.post(format!("http://{}/api/v1/users/auth0%7Ca/files/upload", app.address()));
    let request = request.header("Content-Type", FORM).body(reqwest::Body::wrap_stream(stream));
    TestRequest::new(request).by(&user).refused(413, "FileTooLargeException").await;
    assert_eq!(objects(&app), 1);
    quota(&app).await.has(json!({"used_bytes": 100_000, "reserved_bytes": 0, "used_files": 1}));
}
