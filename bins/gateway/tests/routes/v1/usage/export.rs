//! `/api/v1/usage/export` and `/api/v1/users/{user_id}/usage/export`

use kernel::{Credits, FreeForm, UserId};
use reqwest::{Client, Response};
use usage::{NewRecord, UsageInput};

use crate::prelude::*;

const PATH: &str = "/api/v1/users/auth0%7Ca/usage";
const ALL: &str = "/api/v1/usage/export";

/// Records all of it in one transaction.
async fn record(app: &TestApp, events: &[NewRecord]) -> Vec<usage::Record> {
    let mut tx = pg::Tx::begin(app.db().pool()).await.unwrap();
    let outcomes = usage::record(&mut tx, app.clock(), events).await.unwrap();
    tx.commit().await.unwrap();
    outcomes.into_iter().map(|outcome| outcome.unwrap().record).collect()
}

fn event(app: &TestApp, user: &str, minutes: i64, endpoint: &str) -> UsageInput {
    UsageInput {
        occurred_at: Some(app.clock().now() - Duration::minutes(minutes)),
        endpoint: Some(endpoint.to_owned()),
        credits_charged: Some(Credits::from_micro(1_250_000)),
        ..UsageInput::new(user.parse().unwrap(), "ai_chat")
    }
}

/// The rows of a CSV file, by column.
fn table(csv: &str) -> Vec<Value> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let names = reader.headers().unwrap().clone();
    let row = |row: Result<csv::StringRecord, csv::Error>| {
        let row = row.unwrap();
        names.iter().zip(&row).map(|(name, cell)| (name.to_owned(), json!(cell))).collect()
    };
    reader.records().map(row).map(Value::Object).collect()
}

fn ndjson(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Takes a record of `auth0|a` back.
async fn take_back(app: &TestApp, id: i64) {
    let path = format!("{PATH}/{id}/correct");
    app.post(&path).service().json(json!({"reason": "wrong"})).expect(200).await;
}

/// A record of `auth0|a` with awkward texts, one that was taken back, its correction, and one of somebody else.
async fn awkward(app: &TestApp) {
    let odd = UsageInput {
        model_name: Some("=cmd|' /C calc'!A0".to_owned()),
        billing_metadata: Some(FreeForm::object(r#"{"note": "a, \"b\"\r\nc"}"#).unwrap()),
        cost_usd: Some("0.000000001".parse().unwrap()),
        ..event(app, "auth0|a", 2, "a \"quoted\", \r\nendpoint 用户")
    };
    let events = [
        event(app, "auth0|a", 1, "/x").complete(),
        odd.complete(),
        event(app, "auth0|b", 1, "/b").complete(),
    ];
    let recorded = record(app, &events).await;
    take_back(app, recorded[0].id).await;
}

#[tokio::test]
async fn a_file_has_the_records_of_the_list_oldest_first() {
    let (app, user) = TestApp::with_user(&[]).await;
    awkward(&app).await;
    let mut list = app.get(PATH).by(&user).rows().await;
    list.reverse();
    let lines = app.get(&format!("{PATH}/export?format=ndjson")).by(&user).expect(200).await;
    assert_eq!(ndjson(&lines.text), list);
    assert_eq!(lines.header("content-type"), "application/x-ndjson");

    let csv = app.get(&format!("{PATH}/export")).by(&user).expect(200).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert_eq!(
        csv.header("content-disposition"),
        "attachment; filename=\"usage-auth0_a-20260115T120000Z.csv\""
    );
    assert_eq!((csv.header("cache-control"), csv.header("x-content-type-options")), ("no-store", "nosniff"));
    let rows = table(&csv.text);
    assert_eq!(rows.len(), 3);
    json!(rows).has(json!({
        "0.endpoint": "a \"quoted\", \r\nendpoint 用户", "0.model_name": "'=cmd|' /C calc'!A0",
        "0.cost_usd": "0.000000001", "0.credits_charged": "1.25",
        "0.created_at": "2026-01-15T11:58:00.000000Z",
        "0.billing_metadata": "{\"note\": \"a, \\\"b\\\"\\r\\nc\"}", "2.credits_charged": "-1.25",
        "2.calculation_method": "correction",
    }));
    assert!(csv.text.ends_with("\r\n"));
}

#[tokio::test]
async fn filters_are_those_of_the_list_and_all_users_come_in_order() {
    let app = TestApp::start().await;
    let (user, _other) = (app.user("auth0|a").await, app.user("auth0|b").await);
    let events: Vec<_> = (0..8_i64)
        .map(|n| {
            let user = if n % 2 == 0 { "auth0|a" } else { "auth0|b" };
            let model = if n < 4 { "m" } else { "n" };
            UsageInput { model_name: Some(model.to_owned()), ..event(&app, user, n, &format!("/{n}")) }
                .complete()
        })
        .collect();
    record(&app, &events).await;
    let ask = async |path: String| {
        let reply = app.get(&path).service().expect(200).await;
        let rows = ndjson(&reply.text).into_iter();
        rows.map(|row| row["endpoint"].text().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ask(format!("{PATH}/export?format=ndjson")).await, ["/6", "/4", "/2", "/0"]);
    assert_eq!(ask(format!("{PATH}/export?format=ndjson&model_name=m")).await, ["/2", "/0"]);
    let window = "start_date=2026-01-15T11:56:00Z&end_date=2026-01-15T11:58:00Z";
    assert_eq!(ask(format!("{PATH}/export?format=ndjson&{window}")).await, ["/4", "/2"]);
    assert_eq!(ask(format!("{ALL}?format=ndjson")).await, ["/6", "/4", "/2", "/0", "/7", "/5", "/3", "/1"]);
    assert_eq!(ask(format!("{ALL}?format=ndjson&{window}")).await, ["/4", "/2", "/3"]);
    assert_eq!(ask(format!("{ALL}?format=ndjson&model_name=unheard-of")).await, [""; 0]);
    let empty = app.get(&format!("{ALL}?model_name=unheard-of")).service().expect(200).await;
    assert_eq!(empty.text.lines().count(), 1, "the header");
    for (query, field) in [
        ("format=xlsx", "format"),
        ("start_date=x", "start_date"),
        ("start_date=2026-01-02&end_date=2026-01-01", "start_date"),
    ] {
        let refused = app.get(&format!("{PATH}/export?{query}")).by(&user).expect(422).await;
        assert_eq!(refused.json()["detail"][0]["loc"][1], field);
    }
}

/// Records of about 4 KiB.
async fn large_records(app: &TestApp, user: &UserId, thousands: usize) {
    let large = FreeForm::object(&format!("{{\"text\": \"{}\"}}", "x".repeat(4_000))).unwrap();
    for thousand in 0..thousands {
        let events: Vec<_> = (0..1_000)
            .map(|n| {
                UsageInput {
                    request_data: Some(large.clone()),
                    ..event(app, user.as_str(), i64::from(n), &format!("/{thousand}/{n}"))
                }
                .complete()
            })
            .collect();
        record(app, &events).await;
    }
}

async fn begin(app: &TestApp, path: &str) -> Response {
    let client = Client::builder().no_gzip().build().unwrap();
    let request = client.get(format!("http://{}{path}", app.address()));
    let response = request.header("X-API-Key", SERVICE_KEY).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_repeat() {
    let (app, user) = TestApp::with_user(&[]).await;
    large_records(&app, &user.id, 2).await;
    for path in [format!("{PATH}/export?format=ndjson"), format!("{ALL}?format=ndjson")] {
        let text = begin(&app, &path).await.text().await.unwrap();
        let rows = ndjson(&text);
        let mut ids: Vec<i64> = rows.iter().map(|row| row["id"].as_i64().unwrap()).collect();
        let times: Vec<&str> = rows.iter().map(|row| row["created_at"].text()).collect();
        assert!(times.is_sorted(), "oldest first");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 2_000);
    }
}

#[tokio::test]
async fn an_export_can_be_compressed_on_the_way() {
    let (app, user) = TestApp::with_user(&[]).await;
    large_records(&app, &user.id, 1).await;
    let path = format!("{PATH}/export");
    let plain = begin(&app, &path).await.text().await.unwrap();
    let request = Client::builder().build().unwrap().get(format!("http://{}{path}", app.address()));
    let request = request.header("X-API-Key", SERVICE_KEY).header("Accept-Encoding", "gzip");
    let packed = request.send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let packed = packed.bytes().await.unwrap();
    assert!(packed.len() < plain.len() / 10);
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
    assert!(unpacked == plain);
}

#[tokio::test]
async fn an_export_that_fails_on_the_way_breaks_the_connection_and_says_so() {
    let (app, user) = TestApp::with_user(&[]).await;
    large_records(&app, &user.id, 6).await;
    for (format, last) in [
        ("csv", "ERROR: this export broke off and is not complete\r\n"),
        ("ndjson", "{\"error\":\"this export broke off and is not complete\"}\n"),
    ] {
        let mut response = begin(&app, &format!("{PATH}/export?format={format}")).await;
        let mut text = response.chunk().await.unwrap().unwrap().to_vec();
        if format == "csv" {
            // The months of the records are dropped, as `usage retain` does it.
            let mut conn = app.db().connect().await;
            let drop = "UPDATE usage.retention SET dropped_before = '2026-01-01'";
            diesel_async::SimpleAsyncConnection::batch_execute(&mut *conn, drop).await.unwrap();
        } else {
            app.app().pool.close();
        }
        let broken = loop {
            match response.chunk().await {
                Ok(Some(more)) => text.extend(more),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert!(broken, "the file is not taken for the whole");
        let text = String::from_utf8(text).unwrap();
        assert!(text.ends_with(last), "{}", &text[text.len() - 100..]);
        assert!(text.len() < 24_000_000);
    }
}

#[tokio::test]
async fn a_head_makes_no_file_and_a_database_that_is_gone_is_told_before() {
    let (app, user) = TestApp::with_user(&[]).await;
    record(&app, &[event(&app, "auth0|a", 1, "/x").complete()]).await;
    let head = app.request("HEAD".parse().unwrap(), &format!("{PATH}/export")).by(&user).expect(200).await;
    assert_eq!(head.text, "");
    assert!(head.header("content-disposition").starts_with("attachment"));
    app.app().pool.close();
    app.get(&format!("{PATH}/export")).service().expect(503).await;
}
