//! Rate limits of requests (HTTP contract 1.12). The clock of the service stands still, so counts are exact.

use gateway::http::route::Access;
use web::{AccessRule as _, RouteLimit};

use super::assert_documented_error;
use crate::{examples, issuers::Auth0, own_logins::log_in, prelude::*};

const ON: (&str, &str) = ("RATE_LIMIT_ENABLED", "true");
const BALANCE: &str = "/api/v1/users/auth0%7Ca/credits/balance";
const CONSUME: &str = "/api/v1/users/auth0%7Ca/credits/consume";

/// Asserts that an answer is the documented 429 of a class.
#[track_caller]
fn assert_limited(reply: &TestReply, class: &str, (limit, window): (u64, u64), retry_after: u64) {
    assert_eq!((reply.status, &*reply.error_code()), (429, "RateLimitExceededException"), "{}", reply.text);
    assert_documented_error(&reply.text);
    reply.has(json!({
        "error_details.limit": limit,
        "error_details.window_seconds": window,
        "error_details.retry_after": retry_after,
    }));
    assert_eq!(reply.header("retry-after"), retry_after.to_string());
    assert_eq!(reply.header("ratelimit-policy"), format!("\"{class}\";q={limit};w={window}"));
    assert!(reply.header("ratelimit").starts_with(&format!("\"{class}\";r=0;t=")), "{reply:?}");
}

#[tokio::test]
async fn the_limits_are_those_of_the_contract() {
    let (app, user) = TestApp::with_user(&[ON]).await;
    let own = app.get(BALANCE).by(&user).expect(200).await;
    assert_eq!(own.header("ratelimit-policy"), "\"user\";q=200;w=2");
    assert_eq!(own.header("ratelimit"), "\"user\";r=198;t=1", "the first request made the user");
    let open = app.get("/").expect(200).await;
    assert_eq!(open.header("ratelimit-policy"), "\"anonymous\";q=40;w=2");
    assert_eq!(open.header("ratelimit"), "\"anonymous\";r=39;t=1");
    let token = app.post("/auth/dev-token?user_id=a&email=a@example.com").expect(200).await;
    assert_eq!(token.header("ratelimit"), "\"anonymous\";r=38;t=1");
}

#[tokio::test]
async fn a_user_has_a_burst_and_then_a_rate() {
    let variables = [ON, ("RATE_LIMIT_USER", "2"), ("RATE_LIMIT_USER_BURST", "4")];
    let (app, user) = TestApp::with_user(&variables).await;
    let other = app.user("auth0|b").await;
    for left in ["2;t=1", "1;t=2", "0;t=2"] {
        let reply = app.get(BALANCE).by(&user).expect(200).await;
        assert_eq!(reply.header("ratelimit"), format!("\"user\";r={left}"));
    }
    let refused = app.get(BALANCE).by(&user).await;
    assert_limited(&refused, "user", (4, 2), 1);
    assert_eq!(refused.header("cache-control"), "no-store");
    app.get("/api/v1/users/me").by(&other).expect(200).await;
    for _ in 0..20 {
        let reply = app.get(BALANCE).service().expect(200).await;
        assert_eq!(reply.header("ratelimit"), "", "a service without a limit");
    }
    app.clock().advance(Duration::milliseconds(499));
    app.get(BALANCE).by(&user).expect(429).await;
    app.clock().advance(Duration::milliseconds(1));
    app.get(BALANCE).by(&user).expect(200).await;
    app.get(BALANCE).by(&user).expect(429).await;
    app.clock().advance(Duration::seconds(60));
    let full = app.get(BALANCE).by(&user).expect(200).await;
    assert_eq!(full.header("ratelimit"), "\"user\";r=3;t=1", "never more than a burst");
    let text = app.get("/metrics").expect(200).await.text;
    assert!(text.contains("user_service_rate_limited_total{class=\"user\"}"), "{text}");
}

#[tokio::test]
async fn an_administrator_is_a_user() {
    let variables = [ON, ("RATE_LIMIT_USER_BURST", "2"), ("ADMIN_USER_IDS", "auth0|root")];
    let app = TestApp::start_with(&variables).await;
    let admin = app.user("auth0|root").await;
    app.get("/api/v1/prices").by(&admin).expect(200).await;
    app.get("/api/v1/prices").by(&admin).refused(429, "RateLimitExceededException").await;
}

/// Open routes and refused credentials share the budget of their address; valid credentials do not need it.
#[tokio::test]
async fn requests_without_a_valid_credential_are_counted_by_address() {
    let variables = [ON, ("RATE_LIMIT_ANONYMOUS", "1"), ("RATE_LIMIT_ANONYMOUS_BURST", "4")];
    let (app, user) = TestApp::with_user(&variables).await;
    app.get("/").expect(200).await;
    let missing = app.get(BALANCE).refused(401, "AuthenticationException").await;
    assert_eq!(missing.header("ratelimit"), "\"anonymous\";r=2;t=2");
    assert_eq!(missing.header("www-authenticate"), "Bearer");
    app.get(BALANCE).token("invalid").refused(401, "AuthenticationException").await;
    // Nothing is counted that reaches no route.
    for _ in 0..5 {
        app.get("/nowhere").expect(404).await;
        assert_eq!(app.post("/livez").expect(405).await.header("ratelimit"), "");
    }
    app.get("/api/v1/subscriptions/plans").expect(200).await;
    for refused in
        [app.get("/"), app.get(BALANCE), app.get(BALANCE).token("invalid"), app.get("/openapi.json")]
    {
        assert_limited(&refused.await, "anonymous", (4, 4), 1);
    }
    app.get(BALANCE).by(&user).expect(200).await;
    app.get(BALANCE).service().expect(200).await;
    app.clock().advance(Duration::seconds(1));
    app.get(BALANCE).expect(401).await;
    app.get(BALANCE).expect(429).await;
}

/// A revoked key is as invalid as any other text, though it was made here.
#[tokio::test]
async fn a_revoked_key_costs_the_budget_of_its_address() {
    let variables = [ON, ("RATE_LIMIT_ANONYMOUS", "1"), ("RATE_LIMIT_ANONYMOUS_BURST", "3")];
    let (app, _user) = TestApp::with_user(&variables).await;
    let body = json!({"name": "a", "scopes": ["service"], "rate_limit_per_second": 5});
    let key = app.post("/api/v1/api-keys").service().json(body).data().await;
    let balance = || app.get(BALANCE).token(key["key"].text());
    let valid = balance().expect(200).await;
    assert_eq!(valid.header("ratelimit-policy"), "\"service\";q=10;w=2");
    assert_eq!(valid.header("ratelimit"), "\"service\";r=9;t=1");
    // Its first use was charged to the address.
    app.clock().advance(Duration::seconds(1));
    app.delete(&format!("/api/v1/api-keys/{}", key["key_id"].text())).service().expect(200).await;
    for left in ["r=2", "r=1", "r=0"] {
        let refused = balance().refused(401, "AuthenticationException").await;
        assert!(refused.header("ratelimit").starts_with(&format!("\"anonymous\";{left};")), "{refused:?}");
    }
    assert_limited(&balance().await, "anonymous", (3, 3), 1);
}

/// Texts of keys that are well formed and that no other database knows.
async fn foreign_keys(count: usize) -> Vec<String> {
    let app = TestApp::start().await;
    let mut keys = Vec::new();
    for _ in 0..count {
        let made = app.post("/api/v1/api-keys").service().json(json!({"name": "a", "scopes": ["service"]}));
        keys.push(made.data().await["key"].text().to_owned());
    }
    keys
}

/// Without a database each look-up is a 503, so their number is seen.
#[tokio::test]
async fn unknown_keys_are_looked_up_at_the_expense_of_their_address() {
    let keys = foreign_keys(30).await;
    for (path, environment) in [(BALANCE, "development"), ("/metrics", "production")] {
        let variables = [
            ON,
            ("RATE_LIMIT_ANONYMOUS", "1"),
            ("RATE_LIMIT_ANONYMOUS_BURST", "5"),
            ("TRUSTED_PROXIES", "127.0.0.1"),
            ("ENVIRONMENT", environment),
        ];
        let app = TestApp::start_with(&variables).await;
        let first = app.get(path).token(&keys[0]).header("X-Forwarded-For", "198.51.100.1").expect(401).await;
        if path == BALANCE {
            assert_eq!(first.header("ratelimit"), "\"anonymous\";r=4;t=1");
        }
        app.app().disconnect();
        let ask = |key: &String| app.get(path).token(key).header("X-Forwarded-For", "198.51.100.1").send();
        let mut asked = JoinSet::new();
        keys.iter().for_each(|key| drop(asked.spawn(ask(key))));
        let statuses: Vec<u16> = asked.join_all().await.into_iter().map(|reply| reply.status).collect();
        let count = |status| statuses.iter().filter(|found| **found == status).count();
        assert_eq!((count(503), count(429)), (4, 26), "{path}: {statuses:?}");
        app.get(path).token(&keys[1]).header("X-Forwarded-For", "198.51.100.2").expect(503).await;
        app.clock().advance(Duration::seconds(1));
        app.get(path).token(&keys[1]).header("X-Forwarded-For", "198.51.100.1").expect(503).await;
        app.get(path).token(&keys[1]).header("X-Forwarded-For", "198.51.100.1").expect(429).await;
    }
}

/// The first requests of a valid key cost its address one look-up, and then none.
#[tokio::test]
async fn a_valid_key_is_looked_up_once_also_by_many_requests_at_once() {
    let variables = [ON, ("RATE_LIMIT_ANONYMOUS", "1"), ("RATE_LIMIT_ANONYMOUS_BURST", "2")];
    let (app, _user) = TestApp::with_user(&variables).await;
    let body = json!({"name": "a", "scopes": ["service"]});
    let key = app.post("/api/v1/api-keys").service().json(body).data().await["key"].text().to_owned();
    let mut asked = JoinSet::new();
    for _ in 0..30 {
        asked.spawn(app.get(BALANCE).token(&key).send());
    }
    for reply in asked.join_all().await {
        assert_eq!((reply.status, reply.header("ratelimit")), (200, ""), "{reply:?}");
    }
    app.get("/").expect(200).await;
    app.get("/").expect(429).await;
    app.get(BALANCE).token(&key).expect(200).await;
}

/// An address without rest causes no fetch of keys, and does not use up the one of the minute.
#[tokio::test]
async fn unknown_key_names_of_an_exhausted_address_cause_no_fetch() {
    let auth0 = Auth0::start().await;
    let variables = [
        ON,
        ("RATE_LIMIT_ANONYMOUS", "1"),
        ("RATE_LIMIT_ANONYMOUS_BURST", "2"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let app = auth0.app(&variables).await;
    let ask = |token: &str, address: &str| app.get(BALANCE).token(token).header("X-Forwarded-For", address);
    let known = auth0.token(&app, "auth0|a", json!({}));
    ask(&known, "198.51.100.1").expect(404).await;
    assert_eq!(auth0.fetches(), 1);
    for status in [200, 200, 429] {
        app.get("/").header("X-Forwarded-For", "198.51.100.1").expect(status).await;
    }
    for number in 0..20 {
        let token = auth0.token_of_key(&app, &format!("unknown-{number}"), "auth0|a", json!({}));
        assert_limited(&ask(&token, "198.51.100.1").await, "anonymous", (2, 2), 1);
    }
    assert_eq!(auth0.fetches(), 1);
    ask(&known, "198.51.100.1").expect(404).await;
    let token = auth0.token_of_key(&app, "unknown", "auth0|a", json!({}));
    let refused = ask(&token, "198.51.100.2").refused(401, "AuthenticationException").await;
    assert_eq!(refused.header("ratelimit"), "\"anonymous\";r=1;t=1", "it is charged once");
    assert_eq!(auth0.fetches(), 2);
}

#[tokio::test]
async fn probes_and_metrics_are_never_limited() {
    let variables = [ON, ("RATE_LIMIT_ANONYMOUS", "1"), ("RATE_LIMIT_ANONYMOUS_BURST", "1")];
    let app = TestApp::start_with(&variables).await;
    app.get("/").expect(200).await;
    app.get("/").expect(429).await;
    for _ in 0..5 {
        for path in ["/livez", "/readyz", "/health", "/metrics"] {
            let reply = app.get(path).expect(200).await;
            assert_eq!((reply.header("ratelimit"), reply.header("ratelimit-policy")), ("", ""), "{path}");
        }
    }
    app.get("/").expect(429).await;
}

/// Each route is counted, by the class that its access rule says.
#[tokio::test]
async fn every_route_has_a_class() {
    let variables = [ON, ("TRUSTED_PROXIES", "127.0.0.1"), ("DEVELOPMENT_ON_NETWORK", "true")];
    let (app, user) = TestApp::with_user(&variables).await;
    for (number, route) in examples::routes().enumerate() {
        let name = format!("{} {}", route.method, route.path);
        let request = examples::request(&app, route, &user).await;
        let reply = request.header("X-Forwarded-For", &format!("198.51.100.{number}")).await;
        let expected = match route.access.limit() {
            RouteLimit::Unlimited => "",
            RouteLimit::General => "\"anonymous\";r=39;t=1",
            RouteLimit::Login => "\"login\";r=9;t=6",
        };
        assert_eq!(reply.header("ratelimit"), expected, "{name}: {}", reply.text);
        let is_exempt = ["/livez", "/readyz", "/health", "/metrics"].contains(&route.path);
        assert_eq!(is_exempt, expected.is_empty(), "{name}");
        let logins =
            ["register", "email-login", "wechat-login", "forgot-password", "reset-password", "confirm-email"];
        let is_login = logins.iter().any(|login| route.path == format!("/api/auth/{login}"));
        assert_eq!(is_login, route.access == Access::Login, "{name}");
    }
}

/// Logins of an address: whatever account they name, and whether it exists.
#[tokio::test]
async fn logins_are_counted_by_address() {
    let app = TestApp::start_with(&[ON, ("RATE_LIMIT_LOGIN", "3"), ("TRUSTED_PROXIES", "127.0.0.1")]).await;
    for (number, left) in [(1, "r=2;t=20"), (2, "r=1;t=40"), (3, "r=0;t=60")] {
        let reply = login(&app, &format!("user{number}@example.com"), "198.51.100.1").expect(401).await;
        assert_eq!(reply.header("ratelimit"), format!("\"login\";{left}"));
    }
    // Judged before the body, which has no account here.
    let reset =
        app.post("/api/auth/reset-password").header("X-Forwarded-For", "198.51.100.1").body("{").await;
    assert_limited(&reset, "login", (3, 60), 20);
    login(&app, "user4@example.com", "198.51.100.2").expect(401).await;
    // Logins and other requests do not use up each other.
    app.get("/").header("X-Forwarded-For", "198.51.100.1").expect(200).await;
    app.clock().advance(Duration::seconds(20));
    login(&app, "user1@example.com", "198.51.100.1").expect(401).await;
}

/// A stranger at one address cannot lock the owner out; many addresses that guess one account are slowed.
#[tokio::test]
async fn logins_are_counted_by_account() {
    let app = TestApp::start_with(&[ON, ("RATE_LIMIT_LOGIN", "5"), ("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let password = json!({"email": "owner@example.com", "password": "correct horse battery"});
    app.post("/api/auth/register").header("X-Forwarded-For", "192.0.2.9").json(&password).expect(200).await;
    for account in ["owner@example.com", "nobody@example.com"] {
        app.clock().advance(Duration::minutes(5));
        for _ in 0..5 {
            login(&app, account, "198.51.100.1").expect(401).await;
        }
        login(&app, account, "198.51.100.1").expect(429).await;
        let owner = login(&app, account, "192.0.2.9");
        if account == "owner@example.com" {
            let body =
                app.post("/api/auth/email-login").header("X-Forwarded-For", "192.0.2.9").json(&password);
            body.expect(200).await;
        } else {
            owner.expect(401).await;
        }
        // Two charges by the stranger, one by the owner, two by these two.
        login(&app, &account.to_uppercase(), "198.51.100.3").expect(401).await;
        login(&app, account, "2001:db8::1").expect(401).await;
        for address in ["198.51.100.4", "198.51.100.3", "2001:db8::2"] {
            let refused = login(&app, account, address).await;
            assert_limited(&refused, "login", (5, 60), 12);
        }
        login(&app, "other@example.com", "198.51.100.4").expect(401).await;
        app.clock().advance(Duration::seconds(12));
        login(&app, account, "198.51.100.5").expect(401).await;
        login(&app, account, "198.51.100.5").expect(429).await;
    }
}

/// A stolen token does not help to guess the password.
#[tokio::test]
async fn a_change_of_the_password_counts_as_a_login() {
    let variables = [ON, ("RATE_LIMIT_LOGIN", "3"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let app = TestApp::start_with(&variables).await;
    let body = json!({"email": "owner@example.com", "password": "correct horse battery"});
    let post = |path: &str, address: &str| app.post(path).header("X-Forwarded-For", address);
    post("/api/auth/register", "192.0.2.9").json(&body).expect(200).await;
    let tokens = post("/api/auth/email-login", "192.0.2.9").json(&body).ok().await;
    app.clock().advance(Duration::minutes(5));
    let change = |current: &str, address: &str| {
        let body = json!({"current_password": current, "new_password": "battery correct horse"});
        let request = post("/api/auth/change-password", address).json(&body);
        request.token(tokens["access_token"].text())
    };
    for _ in 0..3 {
        let wrong = change("wrong battery staple", "198.51.100.1").expect(401).await;
        assert!(wrong.header("ratelimit").starts_with("\"user\";"), "{wrong:?}");
    }
    assert_limited(&change("correct horse battery", "198.51.100.1").await, "login", (3, 60), 20);
    login(&app, "other@example.com", "198.51.100.1").expect(429).await;
    // Many addresses are counted by the account, which was charged twice by the first one.
    change("wrong battery staple", "198.51.100.2").expect(401).await;
    assert_limited(&change("correct horse battery", "198.51.100.3").await, "login", (3, 60), 20);
    login(&app, "Owner@example.com", "198.51.100.4").expect(429).await;
    assert_eq!(crate::accounts::audited(&app, "login.refused").await, 4);
}

/// A login with a wrong password, from this address.
fn login(app: &TestApp, email: &str, address: &str) -> TestRequest {
    let body = json!({"email": email, "password": "wrong battery staple"});
    app.post("/api/auth/email-login").header("X-Forwarded-For", address).json(body)
}

#[tokio::test]
async fn limits_come_before_rights_and_the_body() {
    let variables = [ON, ("RATE_LIMIT_USER", "1"), ("RATE_LIMIT_USER_BURST", "2")];
    let (app, user) = TestApp::with_user(&variables).await;
    app.get("/api/v1/users/auth0%7Cb/credits/balance").by(&user).expect(403).await;
    for (method, path) in [
        ("GET", "/api/v1/users/auth0%7Cb/credits/balance"),
        ("GET", "/api/v1/users/auth0%7Cb/credits/holds"),
        ("PUT", "/api/v1/prices"),
        ("GET", "/api/v1/users/me"),
    ] {
        let reply = app.request(method.parse().unwrap(), path).by(&user).body("{").await;
        assert_limited(&reply, "user", (2, 2), 1);
    }
    app.get("/nowhere").by(&user).expect(404).await;
    app.request("PATCH".parse().unwrap(), BALANCE).by(&user).expect(405).await;
    // No byte of the body is waited for.
    let head = format!(
        "POST {CONSUME} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 1000\r\n\r\n",
        user.token
    );
    answered(&super::raw(&app, &head).await, 429, &["RateLimitExceededException"]);
    let head = format!("POST {CONSUME} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
    answered(&super::raw(&app, &head).await, 401, &["AuthenticationException"]);
}

/// The head of such a request is judged twice, before and with its body.
#[tokio::test]
async fn a_request_that_asks_to_continue_is_counted_once() {
    let variables = [ON, ("RATE_LIMIT_USER_BURST", "3")];
    let (app, user) = TestApp::with_user(&variables).await;
    let head = format!(
        "POST {CONSUME} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 12\r\nExpect: 100-continue\r\n\r\n",
        user.token
    );
    let request = format!("{head}{{\"amount\":1}}");
    for left in ["r=1", "r=0"] {
        let answer = super::raw(&app, &request).await;
        answered(&answer, 100, &["HTTP/1.1 200 OK", &format!("ratelimit: \"user\";{left}")]);
    }
    answered(&super::raw(&app, &head).await, 429, &[]);
}

/// The client writes what it likes to the left of what the proxies add.
#[tokio::test]
async fn behind_a_trusted_proxy_the_address_is_the_last_one_before_it() {
    let variables = [ON, ("RATE_LIMIT_ANONYMOUS_BURST", "2"), ("TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8")];
    let app = TestApp::start_with(&variables).await;
    let left = async |forwarded: &str| {
        let reply = app.get("/").header("X-Forwarded-For", forwarded).await;
        match reply.header("ratelimit") {
            level if reply.status == 200 => level.as_bytes()[14] - b'0',
            _ => panic!("{forwarded}: {}", reply.text),
        }
    };
    assert_eq!(left("198.51.100.1").await, 1);
    assert_eq!(left("203.0.113.1, 198.51.100.1").await, 0);
    for spoofed in ["203.0.113.2, 198.51.100.1", "198.51.100.1, 10.1.1.1", "a, 127.0.0.1,198.51.100.1:99"] {
        app.get("/").header("X-Forwarded-For", spoofed).expect(429).await;
    }
    assert_eq!(left("198.51.100.1, 198.51.100.2").await, 1, "another client");
    // A network of IPv6 is one client, an IPv4 address in IPv6 form is that address.
    assert_eq!(left("2001:db8:0:1::1").await, 1);
    assert_eq!(left("2001:db8:0:1:ffff::2").await, 0);
    assert_eq!(left("2001:db8:0:2::1").await, 1);
    app.get("/").header("X-Forwarded-For", "::ffff:198.51.100.1").expect(429).await;
    // What is no address leaves the proxy as the client.
    assert_eq!(left("198.51.100.9, unknown").await, 1);
    assert_eq!(left("").await, 0);
    app.get("/").expect(429).await;
}

#[tokio::test]
async fn without_trusted_proxies_a_forwarded_address_says_nothing() {
    let app = TestApp::start_with(&[ON, ("RATE_LIMIT_ANONYMOUS_BURST", "2")]).await;
    for status in [200, 200, 429, 429] {
        app.get("/").header("X-Forwarded-For", &format!("198.51.100.{status}")).expect(status).await;
    }
    let text = app.get("/metrics").expect(200).await.text;
    assert!(text.contains("user_service_forwarded_addresses_ignored_total "), "{text}");
}

#[tokio::test]
async fn limits_can_be_switched_off() {
    let variables = [("RATE_LIMIT_ENABLED", "false"), ("RATE_LIMIT_ANONYMOUS_BURST", "1")];
    let app = TestApp::start_with(&variables).await;
    for _ in 0..5 {
        assert_eq!(app.get("/").expect(200).await.header("ratelimit"), "");
        app.get(BALANCE).expect(401).await;
    }
}

/// Whoever has a token of an ended login spends the budget of their address and not that of the user.
#[tokio::test]
async fn a_token_of_an_ended_login_uses_up_nothing_of_its_user() {
    let variables = [ON, ("RATE_LIMIT_USER_BURST", "8"), ("RATE_LIMIT_ANONYMOUS_BURST", "100")];
    let (app, _) = TestApp::with_user(&variables).await;
    for path in ["/api/v1/users/email%7Ca/credits/balance", "/api/v1/users/me"] {
        let (ended, live) = (log_in(&app, "email|a").await, log_in(&app, "email|a").await);
        app.post("/api/auth/logout").by(&ended.user).json(json!({})).expect(200).await;
        app.clock().advance(Duration::seconds(10));
        for _ in 0..20 {
            app.get(path).by(&ended.user).refused(401, "AuthenticationException").await;
        }
        app.get(path).by(&live.user).expect(200).await;
    }
}
