//! Files that would bite: nothing of them is stored, or only as what no browser runs.

use testkit::{FileSample, good_files, hostile_files};

use super::*;

/// A name as browsers write it into a form. A header cannot have other control characters.
fn escaped(name: &str) -> String {
    let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
    name.chars().filter(|c| !c.is_ascii_control()).collect()
}

async fn send(app: &TestApp, name: &str, sample: &FileSample) -> TestReply {
    let declared = sample.declared.as_deref().unwrap_or_default();
    // A header cannot have them.
    let declared: String = declared.chars().filter(|c| !c.is_control()).collect();
    app.post("files/upload").service().file(name, &declared, &sample.content).await
}

#[tokio::test]
async fn good_files_are_stored_and_fetched_as_they_are() {
    let (app, _user) = TestApp::with_user(&[]).await;
    for sample in good_files() {
        let reply = send(&app, &escaped(&sample.name), &sample).await;
        assert_eq!(reply.status, 200, "{}: {}", sample.why, reply.text);
        let file = reply.data();
        assert_eq!(file["content_type"].as_str(), sample.accepted, "{}", sample.why);
        assert_eq!(file["file_size"], sample.content.len(), "{}", sample.why);
        let fetched = app.get(app.path_of(file["download_url"].text())).expect(200).await;
        assert_eq!(fetched.header("content-type"), sample.accepted.unwrap(), "{}", sample.why);
        assert_eq!(fetched.header("content-length"), sample.content.len().to_string(), "{}", sample.why);
        let query = format!("files/info?file_path={}", encoded(file["file_path"].text()));
        let described = app.get(&query).service().data().await;
        assert_eq!(described["etag"], sha256(&sample.content), "{}", sample.why);
    }
}

#[tokio::test]
async fn hostile_files_are_refused_and_leave_nothing() {
    let (app, _user) = TestApp::with_user(&[]).await;
    let samples = hostile_files();
    assert!(samples.len() > 100, "{}", samples.len());
    let mut stored = 0;
    for sample in &samples {
        let reply = send(&app, &escaped(&sample.name), sample).await;
        match sample.accepted {
            Some(content_type) => {
                assert_eq!(reply.status, 200, "{} ({:?}): {}", sample.why, sample.name, reply.text);
                assert_eq!(reply.data()["content_type"], content_type, "{}", sample.why);
                stored += 1;
            }
            // A form within the form.
            None if sample.declared.as_ref().is_some_and(|declared| declared.starts_with("multipart/")) => {
                assert_eq!(reply.status, 422, "{}: {}", sample.why, reply.text);
            }
            None => {
                assert_eq!(reply.status, 415, "{} ({:?}): {}", sample.why, sample.name, reply.text);
                assert_eq!(reply.error_code(), "UnsupportedFileTypeException");
            }
        }
    }
    assert_eq!(objects(&app), stored);
    quota(&app).await.has(json!({"used_files": stored, "reserved_bytes": 0}));
    for file in app.get("files?limit=500").service().rows().await {
        let (path, name) = (file["file_path"].text(), file["filename"].text());
        assert!(path.starts_with("users/auth0|a/files/2026/01/"), "{path}");
        assert!(!path.contains("..") && !path.contains('\\') && path.matches('/').count() == 5, "{path}");
        assert!(!name.contains(['/', '\\', '\u{202e}', '\0', '\r', '\n', '"']), "{name:?}");
        assert!(name.chars().count() <= 255 && path.len() < 700, "{name:?}");
    }
}

/// Whatever a name does to the form, the answer is no fault of ours, and nothing wrong is stored.
#[tokio::test]
async fn names_that_break_the_form_are_answered() {
    let (app, _user) = TestApp::with_user(&[]).await;
    for sample in hostile_files().iter().filter(|sample| sample.content.len() < 10_000) {
        let reply = send(&app, &sample.name, sample).await;
        assert!(
            [200, 413, 415, 422].contains(&reply.status),
            "{} ({:?}): {}",
            sample.why,
            sample.name,
            reply.text
        );
    }
    let files = app.get("files?limit=500").service().rows().await;
    assert_eq!(objects(&app), files.len());
    quota(&app).await.has(json!({"used_files": files.len(), "reserved_bytes": 0}));
}
