//! The list of users against a naive one, and what a page costs.

use std::collections::BTreeSet;

use diesel_async::SimpleAsyncConnection as _;
use identity::{
    Plan, Role, User,
    users::{self, UserFilter},
};
use kernel::{Page, Start, TimePlace};
use testkit::TestDb;
use time::Duration;

async fn database() -> TestDb {
    TestDb::create(&[identity::MIGRATIONS], &[identity::AUDITS]).await
}

/// Users with many names, roles and plans; several at the same instant.
const USERS: &str = "
INSERT INTO identity.users (user_id, email, email_folded, name, role, plan, is_active, created_at, updated_at)
SELECT CASE n % 3 WHEN 0 THEN 'auth0|U' WHEN 1 THEN 'google-oauth2|' ELSE 'Test-' END || n,
    CASE WHEN n % 4 > 0 THEN 'Mail' || n || '@Example.com' END, CASE WHEN n % 4 > 0 THEN 'mail' || n || '@example.com' END,
    (ARRAY['Ann Smith', 'ANNA', U&'\\738B\\4F1F', U&'\\0418\\0432\\0430\\043D', NULL, '100%_a\\b', ''])[n % 7 + 1],
    CASE WHEN n % 11 = 0 THEN 'admin' ELSE 'user' END, (ARRAY['free', 'pro', 'enterprise'])[n % 5 / 2 + 1], n % 13 > 0,
    made, made
FROM generate_series(1, 200) AS n, LATERAL (SELECT timestamptz '2026-01-01Z' + n / 3 * interval '1 hour' AS made) AS m";

async fn all(db: &TestDb) -> Vec<User> {
    let mut conn = db.connect().await;
    users::list(&mut conn, &UserFilter::default(), &Page::first(500)).await.unwrap().items
}

/// Every page of a list, and whether one had fewer users than asked for while more followed.
async fn paged(db: &TestDb, filter: &UserFilter, limit: i64) -> (Vec<User>, bool) {
    let mut conn = db.connect().await;
    let (mut found, mut start, mut was_short) = (Vec::new(), Start::Offset(0), false);
    loop {
        let page = Page::<TimePlace>::new(limit, start).unwrap();
        let slice = users::list(&mut conn, filter, &page).await.unwrap();
        let count = i64::try_from(slice.items.len()).unwrap();
        assert!(count <= limit);
        found.extend(slice.items);
        match slice.next {
            Some(place) => start = Start::After(place),
            None => return (found, was_short),
        }
        was_short |= count < limit;
    }
}

/// Without case, letter by letter: sharp s is two s, each sigma is a sigma, each i an i.
fn fold(text: &str) -> String {
    let letters = text.replace('\u{130}', "i");
    let lower = letters.chars().flat_map(char::to_lowercase);
    lower.flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

fn contains(filter: &UserFilter, user: &User) -> bool {
    let fits = |text: &String| {
        let text = fold(text);
        let folded = |field: Option<&str>| fold(field.unwrap_or_default());
        folded(Some(user.user_id.as_str())).starts_with(&text)
            || folded(user.email.as_deref()).starts_with(&text)
            || folded(user.name.as_deref()).contains(&text)
    };
    filter.text.as_ref().is_none_or(fits)
        && filter.role.is_none_or(|role| user.role == role)
        && filter.plan.is_none_or(|plan| user.plan == plan)
        && filter.is_active.is_none_or(|is_active| user.is_active == is_active)
        && filter.from.is_none_or(|from| user.created_at >= from)
        && filter.to.is_none_or(|to| user.created_at <= to)
}

fn text(text: &str) -> UserFilter {
    UserFilter { text: Some(text.to_owned()), ..UserFilter::default() }
}

fn filters() -> Vec<UserFilter> {
    let texts = [
        "a",
        "A",
        "ann",
        "ANN",
        "nn s",
        "th",
        "auth0|u1",
        "AUTH0|",
        "google-oauth2|10",
        "mail",
        "MAIL19",
        "mail100@example.com",
        "\u{738b}",
        "\u{738b}\u{4f1f}",
        "\u{438}\u{432}\u{430}\u{43d}",
        "\u{418}\u{412}\u{410}\u{41d}",
        "\u{432}\u{430}",
        "100%",
        "%",
        "_a\\",
        "\\",
        "nobody",
        " ",
    ];
    let start = time::macros::datetime!(2026-01-01 0:00 UTC);
    let mut filters: Vec<UserFilter> = texts.iter().map(|one| text(one)).collect();
    filters.extend([
        UserFilter { role: Some(Role::Admin), ..UserFilter::default() },
        UserFilter { role: Some(Role::User), ..UserFilter::default() },
        UserFilter { plan: Some(Plan::Enterprise), ..UserFilter::default() },
        UserFilter { is_active: Some(false), plan: Some(Plan::Free), ..UserFilter::default() },
        UserFilter { is_active: Some(true), role: Some(Role::Admin), ..text("ann") },
        UserFilter {
            from: Some(start + Duration::hours(10)),
            to: Some(start + Duration::hours(20)),
            ..UserFilter::default()
        },
        UserFilter { from: Some(start + Duration::hours(40)), plan: Some(Plan::Pro), ..text("test-") },
    ]);
    filters
}

#[tokio::test]
async fn lists_and_their_pages_are_those_of_a_naive_search() {
    let db = database().await;
    db.run(USERS).await;
    let everybody = all(&db).await;
    assert_eq!(everybody.len(), 200);
    assert!(everybody.is_sorted_by(|one, next| (one.created_at, one.id) > (next.created_at, next.id)));
    for filter in filters() {
        let expected: Vec<&User> = everybody.iter().filter(|user| contains(&filter, user)).collect();
        for limit in [7, 500] {
            let (found, _) = paged(&db, &filter, limit).await;
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
        }
        let page = Page::<TimePlace>::new(500, Start::Offset(3)).unwrap();
        let rest = users::list(&mut *db.connect().await, &filter, &page).await.unwrap();
        assert_eq!(rest.items.len(), expected.len().saturating_sub(3), "{filter:?}");
    }
}

/// Greek with both small sigmas, Cyrillic, sharp s, and the two kinds of i of Turkish; also where only a part is in another case.
#[tokio::test]
async fn letters_beyond_a_to_z_are_found_without_case() {
    let db = database().await;
    let names = [
        "\u{395}\u{3bb}\u{3ad}\u{3bd}\u{3b7} \u{3a3}\u{3cc}\u{3c6}\u{3bf}\u{3c2}",
        "\u{418}\u{432}\u{410}\u{43d} \u{401}\u{43b}\u{43a}\u{438}\u{43d}",
        "Hans Gro\u{df}mann",
        "I\u{15f}\u{131}k \u{130}nan",
    ];
    for (number, name) in names.iter().enumerate() {
        let user = format!(
            "INSERT INTO identity.users (user_id, email, email_folded, name, created_at, updated_at)
             VALUES ('u{number}', '{name}@example.com', lower('{name}@example.com'), '{name}', now(), now())"
        );
        db.run(&user.replace(" \u{3a3}", "\u{3a3}")).await;
    }
    let everybody = all(&db).await;
    assert_eq!(everybody.len(), names.len());
    for (sought, user) in [
        ("\u{3b5}\u{3bb}\u{3ad}\u{3bd}\u{3b7}", 0),
        ("\u{395}\u{39b}\u{388}\u{39d}\u{397}", 0),
        ("\u{3a3}\u{38c}\u{3a6}\u{39f}\u{3a3}", 0),
        ("\u{3c3}\u{3cc}\u{3c6}\u{3bf}\u{3c3}", 0),
        ("\u{418}\u{412}\u{410}\u{41d}", 1),
        ("\u{438}\u{412}\u{430}\u{41d} \u{451}\u{43b}", 1),
        ("\u{418}", 1),
        ("GROSSMANN", 2),
        ("gro\u{df}", 2),
        ("GRO\u{1e9e}MANN", 2),
        ("oSs", 2),
        ("I\u{15e}IK", 3),
        ("i\u{15f}ik", 3),
        ("\u{131}\u{15f}\u{131}k", 3),
        ("INAN", 3),
        ("\u{130}NAN", 3),
    ] {
        let found = paged(&db, &text(sought), 10).await.0;
        let ids: Vec<&str> = found.iter().map(|found| found.user_id.as_str()).collect();
        assert_eq!(ids, [format!("u{user}")], "{sought}");
        assert!(contains(&text(sought), &found[0]), "{sought}");
    }
}

/// The function of the database and the naive one agree on each letter of the alphabets that it knows.
#[tokio::test]
async fn the_database_folds_the_letters_of_four_alphabets() {
    let db = database().await;
    let known = (0x20..0x590).chain(0x1e00..0x1f00).filter_map(char::from_u32);
    // Ligatures and letters that are written as several stay as they are.
    let single = known.filter(|letter| fold(&letter.to_string()).chars().count() == 1);
    let letters: String = single.filter(|letter| *letter != '\'').collect();
    let query = format!("SELECT identity.fold('{letters}')");
    let folded = testkit::ask_texts(&mut *db.connect().await, &query).await.unwrap();
    assert_eq!(folded, [fold(&letters)]);
}

/// Rows that a page reads, and whether one of its statements read the whole table.
async fn rows_read(db: &TestDb, filter: &UserFilter) -> (i64, i64) {
    let mut conn = db.connect().await;
    conn.batch_execute("BEGIN").await.unwrap();
    users::list(&mut conn, filter, &Page::first(10)).await.unwrap();
    let of_users = "FROM pg_stat_xact_user_tables WHERE relid = 'identity.users'::regclass";
    let rows = format!("SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) {of_users}");
    let rows = testkit::ask(&mut conn, &rows).await.unwrap();
    let scans = testkit::ask(&mut conn, &format!("SELECT seq_scan {of_users}")).await.unwrap();
    conn.batch_execute("ROLLBACK").await.unwrap();
    (rows, scans)
}

/// No page reads the whole table, whatever is looked for.
#[tokio::test]
async fn a_page_reads_a_bounded_part_of_a_large_table() {
    let db = database().await;
    db.run(
        "INSERT INTO identity.users (user_id, email, email_folded, name, created_at, updated_at)
         SELECT 'u' || n, 'e' || n || '@example.com', 'e' || n || '@example.com',
             CASE n % 3 WHEN 0 THEN 'a common name' WHEN 1 THEN U&'\\0418\\0432\\0430\\043D ' || n END, made, made
         FROM generate_series(1, 60000) AS n, LATERAL (SELECT timestamptz '2026-01-01Z' + n * interval '1 s' AS made) AS m;
         ANALYZE identity.users",
    )
    .await;
    // Few users are looked up; others are met on a walk, which goes past 10,000 of them and finds its end.
    let (few, walk) = (100, 30_000);
    for (filter, most) in [
        (text("u59999"), few),
        (text("E59999@"), few),
        (text("\u{438}\u{412}\u{410}\u{43d} 59998"), few),
        (text("nobody"), few),
        (UserFilter { plan: Some(Plan::Pro), ..UserFilter::default() }, few),
        (UserFilter { plan: Some(Plan::Free), ..UserFilter::default() }, walk),
        (UserFilter { role: Some(Role::Admin), ..UserFilter::default() }, few),
        (UserFilter { is_active: Some(false), ..UserFilter::default() }, few),
        (text("common"), walk),
        (text("R"), walk),
        (UserFilter::default(), walk),
    ] {
        let (rows, scans) = rows_read(&db, &filter).await;
        assert!(rows <= most && scans == 0, "{filter:?}: {rows} rows, {scans} scans of the table");
    }
}

#[tokio::test]
async fn a_search_in_a_large_table_finds_everyone_once_in_bounded_steps() {
    let db = database().await;
    // More than one walk, and more than are looked up, of users whose name has "common" in it.
    db.run(
        "INSERT INTO identity.users (user_id, email, email_folded, name, created_at, updated_at)
         SELECT 'u' || n, 'e' || n || '@example.com', 'e' || n || '@example.com',
             CASE WHEN n % 9 = 0 THEN 'a common name' WHEN n IN (5, 24999) THEN 'Rare' END, made, made
         FROM generate_series(1, 25000) AS n, LATERAL (SELECT timestamptz '2026-01-01Z' + n * interval '1 s' AS made) AS m;
         UPDATE identity.users SET role = 'admin', is_active = false WHERE user_id = 'u3';
         ANALYZE identity.users",
    )
    .await;
    let ids = |users: Vec<User>| users.into_iter().map(|user| user.user_id.to_string()).collect::<Vec<_>>();
    // Few fit: they are looked up, and no page is short.
    for (sought, expected) in
        [("rare", &["u24999", "u5"][..]), ("E1234@", &["u1234"]), ("u2499", &["u24999"])]
    {
        let (found, was_short) = paged(&db, &text(sought), 10).await;
        let found = ids(found);
        assert!(
            expected.iter().all(|id| found.contains(&(*id).to_owned())) && !was_short,
            "{sought}: {found:?}"
        );
    }
    // Many fit: each is found once, although a walk sees a part.
    let (found, _) = paged(&db, &text("common"), 500).await;
    assert_eq!(found.len(), 25_000 / 9);
    assert_eq!(ids(found).into_iter().collect::<BTreeSet<_>>().len(), 25_000 / 9);
    // One letter is not looked up: the only one who fits is at the other end of the table.
    let odd = UserFilter { is_active: Some(true), ..text("R") };
    let (found, was_short) = paged(&db, &odd, 10).await;
    assert_eq!(ids(found), ["u24999", "u5"]);
    assert!(was_short, "three walks");
    // Rare filters have an index of their own.
    for filter in [
        UserFilter { role: Some(Role::Admin), ..UserFilter::default() },
        UserFilter { is_active: Some(false), ..UserFilter::default() },
    ] {
        let (found, was_short) = paged(&db, &filter, 10).await;
        assert_eq!((ids(found), was_short), (vec!["u3".to_owned()], false));
    }
    let plan = UserFilter { plan: Some(Plan::Pro), ..UserFilter::default() };
    assert_eq!(paged(&db, &plan, 10).await, (Vec::new(), false));
}
