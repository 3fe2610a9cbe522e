//! `/api/v1/prices`

use gateway::http::route::BodyRule;

use crate::examples;
use crate::prelude::*;

fn put(app: &TestApp, prices: Value) -> TestRequest {
    let body = json!({ "prices": prices });
    app.put("/api/v1/prices").service().json(&body)
}

async fn listed(app: &TestApp, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/prices?{query}");
    app.get(&path).service().rows().await
}

fn price(model: &str, credits: f64) -> Value {
    json!({"model_name": model, "provider": "openai", "rates": {"input": {"credits": credits, "per": 1_000_000}}})
}

/// A price with one member changed.
fn with(member: &str, value: Value) -> Value {
    let mut price = price("m", 1.0);
    price[member] = value;
    price
}

#[tokio::test]
async fn a_price_is_put_and_read_back_exactly() {
    let app = TestApp::start().await;
    let price = json!([{
        "model_name": "gpt-4", "provider": "openai", "source": "a contract",
        "rates": {
            "output": {"credits": 4.5, "cost_usd": "0.06", "per": 1_000},
            "input": {"credits": 1500.000001, "cost_usd": 30, "per": 1_000_000},
            "cache_read": {"credits": 0, "per": 1_000_000},
            "request": {"credits": 0.000000000001, "per": 1},
            "second": {"credits": 1e-9, "per": 1_000},
        },
    }]);
    let reply = put(&app, price).expect(200).await;
    let rates = concat!(
        r#""rates":{"input":{"credits":1500.000001,"cost_usd":30.0,"per":1000000},"#,
        r#""cache_read":{"credits":0.0,"cost_usd":0.0,"per":1000000},"#,
        r#""output":{"credits":4500.0,"cost_usd":60.0,"per":1000000},"#,
        r#""request":{"credits":0.000000000001,"cost_usd":0.0,"per":1},"#,
        r#""second":{"credits":0.000000000001,"cost_usd":0.0,"per":1}}"#
    );
    assert!(reply.text.contains(rates), "{}", reply.text);
    let data = &reply.json()["data"][0];
    assert_eq!(reply.json()["message"], "Put 1 prices");
    assert_eq!((&data["service_tier"], &data["min_context"]), (&Value::Null, &json!(0)));
    assert_eq!((&data["valid_until"], &data["retired"]), (&Value::Null, &json!(false)));
    assert_eq!(data["source"], "a contract");
    assert_eq!(data["valid_from"], kernel::rfc3339(testkit::instant()));
    assert_eq!(&listed(&app, "model_name=gpt-4").await[0], data);
    assert_eq!(listed(&app, "model_name=GPT-4").await, [""; 0]);

    // A number that a float would not carry.
    let exact = json!([{"model_name": "x", "rates": {"token": {"credits": "999999999999.999999", "per": 1_000_000}}}]);
    let reply = put(&app, exact).expect(200).await;
    assert!(reply.text.contains(r#""credits":999999999999.999999"#), "{}", reply.text);
    assert_eq!(reply.json()["data"][0]["provider"], Value::Null);
}

#[tokio::test]
async fn a_new_version_ends_the_one_before_and_a_price_can_be_retired() {
    let app = TestApp::start().await;
    put(&app, json!([price("m", 1.0)])).expect(200).await;
    app.clock().advance(Duration::HOUR);
    let begins = kernel::rfc3339(testkit::instant() + Duration::hours(3));
    let mut second = price("m", 2.0);
    second["valid_from"] = json!(begins);
    put(&app, json!([second])).expect(200).await;
    let retired = json!({
        "model_name": "m", "provider": "openai", "retired": true,
        "valid_from": kernel::rfc3339(testkit::instant() + Duration::hours(5)),
    });
    assert_eq!(put(&app, json!([retired])).data().await[0]["rates"], json!({}));
    let at = |hours: i64| format!("at={}", kernel::rfc3339(testkit::instant() + Duration::hours(hours)));
    assert_eq!(listed(&app, &at(-1)).await, [""; 0]);
    for (query, credits, until) in [
        (String::new(), json!(1.0), json!(begins)),
        (at(2), json!(1.0), json!(begins)),
        (at(3), json!(2.0), json!(kernel::rfc3339(testkit::instant() + Duration::hours(5)))),
    ] {
        let held = listed(&app, &query).await;
        assert_eq!(held.len(), 1, "{query}");
        json!(held).has(json!({"0.rates.input.credits": credits, "0.valid_until": until}));
    }
    let held = listed(&app, &at(5)).await;
    assert_eq!((&held[0]["retired"], &held[0]["rates"]), (&json!(true), &json!({})));
}

#[tokio::test]
async fn a_put_counts_in_another_process_at_once() {
    let app = TestApp::start().await;
    let (pool, cache) = (app.db().second_pool(), usage::Prices::new());
    let key = usage::rating::Key {
        provider: "openai".to_owned(),
        model: "m".to_owned(),
        service_tier: String::new(),
    };
    for credits in [1.0, 2.0, 3.0] {
        let before = cache.book(&pool.get().await.unwrap()).await.unwrap();
        let reply = put(&app, json!([price("m", credits)])).expect(200).await;
        let book = cache.book(&pool.get().await.unwrap()).await.unwrap();
        let id = book.find(&key, 0, testkit::instant() + Duration::DAY).unwrap().id;
        assert_eq!(json!(id), reply.json()["data"][0]["id"]);
        assert_ne!(before, book);
        app.clock().advance(Duration::SECOND);
    }
}

/// A request, the type of its fault, and where that is.
type Case = (Value, &'static str, &'static str);

fn wrong_shapes() -> Vec<Case> {
    let good = price("good", 1.0);
    vec![
        (json!([]), "too_short", "body.prices"),
        (json!(many()), "too_long", "body.prices"),
        (json!("m"), "list_type", "body.prices"),
        (json!([5]), "dict_type", "body.prices.0"),
        (json!([good, with("model_name", json!(""))]), "string_too_short", "body.prices.1.model_name"),
        (json!([with("provider", json!(""))]), "string_too_short", "body.prices.0.provider"),
        (json!([with("min_context", json!(-1))]), "greater_than_equal", "body.prices.0.min_context"),
        (json!([with("retired", json!(true))]), "value_error", "body.prices.0.rates"),
        (json!([with("rates", json!({}))]), "too_short", "body.prices.0.rates"),
        (with_rate("tokens", json!({"credits": 1, "per": 1})), "enum", "body.prices.0.rates.tokens"),
    ]
}

fn wrong_rates() -> Vec<Case> {
    let (per, credits, cost) = (
        "body.prices.0.rates.input.per",
        "body.prices.0.rates.input.credits",
        "body.prices.0.rates.input.cost_usd",
    );
    let rate = |rate: Value| with_rate("input", rate);
    vec![
        (rate(json!({"credits": 1})), "missing", per),
        (rate(json!({"credits": 1, "per": 10})), "enum", per),
        (rate(json!({"per": 1})), "missing", credits),
        (rate(json!({"credits": -1, "per": 1})), "greater_than_equal", credits),
        (rate(json!({"credits": "0.0000001", "per": 1_000_000})), "decimal_max_places", credits),
        (rate(json!({"credits": 1, "cost_usd": "1000000.1", "per": 1})), "less_than_equal", cost),
    ]
}

fn wrong_versions() -> Vec<Case> {
    let good = price("good", 1.0);
    let past = kernel::rfc3339(testkit::instant() - Duration::microseconds(1));
    vec![
        (json!([good, with("valid_from", json!(past))]), "value_error", "body.prices.1.valid_from"),
        (json!([good, price("known", 2.0)]), "value_error", "body.prices.1.valid_from"),
        (json!([good, price("m", 1.0), price("good", 2.0)]), "value_error", "body.prices.2.model_name"),
    ]
}

fn many() -> Vec<Value> {
    (0..501).map(|n| price(&format!("m{n}"), 1.0)).collect()
}

fn with_rate(class: &str, rate: Value) -> Value {
    json!([with("rates", json!({ class: rate }))])
}

/// Where the first fault of a refused request is: `body.prices.0.model_name`.
fn place(reply: &TestReply) -> String {
    let steps = reply.json()["detail"][0]["loc"].list().to_vec();
    let text = |step: Value| step.as_str().map_or_else(|| step.to_string(), str::to_owned);
    steps.into_iter().map(text).collect::<Vec<_>>().join(".")
}

#[tokio::test]
async fn what_is_wrong_is_told_where_it_is_and_nothing_is_changed() {
    let app = TestApp::start().await;
    put(&app, json!([price("known", 1.0)])).expect(200).await;
    for (prices, kind, told) in [wrong_shapes(), wrong_rates(), wrong_versions()].concat() {
        let reply = put(&app, prices).refused(422, "ValidationException").await;
        assert_eq!(place(&reply), told, "{}", reply.text);
        assert_eq!(reply.json()["detail"][0]["type"], kind, "{}", reply.text);
        assert_eq!(listed(&app, "limit=500").await.len(), 1);
    }
    let reply = app.put("/api/v1/prices").service().body("").expect(422).await;
    assert_eq!(place(&reply), "body.prices");
    put(&app, json!(many()[1..])).expect(200).await;
}

#[tokio::test]
async fn the_list_is_paged_and_open_to_users_whom_the_service_knows() {
    let (app, user) = TestApp::with_user(&[]).await;
    let prices: Vec<Value> = (0..5).map(|n| price(&format!("m{n}"), 1.0)).collect();
    put(&app, json!(prices)).expect(200).await;
    let pages = app.pages("/api/v1/prices?limit=2", &user).await;
    assert_eq!(json!(pages.concat()).column("model_name"), ["m0", "m1", "m2", "m3", "m4"]);
    app.get("/api/v1/prices").token(&app.token("auth0|new")).refused(404, "UserNotFoundException").await;
    assert_eq!(app.get("/api/v1/prices").await.status, 401);
    assert_eq!(app.get("/api/v1/prices?at=soon").by(&user).await.status, 422);
    let refused = app.put("/api/v1/prices").by(&user).body("{");
    refused.refused(403, "PermissionDeniedException").await;
}

#[tokio::test]
async fn the_documented_price_is_what_is_answered_for_the_documented_request() {
    let (app, user) = TestApp::with_user(&[]).await;
    let route = examples::routes().find(|route| route.operation == "put_prices").unwrap();
    assert_eq!(route.body, BodyRule::Json);
    let reply = examples::request(&app, route, &user).await.service().expect(200).await;
    let example = examples::success_example(route).unwrap();
    reply.has(json!({"data.0.rates": example["data"][0]["rates"], "message": example["message"]}));
}

#[tokio::test]
async fn well_known_models_have_prices_from_the_start_unless_they_are_not_wanted() {
    let app = TestApp::start_with(&[("SEED_PRICES", "true"), ("SEED_CREDITS_PER_USD", "100")]).await;
    let found = listed(&app, "model_name=gpt-4o").await;
    assert_eq!(found[0]["rates"]["input"], json!({"credits": 250.0, "cost_usd": 2.5, "per": 1_000_000}));
    put(&app, json!([price("gpt-4o", 7.0)])).expect(200).await;
    assert_eq!(listed(&app, "model_name=gpt-4o").await[0]["rates"]["input"]["credits"], 7.0);
    let without = TestApp::start().await;
    assert_eq!(listed(&without, "").await, [""; 0]);
}
