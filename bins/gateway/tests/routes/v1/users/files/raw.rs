//! Fetching the bytes.

use super::*;

const TEXT: &str = "0123456789";

async fn link(app: &TestApp, user: &TestUser) -> String {
    let file = upload(app, user, "digits.txt", TEXT.as_bytes()).await;
    app.path_of(file["download_url"].text()).to_owned()
}

#[tokio::test]
async fn nothing_in_a_file_can_run_in_a_browser() {
    let (app, user) = TestApp::with_user(&[]).await;
    let file = upload(&app, &user, "a\u{202e}b; x=%22中文.txt", b"text").await;
    let reply =
        app.get(app.path_of(file["download_url"].text())).header("Accept-Encoding", "gzip").expect(200).await;
    for (name, value) in [
        ("content-type", "text/plain"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("accept-ranges", "bytes"),
        ("cache-control", "private, no-cache"),
        ("content-encoding", ""),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
    let disposition = reply.header("content-disposition");
    assert!(disposition.starts_with("attachment; filename=\""), "{disposition}");
    assert!(
        disposition.contains("filename*=UTF-8''") && disposition.contains("%E4%B8%AD%E6%96%87.txt"),
        "{disposition}"
    );
    assert!(!disposition.contains("%E2%80%AE"), "{disposition}");
}

#[tokio::test]
async fn parts_are_sent_as_they_are_asked_for() {
    let (app, user) = TestApp::with_user(&[]).await;
    let link = link(&app, &user).await;
    let whole = app.get(&link).expect(200).await;
    assert_eq!((whole.text.as_str(), whole.header("content-length")), (TEXT, "10"));
    let etag = whole.header("etag").to_owned();
    for (range, status, text, content_range) in [
        ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=-99", 206, TEXT, "bytes 0-9/10"),
        ("bytes=5-99", 206, "56789", "bytes 5-9/10"),
        ("bytes=9-9", 206, "9", "bytes 9-9/10"),
        ("bytes=0-1,4-5", 200, TEXT, ""),
        ("bytes=3-1", 200, TEXT, ""),
        ("lines=0-1", 200, TEXT, ""),
        ("bytes=x", 200, TEXT, ""),
        ("bytes=99999999999999999999-", 200, TEXT, ""),
    ] {
        let reply = app.get(&link).header("Range", range).await;
        let found = (reply.status, reply.text.as_str(), reply.header("content-range"));
        assert_eq!(found, (status, text, content_range), "{range}");
        assert_eq!(reply.header("content-length"), text.len().to_string(), "{range}");
    }
    for range in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
        let reply = app.get(&link).header("Range", range).refused(416, "RangeNotSatisfiableException").await;
        assert_eq!(reply.header("content-range"), "bytes */10", "{range}");
        reply.has(json!({"error_details.size": 10}));
    }
    for (if_range, status) in [
        (etag.as_str(), 206),
        ("\"other\"", 200),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 200),
        (&format!("W/{etag}"), 200),
    ] {
        let reply = app.get(&link).header("Range", "bytes=0-3").header("If-Range", if_range).await;
        assert_eq!(reply.status, status, "{if_range}");
    }
    for (if_none_match, status) in
        [(etag.as_str(), 304), ("*", 304), ("\"other\"", 200), (&format!("\"x\", W/{etag}"), 304)]
    {
        let reply = app.get(&link).header("If-None-Match", if_none_match).await;
        assert_eq!(reply.status, status, "{if_none_match}");
        if status == 304 {
            assert_eq!((reply.text.as_str(), reply.header("etag")), ("", etag.as_str()));
        }
    }
    let head = app.request(reqwest::Method::HEAD, &link).expect(200).await;
    assert_eq!(
        (head.text.as_str(), head.header("content-length"), head.header("etag")),
        ("", "10", etag.as_str())
    );
}

#[tokio::test]
async fn an_empty_file_has_no_bytes() {
    let (app, user) = TestApp::with_user(&[]).await;
    let file = upload(&app, &user, "empty.csv", b"").await;
    let link = app.path_of(file["download_url"].text());
    let reply = app.get(link).expect(200).await;
    assert_eq!((reply.text.as_str(), reply.header("content-length")), ("", "0"));
    app.get(link).header("Range", "bytes=0-").refused(416, "RangeNotSatisfiableException").await;
}

#[tokio::test]
async fn a_link_is_good_for_one_file_and_one_hour() {
    let (app, user) = TestApp::with_user(&[]).await;
    let one = link(&app, &user).await;
    let other = link(&app, &user).await;
    let id = |link: &str| link["/files/raw/".len()..].split('?').next().unwrap().to_owned();
    for changed in [
        one.replace(&id(&one), &id(&other)),
        one.replace("e=", "e=1"),
        one.replace("d=attachment", "d=inline"),
        one.replace("&s=", "&s=A"),
        one.split("&s=").next().unwrap().to_owned(),
        one.split('?').next().unwrap().to_owned(),
        one.replace("/files/raw/", "/files/raw/00000000-0000-4000-8000-00000000000"),
    ] {
        let reply = app.get(&changed).await;
        assert!([403, 404].contains(&reply.status), "{changed}: {}", reply.text);
    }
    app.get("/files/raw/x?e=1&d=attachment&s=x").refused(404, "FileNotFoundException").await;
    app.clock().advance(Duration::seconds(3599));
    app.get(&one).expect(200).await;
    app.clock().advance(Duration::seconds(1));
    app.get(&one).refused(403, "PermissionDeniedException").await;
}
