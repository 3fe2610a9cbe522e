//! Who gets the initial grant (HTTP contract 3.1).

use super::PATH;
use crate::issuers::{Auth0, supabase_token};
use crate::prelude::*;

/// Credits, credits ever granted, and whether the call made the user.
async fn ensure(app: &TestApp, token: &str) -> (Value, Value, Value) {
    let body = json!({"email": "guest@example.com", "name": "N"});
    let mut answer = app.post(PATH).token(token).json(&body).ok().await;
    (answer["credits"].take(), answer["credits_total"].take(), answer["created"].take())
}

fn credits(amount: u32, created: bool) -> (Value, Value, Value) {
    (json!(amount), json!(amount), json!(created))
}

async fn transactions(app: &TestApp, user: &str) -> usize {
    let path = format!("/api/v1/users/{user}/credits/transactions");
    app.get(&path).service().rows().await.len()
}

#[tokio::test]
async fn an_anonymous_user_gets_none_and_none_on_becoming_permanent() {
    let app = TestApp::start().await;
    let id = "5f0c4f1e-7f35-4e52-a6fb-0d6a9d9f7a11";
    let guest = supabase_token(&app, id, json!({"email": "", "is_anonymous": true}));
    assert_eq!(ensure(&app, &guest).await, credits(0, true));
    assert_eq!(transactions(&app, id).await, 0);
    // Supabase keeps the id of a guest who signs up.
    let permanent = supabase_token(&app, id, json!({"email": "guest@example.com", "is_anonymous": false}));
    assert_eq!(ensure(&app, &permanent).await, credits(0, false));
    assert_eq!(transactions(&app, id).await, 0);
    // What the service that knows of it may do.
    let grant = app.post(&format!("/api/v1/users/{id}/credits/grants")).service();
    let grant = grant.json(json!({"amount": 1000, "reference_id": "signed-up"}));
    grant.expect(200).await;
    assert_eq!(ensure(&app, &permanent).await, credits(1_000, false));
    let other = supabase_token(&app, "auth0|person", json!({"is_anonymous": false}));
    assert_eq!(ensure(&app, &other).await, credits(1_000, true));
}

#[tokio::test]
async fn a_machine_gets_none() {
    let auth0 = Auth0::start().await;
    let app = auth0.app(&[]).await;
    for (id, claims) in [
        ("u0qYl7Zk@clients", json!({"gty": "client-credentials", "azp": "u0qYl7Zk"})),
        ("suffix-only@clients", json!({})),
        ("auth0|grant-only", json!({"gty": "client-credentials"})),
    ] {
        let token = auth0.token(&app, id, claims);
        assert_eq!(ensure(&app, &token).await, credits(0, true), "{id}");
        assert_eq!(transactions(&app, id).await, 0, "{id}");
    }
    let person = auth0.token(&app, "auth0|person", json!({"gty": "password", "azp": "app"}));
    assert_eq!(ensure(&app, &person).await, credits(1_000, true));
    // A service that makes a user decides itself that it is worth the grant.
    let body = json!({"auth0_id": "made@clients", "email": "made@example.com", "name": "N"});
    assert_eq!(app.post(PATH).service().json(&body).ok().await["credits"], 1_000);
}
