//! What browsers need: cross-origin rules, compression, and the documentation pages.

use super::assert_documented_error;
use crate::prelude::*;

#[tokio::test]
async fn browsers_of_allowed_origins_may_call() {
    let app = TestApp::start().await;
    let preflight = |origin: &str, method: &str| {
        app.request("OPTIONS".parse().unwrap(), "/api/v1/users/me")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", method)
            .header("Access-Control-Request-Headers", "authorization,content-type,idempotency-key,x-user-id")
    };
    let allowed = preflight("http://localhost:3000", "PATCH").await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), "http://localhost:3000");
    assert_eq!(allowed.header("access-control-allow-credentials"), "true");
    assert_eq!(allowed.header("access-control-max-age"), "600");
    let foreign = preflight("https://evil.example.com", "GET").await;
    assert_eq!(foreign.header("access-control-allow-origin"), "");
    assert_documented_error(&foreign.text);
    let refused = app.get("/api/v1/users/me").header("Origin", "http://localhost:3000").expect(401).await;
    assert_eq!(refused.header("access-control-allow-origin"), "http://localhost:3000");
    assert!(refused.header("access-control-expose-headers").contains("x-request-id"));
}

#[tokio::test]
async fn answers_are_compressed_for_who_takes_it() {
    let app = TestApp::start().await;
    let packed = app.get("/openapi.json").header("Accept-Encoding", "gzip").await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(app.get("/openapi.json").await.header("content-encoding"), "");
    let asset = app.get("/docs/assets/swagger-ui.css").header("Accept-Encoding", "gzip").await;
    assert_eq!(asset.header("content-encoding"), "gzip");
    assert_eq!(asset.header("vary").to_lowercase().matches("accept-encoding").count(), 1);
    let unwanted = app.get("/docs/assets/swagger-ui.css").header("Accept-Encoding", "gzip;q=0").await;
    assert_eq!(unwanted.header("content-encoding"), "");
    let plain = app.get("/docs/assets/swagger-ui.css").await;
    assert!(plain.text.contains(".swagger-ui"), "an embedded file is unpacked for clients without gzip");
}

#[tokio::test]
async fn small_answers_are_sent_as_they_are() {
    let app = TestApp::start().await;
    let encoding = async |path: &str, accept: &str| {
        let reply = app.get(path).header("Accept-Encoding", accept).await;
        (reply.status, reply.header("content-encoding").to_owned(), reply.header("vary").to_lowercase())
    };
    let small = app.get("/health").await;
    assert!(small.text.len() < 1_024, "{}", small.text);
    for accept in ["gzip, deflate, br", "gzip;q=0.5", "deflate", "identity", "*"] {
        assert_eq!(encoding("/health", accept).await.1, "", "{accept}");
        assert_eq!(encoding("/nowhere", accept).await.1, "", "{accept}");
    }
    for accept in ["gzip, identity;q=0", "gzip, *;q=0"] {
        assert_eq!(encoding("/health", accept).await.1, "gzip", "{accept} refuses a plain body");
    }
    assert_eq!(encoding("/health", "br, identity;q=0").await.0, 415, "none of what is accepted is offered");
    let (_, packed, vary) = encoding("/openapi.json", "deflate").await;
    assert_eq!((packed.as_str(), vary.matches("accept-encoding").count()), ("deflate", 1));
    assert!(vary.contains("accept-language") && vary.contains("origin"), "{vary}");
}

#[tokio::test]
async fn answers_to_others_than_pages_have_no_cross_origin_headers_and_vary_all_the_same() {
    let app = TestApp::start().await;
    for path in ["/livez", "/api/v1/users/me", "/nowhere"] {
        let plain = app.get(path).await;
        for name in ["allow-origin", "allow-credentials", "expose-headers"] {
            assert_eq!(plain.header(&format!("access-control-{name}")), "", "{path}");
        }
        let cross = app.get(path).header("Origin", "http://localhost:3000").await;
        assert_eq!(cross.header("access-control-allow-origin"), "http://localhost:3000");
        assert_eq!(cross.header("vary"), plain.header("vary"));
        let vary = "Accept-Language, Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        assert_eq!(plain.header("vary"), vary, "{path}");
    }
    // An origin is asked for what it may send, and nobody else.
    let nobody = app.request("OPTIONS".parse().unwrap(), "/livez");
    let nobody = nobody.header("Access-Control-Request-Method", "GET").expect(403).await;
    assert_documented_error(&nobody.text);
    assert_eq!(app.request("OPTIONS".parse().unwrap(), "/livez").await.status, 405);
}

#[tokio::test]
async fn documentation_pages_load_nothing_from_elsewhere() {
    let app = TestApp::start().await;
    for page in ["/docs", "/redoc"] {
        let reply = app.get(page).expect(200).await;
        assert!(reply.header("content-security-policy").contains("default-src 'self'"));
        assert!(!reply.text.contains("http://") && !reply.text.contains("https://"), "{}", reply.text);
        for part in reply.text.split(['"', '\'']).filter(|part| part.starts_with("/docs/assets/")) {
            assert_eq!(app.get(part).await.status, 200, "{part}");
        }
    }
    assert_eq!(app.get("/docs/assets/nothing.js").await.status, 404);
    assert_eq!(app.get("/docs/assets/..%2Fdocs.html").await.status, 404);
}
