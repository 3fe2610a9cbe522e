//! The access rule of every route, tried with every kind of caller (I9).

use gateway::http::route::{Access, Route};
use identity::{
    Activity,
    users::{self, UserChange},
};
use pg::Tx;
use web::AccessRule as _;

use crate::prelude::*;
use crate::{
    examples,
    own_logins::{self, log_in},
};

mod callers;
mod hostile_tokens;
mod identities;
mod tokens;

async fn call(app: &TestApp, route: &Route, owner: &TestUser, token: &str) -> TestReply {
    examples::request(app, route, owner).await.token(token).await
}

fn authenticated() -> impl Iterator<Item = &'static Route> {
    examples::routes().filter(|route| route.access.is_authenticated())
}

fn name(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

/// A request of a caller who has to say for whom it is.
fn named(route: &Route, request: TestRequest, user: &TestUser) -> TestRequest {
    let is_named = matches!(route.access, Access::NamedUser | Access::NamedRecharge);
    if is_named { request.header("X-User-Id", user.id.as_str()) } else { request }
}

/// A request of an administrator, who is themselves unless they name another user.
fn by_administrator(route: &Route, request: TestRequest, user: &TestUser) -> TestRequest {
    if route.path.contains("{session_id}") { named(route, request, user) } else { request }
}

/// Asserts status and error code of the answer of a route.
#[track_caller]
fn refused(route: &Route, reply: &TestReply, status: u16, code: &str) {
    assert_eq!((reply.status, &*reply.error_code()), (status, code), "{}: {}", name(route), reply.text);
}

#[track_caller]
fn ok(route: &Route, reply: &TestReply) {
    match route.operation {
        unconfigured if examples::UNCONFIGURED.contains(&unconfigured) => {
            refused(route, reply, 503, "ProviderNotConfiguredException");
        }
        // The users of these tests have no password.
        "change_password" => refused(route, reply, 401, "InvalidCredentialsException"),
        _ => assert_eq!(reply.status, 200, "{}: {}", name(route), reply.text),
    }
}

/// Services, and administrators with tokens of others, have no login here.
#[track_caller]
fn ok_for_staff(route: &Route, reply: &TestReply) {
    match route.access {
        Access::OwnLogin => refused(route, reply, 403, "PermissionDeniedException"),
        _ => ok(route, reply),
    }
}

#[tokio::test]
async fn without_a_credential_every_closed_route_is_401() {
    let (app, user) = TestApp::with_user(&[]).await;
    for route in authenticated() {
        for (header, value) in
            [("X-None", "x"), ("Authorization", "Basic dXNlcjpwYXNz"), ("Authorization", "Bearer ")]
        {
            let request = examples::request(&app, route, &user).await.header("Accept-Language", "en");
            let reply = request.header(header, value).await;
            assert_eq!(reply.status, 401, "{} with {value:?}: {}", name(route), reply.text);
            assert_eq!(reply.error_code(), "AuthenticationException");
            assert_eq!(reply.json()["detail"], "Not authenticated");
            assert_eq!(reply.header("www-authenticate"), "Bearer");
        }
    }
}

#[tokio::test]
async fn no_bad_token_opens_any_route() {
    let (app, user) = TestApp::with_user(&[]).await;
    let things = examples::Things::session(examples::session_of(&app, &user).await);
    for route in authenticated() {
        for (what, token) in tokens::bad_tokens("auth0|a", app.clock().now()) {
            let request = examples::request_on(&app, route, &user, &things).header("Accept-Language", "en");
            let reply = request.token(&token).await;
            assert_eq!(reply.status, 401, "{} with a token {what}: {}", name(route), reply.text);
            assert_eq!(reply.json()["detail"], "Could not validate credentials");
            let code =
                if what == "that has expired" { "TokenExpiredException" } else { "AuthenticationException" };
            assert_eq!(reply.error_code(), code, "{what}");
        }
    }
}

#[tokio::test]
async fn two_different_credentials_are_refused_and_equal_ones_are_not() {
    let (app, user) = TestApp::with_user(&[]).await;
    for route in authenticated() {
        let both = examples::request(&app, route, &user).await.by(&user).service().await;
        assert_eq!(both.status, 401, "{}", name(route));
    }
    let path = "/api/v1/users/auth0%7Ca/credits/balance";
    assert_eq!(app.get(path).token(testkit::SERVICE_KEY).service().await.status, 200);
    assert_eq!(app.get(path).token(testkit::SERVICE_KEY).await.status, 200);
    assert_eq!(app.get(path).header("X-API-Key", "wrong").await.status, 401);
}

#[tokio::test]
async fn both_keys_of_a_rotation_open_what_one_opens() {
    let keys = ["9c56cc51b374c3ba189210d5b6d4bf57", "2f1f0a9c2b7d4e8863a5d1c0f4b79e12"];
    let both = keys.join(",");
    let variables = [("ENVIRONMENT", "production"), ("USER_SERVICE_API_KEY", both.as_str())];
    let app = TestApp::start_with(&variables).await;
    app.user("auth0|a").await;
    let balance = |key| app.get("credits/balance").header("X-API-Key", key);
    for key in keys {
        balance(key).expect(200).await;
        app.get("/metrics").token(key).expect(200).await;
    }
    for key in [both.as_str(), testkit::SERVICE_KEY, &keys[0][1..]] {
        balance(key).expect(401).await;
    }
}

#[tokio::test]
async fn a_header_that_is_repeated_with_another_value_is_refused() {
    let (app, user) = TestApp::with_user(&[]).await;
    let path = "/api/v1/users/auth0%7Ca/credits/balance";
    let keys = app.get(path).service().header("X-API-Key", "other").await;
    assert_eq!(keys.status, 401, "{}", keys.text);
    let other = format!("Bearer {}", app.token("auth0|b"));
    assert_eq!(app.get(path).by(&user).header("Authorization", &other).await.status, 401);
    let named =
        app.get("/api/v1/users/me").service().header("X-User-Id", "auth0|a").header("X-User-Id", "auth0|b");
    assert_eq!(named.await.status, 422);
}

#[tokio::test]
async fn a_user_never_touches_what_belongs_to_another() {
    let app = TestApp::start().await;
    let (a, b) = (app.user("auth0|a").await, app.user("auth0|b").await);
    for route in authenticated() {
        let reply = call(&app, route, &b, &a.token).await;
        match route.access {
            // Each item is judged by itself.
            Access::OwnThings if route.operation == "record_usage_batch" => {
                let items = reply.expect(200).json()["data"]["results"].clone();
                for item in items.list() {
                    assert_eq!(item["error_code"], "PermissionDeniedException");
                }
            }
            Access::OwnThings | Access::NamedUser if callers::hides_sessions(route) => {
                refused(route, &reply, 404, "SessionNotFoundException");
            }
            Access::PathUser
            | Access::Recharge
            | Access::Metering
            | Access::OwnThings
            | Access::Newcomer
            | Access::Staff
            | Access::OwnLogin
            | Access::Admin => {
                refused(route, &reply, 403, "PermissionDeniedException");
            }
            Access::HiddenPathUser | Access::StaffForPathUser | Access::OwnerOrAdmin => {
                refused(route, &reply, 404, "UserNotFoundException");
                assert_eq!(reply.json()["message"], "User not found: auth0|b", "as if they did not exist");
            }
            Access::NamedUser | Access::NamedRecharge => {
                let is_configured = !examples::UNCONFIGURED.contains(&route.operation);
                assert_eq!(
                    reply.status,
                    if is_configured { 200 } else { 503 },
                    "without a header a user is themselves"
                );
                let named = examples::request(&app, route, &b).await.by(&a).header("X-User-Id", "auth0|b");
                assert_eq!(named.await.status, 403, "{}", name(route));
            }
            Access::AnyCaller => ok(route, &reply),
            other => panic!("{other:?} needs no credential"),
        }
    }
    // Records and sums of others are hidden, and those of all users are for services and administrators.
    for (operation, access) in [
        ("export_usage", Access::HiddenPathUser),
        ("export_all_usage", Access::Staff),
        ("get_all_usage_timeseries", Access::Staff),
        ("get_usage_summary", Access::Staff),
    ] {
        let route = authenticated().find(|route| route.operation == operation).unwrap();
        assert_eq!(route.access, access, "{operation}");
    }
    let untouched = app.get("/api/v1/users/auth0%7Cb/credits/balance").by(&b).await;
    // What a service charged to have something to refund, and nothing else.
    assert_eq!(untouched.json()["data"], 974.5);
    // A user who does not exist looks the same as one who does.
    assert_eq!(app.get("/api/v1/users/auth0%7Cnobody/credits/balance").by(&a).await.status, 403);
}

#[tokio::test]
async fn services_act_for_anyone() {
    let (app, user) = TestApp::with_user(&[]).await;
    for route in authenticated() {
        let request = examples::request(&app, route, &user).await.service();
        let reply = named(route, request, &user).await;
        ok_for_staff(route, &reply);
    }
    let unnamed = app.get("/api/v1/users/me").service().expect(422).await;
    assert_eq!(unnamed.json()["detail"][0]["loc"], serde_json::json!(["header", "x-user-id"]));
    let unknown = app.get("/api/v1/users/auth0%7Cnobody/credits/balance").service().expect(404).await;
    assert_eq!(unknown.json()["message"], "User not found: auth0|nobody");
    assert_eq!(app.get("/api/v1/users/no%20id/credits/balance").service().await.status, 422);
}

#[tokio::test]
async fn administrators_act_for_anyone() {
    let app = TestApp::start_with(&[("ADMIN_USER_IDS", "auth0|root"), ("SELF_RECHARGE", "denied")]).await;
    let (admin, user) = (app.user("auth0|root").await, app.user("auth0|a").await);
    for route in authenticated() {
        let request = examples::request(&app, route, &user).await.token(&admin.token);
        ok_for_staff(route, &by_administrator(route, request, &user).await);
    }
}

#[tokio::test]
async fn a_user_who_was_never_ensured_is_404_after_the_shape_was_checked() {
    let app = TestApp::start().await;
    let (token, user) = (app.token("auth0|new"), app.user("auth0|a").await);
    let stranger = TestUser { id: testkit::user("auth0|new"), token: token.clone() };
    let things = examples::Things::session(examples::session_of(&app, &user).await);
    let is_for_users = |access: Access| {
        let others =
            [Access::Newcomer, Access::StaffForPathUser, Access::Staff, Access::Admin, Access::OwnLogin];
        !others.contains(&access)
    };
    for route in authenticated().filter(|route| is_for_users(route.access)) {
        let reply = examples::request_on(&app, route, &stranger, &things).token(&token).await;
        refused(route, &reply, 404, "UserNotFoundException");
        assert_eq!(reply.json()["message"], "User not found: auth0|new");
    }
    let malformed = app.post("/api/v1/users/auth0%7Cnew/credits/consume").token(&token).body("{}").await;
    assert_eq!(malformed.status, 422);
}

#[tokio::test]
async fn a_deactivated_user_is_403_everywhere() {
    let (app, user) = TestApp::with_user(&[]).await;
    let things = examples::Things::session(examples::session_of(&app, &user).await);
    set_active(&app, &user, Activity::Deactivated).await;
    for route in authenticated() {
        let reply = examples::request_on(&app, route, &user, &things).by(&user).await;
        refused(route, &reply, 403, "AccountDisabledException");
        // They do not learn what is wrong with their request either.
        let malformed = examples::request_on(&app, route, &user, &things).body("{");
        let malformed = malformed.by(&user).await;
        assert_eq!(malformed.status, 403, "{}: {}", name(route), malformed.text);
    }
    assert_eq!(app.balance().await, 1_000.0);
}

/// A token of this service opens what another token of the user does, until its login ends.
#[tokio::test]
async fn a_token_of_this_service_opens_routes_until_its_login_ends() {
    let app = TestApp::start().await;
    let staff = [Access::StaffForPathUser, Access::Staff, Access::Admin];
    for route in authenticated() {
        let login = log_in(&app, "email|a").await;
        let things = examples::request(&app, route, &login.user).await;
        let reply = things.by(&login.user).await;
        if staff.contains(&route.access) {
            refused(route, &reply, 403, "PermissionDeniedException");
        } else {
            ok(route, &reply);
        }
        if route.operation == "erase_user" {
            let again = examples::request_on(&app, route, &login.user, &examples::Things::default());
            refused(route, &again.by(&login.user).await, 401, "AuthenticationException");
            continue;
        }
        if route.operation != "log_out" {
            app.post("/api/auth/logout").by(&login.user).ok().await;
        }
        let request = examples::request(&app, route, &own_logins::open(&app, "email|a").await.user).await;
        refused(route, &request.token(&login.user.token).await, 401, "AuthenticationException");
    }
}

#[tokio::test]
async fn a_token_of_this_service_of_a_disabled_user_is_403_also_after_the_logout() {
    let app = TestApp::start().await;
    let logins = [log_in(&app, "email|a").await, own_logins::open(&app, "email|a").await];
    app.post("/api/auth/logout").by(&logins[0].user).ok().await;
    let things = examples::Things::session(examples::session_of(&app, &logins[1].user).await);
    set_active(&app, &logins[1].user, Activity::Deactivated).await;
    for route in authenticated() {
        for login in &logins {
            let reply = examples::request_on(&app, route, &login.user, &things).by(&login.user).await;
            refused(route, &reply, 403, "AccountDisabledException");
        }
    }
}

#[tokio::test]
async fn services_and_administrators_act_for_a_disabled_user_as_for_any_other() {
    let app = TestApp::start_with(&[("ADMIN_USER_IDS", "auth0|root")]).await;
    let (admin, user) = (app.user("auth0|root").await, app.user("auth0|a").await);
    for route in authenticated() {
        for credential in [testkit::SERVICE_KEY, &admin.token] {
            // Two versions of a price cannot begin at the same instant.
            app.clock().advance(time::Duration::seconds(1));
            if app.db().ask("SELECT count(*) FROM identity.users WHERE user_id = 'auth0|a'").await == 0 {
                // Erased by the call before.
                app.user("auth0|a").await;
            }
            // The examples are about things that the user made while active.
            set_active(&app, &user, Activity::Active).await;
            let request = examples::request(&app, route, &user).await.token(credential);
            set_active(&app, &user, Activity::Deactivated).await;
            let reply = named(route, request, &user).await;
            ok_for_staff(route, &reply);
            if route.operation != "erase_user" {
                // None of this made the user active.
                app.get("/api/v1/users/me").by(&user).refused(403, "AccountDisabledException").await;
            }
            match route.operation {
                "record_usage_batch" => {
                    let first = &reply.json()["data"]["results"][0];
                    // The example has an event id, which the second caller repeats.
                    assert_ne!(first["status"], "failed", "{first}");
                }
                "ensure_user" => {
                    let answer = reply.json();
                    assert_eq!((&answer["is_active"], &answer["created"]), (&false.into(), &false.into()));
                }
                "get_current_user" => assert_eq!(reply.json()["is_active"], false),
                _ => {}
            }
        }
    }
}

pub async fn set_active(app: &TestApp, user: &TestUser, activity: Activity) {
    let change = UserChange::activity(activity);
    let changed =
        Tx::run(app.db().pool(), async |tx| users::change(tx, app.clock(), &user.id, &change).await);
    changed.await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn open_routes_need_nothing() {
    let (app, user) = TestApp::with_user(&[]).await;
    for route in examples::routes().filter(|route| !route.access.is_authenticated()) {
        let reply = examples::request(&app, route, &user).await.await;
        ok(route, &reply);
    }
}

#[tokio::test]
async fn outside_development_recharging_oneself_dev_tokens_and_metrics_are_closed() {
    let app =
        TestApp::start_with(&[("ENVIRONMENT", "production"), ("METRICS_TOKEN", "metrics-token-of-tests")])
            .await;
    let user = app.user("auth0|a").await;
    let recharge = "/api/v1/users/auth0%7Ca/credits/recharge?amount=5";
    app.post(recharge).by(&user).refused(403, "PermissionDeniedException").await;
    assert_eq!(app.post(recharge).service().await.status, 200);
    for method in ["POST", "GET"] {
        let request = app.request(method.parse().unwrap(), "/auth/dev-token?user_id=a&email=a@example.com");
        let token = request.refused(404, "NotFoundException").await;
        assert_eq!(token.json()["error_details"]["operation"], "unrouted");
    }
    let document = app.get("/openapi.json").ok().await;
    assert!(document["paths"].get("/auth/dev-token").is_none());
    assert_eq!(app.get("/metrics").await.status, 401);
    assert_eq!(app.get("/metrics").by(&user).await.status, 403);
    assert_eq!(app.get("/metrics").token("metrics-token-of-tests").await.status, 200);
    assert_eq!(app.get("/metrics").service().await.status, 200);
}
