//! Paths that a client may rewrite before it sends them.

use super::raw;
use crate::prelude::*;

/// Segments that a client resolves (`/users/../usage` is `/usage`), as they are and encoded, and names of routes.
const NO_IDS: [&str; 8] = [".", "..", "%2e", "%2E%2e", ".%2e", "%2E.", "me", "ensure"];

#[tokio::test]
async fn a_segment_that_clients_resolve_names_no_user() {
    let app = TestApp::start().await;
    for segment in NO_IDS {
        for rest in ["usage/export", "usage/timeseries", "usage", "credits/balance", "sessions"] {
            // As it is: the client of the other tests would resolve it.
            let answer = raw(
                &app,
                &format!(
                    "GET /api/v1/users/{segment}/{rest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                     X-API-Key: {SERVICE_KEY}\r\n\r\n"
                ),
            )
            .await;
            assert!(answer.starts_with("HTTP/1.1 422"), "{segment}/{rest}: {answer}");
            assert!(answer.contains("are no user ids"), "{segment}/{rest}: {answer}");
        }
    }
}

#[tokio::test]
async fn no_request_names_a_user_by_such_a_segment() {
    let app = TestApp::start().await;
    for id in [".", "..", "me", "ensure"] {
        let reply = app.get("/api/v1/users/me").service().header("X-User-Id", id).await;
        assert!(reply.expect(422).text.contains("are no user ids"), "{id}");
        let ensure = json!({"auth0_id": id, "email": "a@example.com", "name": "A"});
        let reply = app.post("/api/v1/users/ensure").service().json(&ensure).await;
        assert!(reply.expect(422).text.contains("are no user ids"), "{id}");
        let path = format!("/auth/dev-token?user_id={id}&email=a@example.com");
        assert!(app.post(&path).expect(422).await.text.contains("are no user ids"), "{id}");
        let batch = json!({"records": [{"user_id": id, "event_type": "e"}]});
        let reply = app.post("/api/v1/usage/batch").service().json(&batch).await;
        let failed = reply.expect(200).json()["data"]["results"][0].clone();
        assert_eq!(failed["error_code"], "ValidationException", "{failed}");
    }
}
