//! `/api/v1/users/{user_id}/messages/search`

use crate::{examples::session_of, prelude::*};

const SEARCH: &str = "/api/v1/users/auth0%7Ca/messages/search";

async fn say(app: &TestApp, user: &TestUser, session: &str, role: &str, content: &str) -> Value {
    let path = format!("/api/v1/sessions/{session}/messages");
    app.post(&path).by(user).json(json!({"role": role, "content": content})).data().await
}

fn contents(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["content"].text()).collect()
}

#[tokio::test]
async fn messages_are_found_by_a_part_of_their_text_newest_first() {
    let (app, user) = TestApp::with_user(&[]).await;
    let titled = app.post("sessions").by(&user).json(json!({"title": "Straßen"})).ok().await;
    let titled = titled["session_id"].text().to_owned();
    let other = session_of(&app, &user).await;
    let first = say(&app, &user, &titled, "user", "Wo ist die STRAẞE? 100%_\\").await;
    say(&app, &user, &other, "assistant", "我喜欢北京的街道").await;
    let long = format!("{}strasse, Straße{}", "x".repeat(400), "y".repeat(400));
    say(&app, &user, &other, "assistant", &long).await;

    let found = app.get(&format!("{SEARCH}?q=stra%C3%9Fe")).by(&user).ok().await;
    assert_eq!(found["message"], "Retrieved 2 messages");
    let rows = found["data"].list();
    assert_eq!(contents(rows), [&long, "Wo ist die STRAẞE? 100%_\\"]);
    let mut expected = first;
    expected["session_title"] = json!("Straßen");
    expected["snippet"] = expected["content"].clone();
    assert_eq!(rows[1], expected);
    assert_eq!(rows[0]["session_title"], Value::Null);
    let snippet = rows[0]["snippet"].text();
    assert_eq!(snippet.chars().count(), 300);
    assert!(snippet.contains(", Straßey"), "{snippet}");

    for (query, hits) in [
        ("q=北", 1),
        ("q=北京", 1),
        ("q=京北", 0),
        ("q=%25", 1),
        ("q=_%5C", 1),
        ("q=%20", 2),
        (&format!("q=s&session_id={titled}"), 1),
        ("q=s&session_id=00000000-0000-4000-8000-000000000000", 0),
        ("q=s&role=assistant", 1),
        ("q=s&role=tool", 0),
        ("q=s&start_date=2026-01-15&end_date=2026-01-15", 2),
        ("q=s&end_date=2026-01-14", 0),
        ("q=s&start_date=2026-01-16", 0),
    ] {
        let rows = app.get(&format!("{SEARCH}?{query}")).by(&user).rows().await;
        assert_eq!(rows.len(), hits, "{query}");
    }
}

#[tokio::test]
async fn pages_go_on_by_cursor_and_by_offset_and_a_cursor_belongs_to_its_query() {
    let (app, user) = TestApp::with_user(&[]).await;
    let session = session_of(&app, &user).await;
    for nth in 0..7 {
        say(&app, &user, &session, "user", &format!("Nummer {nth}")).await;
        say(&app, &user, &session, "user", "etwas anderes").await;
    }
    let pages = app.pages(&format!("{SEARCH}?q=NUMMER&limit=3"), &user).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    let all: Vec<String> = (0..7).rev().map(|nth| format!("Nummer {nth}")).collect();
    assert_eq!(contents(&pages.concat()), all);
    let rows = app.get(&format!("{SEARCH}?q=nummer&offset=5&limit=9")).by(&user).rows().await;
    assert_eq!(contents(&rows), all[5..]);

    let first = app.get(&format!("{SEARCH}?q=nummer&limit=1")).by(&user).expect(200).await;
    let cursor = first.header("x-next-cursor").to_owned();
    for query in ["q=etwas", "q=nummer&role=user"] {
        app.get(&format!("{SEARCH}?{query}&limit=1&cursor={cursor}")).by(&user).fault("query.cursor").await;
    }
}

#[tokio::test]
async fn unusable_searches_are_refused() {
    let (app, user) = TestApp::with_user(&[]).await;
    let long = "的".repeat(200);
    app.get(&format!("{SEARCH}?q={long}")).by(&user).ok().await;
    for (query, at) in [
        (String::new(), "query.q"),
        ("q=".to_owned(), "query.q"),
        (format!("q={long}x"), "query.q"),
        ("q=a%00b".to_owned(), "query.q"),
        ("q=a&session_id=7".to_owned(), "query.session_id"),
        ("q=a&role=robot".to_owned(), "query.role"),
        ("q=a&start_date=soon".to_owned(), "query.start_date"),
        ("q=a&start_date=2026-01-02&end_date=2026-01-01".to_owned(), "query.start_date"),
        ("q=a&limit=0".to_owned(), "query.limit"),
        ("q=a&title=b".to_owned(), "query.title"),
    ] {
        app.get(&format!("{SEARCH}?{query}")).by(&user).fault(at).await;
    }
}

#[tokio::test]
async fn only_own_messages_are_found_and_those_of_deleted_sessions_are_not() {
    let (app, user) = TestApp::with_user(&[]).await;
    let other = app.user("auth0|b").await;
    let (own, foreign) = (session_of(&app, &user).await, session_of(&app, &other).await);
    say(&app, &user, &own, "user", "Geheimnis A").await;
    say(&app, &other, &foreign, "user", "Geheimnis B").await;
    let find = async |query: &str| app.get(&format!("{SEARCH}?{query}")).by(&user).rows().await;
    assert_eq!(contents(&find("q=geheimnis").await), ["Geheimnis A"]);
    assert_eq!(find(&format!("q=geheimnis&session_id={foreign}")).await, [Value::Null; 0]);
    app.get(&format!("{SEARCH}?q=geheimnis")).by(&other).refused(404, "UserNotFoundException").await;
    let by_service = app.get(&format!("{SEARCH}?q=geheimnis")).service().rows().await;
    assert_eq!(contents(&by_service), ["Geheimnis A"]);
    app.delete(&format!("/api/v1/sessions/{own}")).by(&user).expect(200).await;
    assert_eq!(find("q=geheimnis").await, [Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_many_messages_gets_an_index_and_finds_the_same() {
    let (app, user) = TestApp::with_user(&[]).await;
    let session = session_of(&app, &user).await;
    say(&app, &user, &session, "user", "Nadel im Heuhaufen").await;
    let fill = "INSERT INTO sessions.messages (user_id, session_id, seq, message_id, role, content, created_at, updated_at)
        SELECT user_id, session_id, nth, gen_random_uuid(), 'user', 'Heu ' || nth, last_activity, last_activity
        FROM sessions.sessions, generate_series(2, 5000) AS nth;
        UPDATE sessions.sessions SET message_count = 5000";
    app.db().run(fill).await;
    let find = async || contents(&app.get(&format!("{SEARCH}?q=NADEL")).by(&user).rows().await).len();
    let mut deadline = Deadline::new();
    while app.db().ask("SELECT count(*) FROM sessions.search_segments").await == 0 {
        assert_eq!(find().await, 1);
        assert!(deadline.allows_another(), "no segment was made");
    }
    assert_eq!(find().await, 1);
}
