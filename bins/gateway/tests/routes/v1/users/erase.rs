//! DELETE `/api/v1/users/{user_id}`

use std::collections::BTreeSet;

use kernel::{Ids as _, RandomIds};
use testkit::ask_texts;

use crate::{
    issuers::{Auth0, supabase_token},
    prelude::*,
};

const PATH: &str = "/api/v1/users/auth0%7Ca";

/// Every row of every table as text, with the name of the table.
const DUMP: &str = r"SELECT relation.oid::regclass || ' ' || coalesce(xpath_row::text, '') AS breach
    FROM pg_class relation
    JOIN pg_namespace space ON space.oid = relnamespace AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
    CROSS JOIN LATERAL unnest(xpath('/table/row', query_to_xml('SELECT row_to_json(t)::text AS r FROM ' || relation.oid::regclass
        || ' AS t', false, false, ''))) AS xpath_row
    WHERE relkind = 'r'";

/// Rows of all tables that have a canary, as `table canary`.
pub async fn canaries(db: &TestDb) -> BTreeSet<String> {
    let rows = ask_texts(&mut *db.connect_as_superuser().await, DUMP).await.unwrap();
    assert!(rows.iter().any(|row| row.starts_with("credits.entries ")), "the dump has the tables");
    let mut found = BTreeSet::new();
    for row in rows {
        let table = row.split(' ').next().unwrap().to_owned();
        let words = row.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for word in words.filter(|word| word.starts_with("canary")) {
            found.insert(format!("{table} {word}"));
        }
    }
    found
}

/// Calls every route with a canary in every field that takes a text.
async fn write_canaries(app: &TestApp, user: &TestUser) {
    let free = |name: &str| json!({ "c": format!("canary_{name}") });
    let post = async |path: &str, body: Value| {
        let reply =
            app.post(&format!("{PATH}{path}")).service().key("canary_key_of_service").json(body).await;
        reply.expect(200).json()
    };
    let by_user = async |path: &str, key: &str, body: Value| {
        app.post(&format!("{PATH}{path}")).by(user).key(key).json(body).await.expect(200).json()
    };
    by_user("/credits/consume", "canary_key_of_user", json!({
        "amount": 1, "reason": "canary_reason", "description": "canary_consume", "endpoint": "canary_endpoint_of_charge",
        "metadata": free("consume"),
    })).await;
    by_user("/credits/recharge", "canary_key_of_recharge", json!({
        "amount": 1, "description": "canary_recharge", "reference_id": "canary_payment", "metadata": free("recharge"),
    })).await;
    let charge = post("/credits/consume", json!({"amount": 2, "description": "canary_charge"})).await;
    let grant = json!({"amount": 1, "reference_id": "canary_gift", "description": "canary_grant", "metadata": free("grant")});
    app.post(&format!("{PATH}/credits/grants")).service().json(&grant).expect(200).await;
    let scheduled = json!({"amount": 1, "effective_at": app.clock().now() + Duration::DAY, "description": "canary_scheduled"});
    app.post(&format!("{PATH}/credits/grants")).service().json(rfc3339(scheduled, app)).expect(200).await;
    let refund = json!({"transaction_id": charge["data"]["transaction_id"], "reason": "canary_refund"});
    app.post(&format!("{PATH}/credits/refund")).service().json(refund).expect(200).await;
    for key in ["canary_key_of_hold", "canary_key_of_other_hold"] {
        let hold = by_user(
            "/credits/holds",
            key,
            json!({"amount": 1, "description": "canary_hold", "metadata": free("hold")}),
        )
        .await;
        if key == "canary_key_of_hold" {
            let capture = json!({"amount": 1, "description": "canary_capture", "metadata": free("capture")});
            let path = format!("/credits/holds/{}/capture", hold["data"]["hold_id"].text());
            by_user(&path, "canary_key_of_capture", capture).await;
        }
    }
    let budgets = json!({"budgets": [{"period": "day", "limit": 100}]});
    app.put(&format!("{PATH}/credits/budgets")).service().json(budgets).expect(200).await;
    by_user("/usage", "canary_key_of_usage", json!({
        "session_id": "canary_session", "trace_id": "canary_trace", "event_id": "canary_event", "endpoint": "canary_endpoint",
        "event_type": "canary_type", "model_name": "canary_model", "provider": "canary_provider", "tool_name": "canary_tool",
        "operation_name": "canary_operation", "calculation_method": "canary_method", "credits_charged": 1, "charge": true,
        "billing_metadata": free("billing"), "request_data": free("request"), "response_data": free("response"),
    })).await;
    let record = json!({"endpoint": "/x", "event_type": "t", "event_id": "canary_event"});
    app.post(&format!("{PATH}/usage")).service().json(record).expect(200).await;
    let session = by_user(
        "/sessions",
        "canary_key",
        json!({
            "title": "canary_title", "conversation_data": free("conversation"), "metadata": free("session"),
        }),
    )
    .await;
    let messages = format!("/api/v1/sessions/{}/messages", session["session_id"].text());
    app.post(&messages).by(user).json(json!({
        "role": "user", "content": "canary_content", "message_type": "canary_type_2", "tool_call_id": "canary_call",
        "tool_calls": [{"c": "canary_calls"}], "message_metadata": free("message"),
    })).expect(200).await;
}

/// The example with the instant as the API reads it.
fn rfc3339(mut body: Value, app: &TestApp) -> Value {
    body["effective_at"] = json!(kernel::rfc3339(app.clock().now() + Duration::DAY));
    body
}

/// The properties of own accounts.
const ACCOUNT: &str = "UPDATE identity.users SET avatar_url = 'https://canary_avatar.example.com/' WHERE user_id = 'auth0|a';
        INSERT INTO identity.credentials (user_id, login_email_folded, password_hash, created_at, updated_at)
        VALUES ('auth0|a', 'canary_login@example.com', '$argon2id$canary_hash', now(), now());
        INSERT INTO identity.mails (id, sealed, attempt_at, created_at) VALUES (gen_random_uuid(), 'canary_mail', 'infinity', now());
        INSERT INTO identity.mail_links (user_id, mail_id, digest, purpose, email_folded, expires_at)
        SELECT 'auth0|a', id, sha256('x'), 'confirm', 'canary_link@example.com', now() + interval '1 hour' FROM identity.mails;
        INSERT INTO identity.logins (user_id, id, refresh_digest, created_at, rotated_at, expires_at)
        VALUES ('auth0|a', gen_random_uuid(), sha256('canary'), now(), now(), now() + interval '1 hour')";

/// Texts that stay by the contract: identities of payments, and the dimensions of usage.
const KEPT: &[&str] = &[
    "credits.entries canary_gift",
    "credits.entries canary_payment",
    "credits.grants canary_gift",
    "credits.grants canary_payment",
    "identity.audit_events canary_gift",
    "identity.audit_events canary_payment",
    "usage.records_default canary_endpoint",
    "usage.records_default canary_method",
    "usage.records_default canary_model",
    "usage.records_default canary_operation",
    "usage.records_default canary_provider",
    "usage.records_default canary_tool",
    "usage.records_default canary_type",
];

#[tokio::test]
async fn after_an_erase_no_table_has_a_text_of_the_user_that_the_contract_does_not_name() {
    let app = TestApp::start_with(&[
        ("WEBHOOK_URL", "https://hooks.example.com/"),
        ("WEBHOOK_SECRET", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
    ])
    .await;
    let token = app.token("auth0|a");
    let body = json!({"email": "canary_address@example.com", "name": "canary_name"});
    app.post("/api/v1/users/ensure").token(&token).json(body).ok().await;
    let user = TestUser { id: testkit::user("auth0|a"), token };
    write_canaries(&app, &user).await;
    app.db().run(ACCOUNT).await;
    let before = canaries(app.db()).await;
    for table in [
        "credits.entries",
        "credits.grants",
        "credits.holds",
        "sessions.messages",
        "sessions.sessions",
        "idempotency.answers",
        "usage.dedupe",
        "webhooks.events",
        "identity.users",
        "identity.credentials",
        "identity.mail_links",
    ] {
        assert!(before.iter().any(|found| found.starts_with(table)), "{table} has no canary: {before:?}");
    }
    for part in [
        "address",
        "calls",
        "billing",
        "trace",
        "title",
        "key_of_user",
        "capture",
        "scheduled",
        "avatar",
        "login",
        "hash",
        "link",
    ] {
        assert!(before.iter().any(|found| found.ends_with(&format!("canary_{part}"))), "{part}: {before:?}");
    }

    let erased = app.delete(PATH).by(&user).data().await;
    erased
        .has(json!({"user_id": "auth0|a", "erased": true, "erased_at": kernel::rfc3339(app.clock().now())}));
    let left = canaries(app.db()).await;
    let unexpected = left.iter().filter(|found| {
        let of_month = found.starts_with("usage.");
        let word = found.split(' ').nth(1).unwrap();
        let is_kept = KEPT.contains(&found.as_str())
            || of_month && KEPT.iter().any(|kept| kept.starts_with("usage.") && kept.ends_with(word));
        !is_kept
    });
    assert_eq!(unexpected.collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(
        app.db().ask("SELECT count(address) FROM identity.audit_events WHERE user_id = 'auth0|a'").await,
        0
    );

    for table in ["logins", "mails", "mail_links", "credentials"] {
        assert_eq!(app.db().ask(&format!("SELECT count(*) FROM identity.{table}")).await, 0, "{table}");
    }
    nobody_is_left_and_a_new_user_begins_at_nothing(&app, &user).await;
}

async fn nobody_is_left_and_a_new_user_begins_at_nothing(app: &TestApp, user: &TestUser) {
    // There is no such user, and nothing is replayed.
    for (path, body) in
        [("/usage", json!({"endpoint": "/x", "event_type": "t"})), ("/credits/consume", json!({"amount": 1}))]
    {
        let again = app.post(&format!("{PATH}{path}")).by(user).key("canary_key_of_user").json(body);
        again.refused(404, "UserNotFoundException").await;
    }
    app.delete(PATH).by(user).refused(404, "UserNotFoundException").await;
    app.delete(PATH).service().refused(404, "UserNotFoundException").await;
    let body = json!({"email": "new@example.com", "name": "New Name"});
    let back = app.post("/api/v1/users/ensure").by(user).json(body).ok().await;
    back.has(json!({"created": true, "credits": 0, "email": "new@example.com", "name": "New Name"}));
    app.get(&format!("{PATH}/sessions")).by(user).rows().await;
    let transactions = app.get(&format!("{PATH}/credits/transactions")).by(user).rows().await;
    assert_eq!(
        (transactions[0]["transaction_type"].text(), &transactions[0]["credits_after"]),
        ("adjust", &json!(0.0))
    );
}

#[tokio::test]
async fn users_erase_themselves_and_administrators_anybody() {
    let app = TestApp::start_with(&[("ADMIN_USER_IDS", "auth0|root")]).await;
    let (a, b, root) = (app.user("auth0|a").await, app.user("auth0|b").await, app.user("auth0|root").await);
    app.delete(PATH).by(&b).refused(404, "UserNotFoundException").await;
    app.get(&format!("{PATH}/credits/balance")).by(&a).ok().await;
    app.delete(PATH).by(&root).ok().await;
    app.delete(PATH).by(&root).refused(404, "UserNotFoundException").await;
    app.delete("/api/v1/users/auth0%7Cb").service().ok().await;
    app.delete("/api/v1/users/auth0%7Croot").by(&root).ok().await;
    app.get("/api/v1/users/me").by(&root).refused(404, "UserNotFoundException").await;
    let actors = ["admin:auth0|root", "bootstrap", "admin:auth0|root"];
    let audited =
        "SELECT actor AS breach FROM identity.audit_events WHERE action = 'user.erased' ORDER BY id";
    assert_eq!(ask_texts(&mut *app.db().connect().await, audited).await.unwrap(), actors);
}

#[tokio::test]
async fn an_id_stays_with_its_issuer() {
    let auth0 = Auth0::start().await;
    let app = auth0.app(&[]).await;
    let (own, foreign) =
        (auth0.token(&app, "auth0|a", json!({})), supabase_token(&app, "auth0|a", json!({})));
    let ensure = async |token: &str| {
        app.post("/api/v1/users/ensure")
            .token(token)
            .json(json!({"email": "a@example.com", "name": "A"}))
            .await
    };
    ensure(&own).await.expect(200);
    app.delete(PATH).token(&own).ok().await;
    let refused = ensure(&foreign).await;
    assert_eq!((refused.status, &*refused.error_code()), (401, "AuthenticationException"));
    ensure(&own).await.expect(200).has(json!({"created": true, "credits": 0}));
    app.get("/api/v1/users/me").token(&foreign).refused(401, "AuthenticationException").await;
    // Made again by a service, it still belongs to the issuer.
    app.delete(PATH).token(&own).ok().await;
    let body = json!({"auth0_id": "auth0|a", "email": "a@example.com", "name": "A"});
    app.post("/api/v1/users/ensure").service().json(body).ok().await;
    app.get("/api/v1/users/me").token(&foreign).refused(401, "AuthenticationException").await;
    app.get("/api/v1/users/me").token(&own).ok().await;
}

/// A repeat while an interrupted erase is not finished ends it.
#[tokio::test]
async fn a_repeat_ends_an_erase_that_was_interrupted() {
    let (app, user) = TestApp::with_user(&[]).await;
    let erasure = flows::erasure::Erasure {
        user_id: user.id.clone(),
        actor: identity::audit::AuditActor::System,
        request_id: RandomIds.uuid().to_string(),
    };
    let inner = app.app();
    flows::erasure::begin(&inner.pool, &*inner.clock, None, &erasure).await.unwrap().unwrap();
    app.get("/api/v1/users/me").by(&user).refused(404, "UserNotFoundException").await;
    let body = json!({"email": "a@example.com", "name": "A"});
    app.post("/api/v1/users/ensure").by(&user).json(&body).expect(503).await;
    app.delete(PATH).by(&user).ok().await;
    app.delete(PATH).by(&user).refused(404, "UserNotFoundException").await;
    app.post("/api/v1/users/ensure").by(&user).json(&body).ok().await.has(json!({"created": true}));
}

/// Their token finds out that the link has ended, whatever the process remembers of it.
#[tokio::test]
async fn who_was_linked_to_an_erased_user_is_a_user_of_their_own() {
    let auth0 = Auth0::start().await;
    let app = auth0.app(&[("LINK_VERIFIED_EMAILS", "true")]).await;
    let vouched = json!({"email": "a@example.com", "email_verified": true});
    let (first, second) =
        (auth0.token(&app, "auth0|a", vouched.clone()), auth0.token(&app, "auth0|b", vouched));
    let ensure = async |token: &str| {
        let body = json!({"email": "a@example.com", "name": "A"});
        app.post("/api/v1/users/ensure").token(token).json(body).await.expect(200)
    };
    ensure(&first).await;
    ensure(&second).await.has(json!({"created": false, "auth0_id": "auth0|a"}));
    app.delete(PATH).token(&first).ok().await;
    app.get("/api/v1/users/me").token(&second).refused(404, "UserNotFoundException").await;
    ensure(&first).await.has(json!({"created": true, "auth0_id": "auth0|a", "credits": 0}));
    // Not as the new user who has the old id.
    app.get("/api/v1/users/me").token(&second).refused(404, "UserNotFoundException").await;
    app.get("/api/v1/users/auth0|a/credits/balance")
        .token(&second)
        .refused(403, "PermissionDeniedException")
        .await;
    app.delete(PATH).token(&first).ok().await;
    ensure(&second).await.has(json!({"created": true, "auth0_id": "auth0|b", "credits": 0}));
    app.get("/api/v1/users/me").token(&first).refused(404, "UserNotFoundException").await;
}
