//! Where SQL may stand (I3), and who opens transactions (I4).

use crate::{
    edges::DOMAINS,
    rule::Rule,
    source::{Source, has_word},
    workspace::{Folder, Workspace},
};

const VERBS: [&str; 18] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "CREATE", "ALTER", "DROP", "TRUNCATE", "LOCK", "LISTEN",
    "NOTIFY", "GRANT", "REVOKE", "MERGE", "COPY", "SET", "VALUES",
];
const TRANSACTION_VERBS: [&str; 4] = ["BEGIN", "COMMIT", "ROLLBACK", "START TRANSACTION"];

/// Rules across domains belong to none of them. They are queries that this file only names; it runs none.
const AUDITS_ACROSS: &str = "crates/flows/src/audits.rs";

#[test]
fn i3_sql_stands_below_store_only() {
    let rule = Rule {
        name: "I3",
        says: "SQL and diesel appear in pg and below src/store/ of a domain, nowhere else, but for the audits of flows",
        because: "the rest of a domain then reads as rules, and a table has one place where it is touched; outside store/ a \
            connection is only a parameter (`AsyncPgConnection`)",
    };
    let breaches: Vec<String> = Workspace::get().production().flat_map(sql_in).collect();
    rule.is_kept(&breaches);
}

#[test]
fn i4_only_pg_opens_transactions() {
    let rule = Rule {
        name: "I4",
        says: "a transaction comes only from pg::Tx, and a migration does not end the one it runs in",
        because: "pg::Tx discards its connection when it is dropped, so that no path leaves a transaction open; migrations \
            are all or nothing",
    };
    let workspace = Workspace::get();
    let mut breaches: Vec<String> = workspace.production().flat_map(transactions_in).collect();
    breaches.extend(workspace.migrations.iter().flat_map(transactions_in_migration));
    rule.is_kept(&breaches);
}

fn sql_in(source: &Source) -> Vec<String> {
    let part = match owner(&source.path) {
        Some(name) if DOMAINS.contains(&name) => {
            if source.path.contains("/src/store/") || source.path.ends_with("/src/store.rs") {
                return Vec::new();
            }
            name
        }
        Some(name @ ("kernel" | "web" | "flows" | "gateway" | "client")) => name,
        _ => return Vec::new(),
    };
    let mut breaches = Vec::new();
    for (line, code) in source.lines() {
        // A domain's function takes a connection; to use it is the store's part.
        let code = match DOMAINS.contains(&part) {
            true => code.replace("diesel_async::AsyncPgConnection", ""),
            false => code.to_owned(),
        };
        for word in ["diesel", "diesel_async", "tokio_postgres", "pg::sql"] {
            if has_word(&code, word) {
                breaches.push(format!("{} uses {word}", source.at(line)));
            }
        }
    }
    if source.path == AUDITS_ACROSS {
        return breaches;
    }
    for literal in source.literals.iter().filter(|literal| is_sql(&literal.text)) {
        let start: String = literal.text.chars().take(40).collect();
        breaches.push(format!("{} holds SQL: {start}", source.at(literal.line)));
    }
    breaches
}

/// An upper-case verb and something behind it; the name of an HTTP method stands alone.
fn is_sql(text: &str) -> bool {
    let text = text.trim_start();
    VERBS.iter().any(|verb| {
        text.strip_prefix(verb)
            .is_some_and(|rest| rest.starts_with([' ', '\n', '\\']) && !rest.trim().is_empty())
    })
}

fn transactions_in(source: &Source) -> Vec<String> {
    if matches!(owner(&source.path), Some("pg" | "testkit" | "local-postgres")) {
        return Vec::new();
    }
    let mut breaches = Vec::new();
    for (line, code) in source.lines() {
        for call in [
            ".transaction(",
            "build_transaction",
            "begin_transaction",
            "begin_test_transaction",
            "TransactionManager",
        ] {
            if code.contains(call) {
                breaches.push(format!("{} uses {call}", source.at(line)));
            }
        }
    }
    for literal in &source.literals {
        if ends_transaction(&literal.text) {
            breaches.push(format!("{} says {}", source.at(literal.line), literal.text));
        }
    }
    breaches
}

fn transactions_in_migration(folder: &Folder) -> Vec<String> {
    let mut breaches = Vec::new();
    for (file, sql) in [("up.sql", &folder.up), ("down.sql", &folder.down)] {
        for line in sql.as_deref().unwrap_or_default().lines() {
            let line = line.trim();
            // `BEGIN` alone belongs to a function's body.
            let ends = line.ends_with(';') && ends_transaction(line);
            if ends || line.to_uppercase().contains("CONCURRENTLY") {
                breaches.push(format!("migrations/{}/{}/{file}: {line}", folder.domain, folder.name));
            }
        }
    }
    breaches
}

/// The statement alone, in any case, or in capitals with something behind it.
fn ends_transaction(text: &str) -> bool {
    let text = text.trim().trim_end_matches(';');
    TRANSACTION_VERBS.iter().any(|verb| {
        text.eq_ignore_ascii_case(verb)
            || text.strip_prefix(verb).is_some_and(|rest| rest.starts_with([' ', ';']))
    })
}

/// The crate a path belongs to: the second of its folders.
fn owner(path: &str) -> Option<&str> {
    path.split('/').nth(1)
}

#[test]
fn sql_outside_a_store_is_found() {
    let found = |path: &str, text: &str| sql_in(&Source::new(path, text)).len();
    let service = "crates/credits/src/service.rs";
    assert_eq!(found(service, "use diesel::prelude::*;"), 1);
    assert_eq!(found(service, "use diesel_async::RunQueryDsl;"), 1);
    assert_eq!(found(service, "use diesel_async::AsyncPgConnection;"), 0);
    assert_eq!(found(service, "let q = pg::sql(TEXT);"), 1);
    assert_eq!(found(service, r#"const Q: &str = "SELECT 1";"#), 1);
    assert_eq!(found(service, r#"const Q: &str = "Selected: 1";"#), 0);
    assert_eq!(found("crates/credits/src/store/a.rs", r#"const Q: &str = "SELECT 1";"#), 0);
    assert_eq!(found("bins/gateway/src/http.rs", "use diesel_async::AsyncPgConnection;"), 1);
    assert_eq!(found("bins/gateway/src/http.rs", r#"let q = "UPDATE users SET a = 1";"#), 1);
    assert_eq!(found("bins/gateway/src/http.rs", r#"["GET", "DELETE"]"#), 0);
    let select = r#"const Q: &str = "SELECT 1";"#;
    assert_eq!(found("crates/flows/src/sweeper.rs", select), 1);
    assert_eq!(found(AUDITS_ACROSS, select), 0);
    assert_eq!(found(AUDITS_ACROSS, "let q = pg::sql(TEXT);"), 1);
    assert_eq!(found("crates/pg/src/x.rs", r#"let q = "SELECT 1";"#), 0);
}

#[test]
fn transactions_opened_elsewhere_are_found() {
    let found = |text: &str| transactions_in(&Source::new("crates/usage/src/store/a.rs", text)).len();
    assert_eq!(found("conn.transaction(async |c| Ok(()))"), 1);
    assert_eq!(found("conn.build_transaction().run(f)"), 1);
    assert_eq!(found(r#"conn.batch_execute("BEGIN")"#), 1);
    assert_eq!(found(r#"conn.batch_execute("commit;")"#), 1);
    assert_eq!(found(r#"let text = "begin with the first";"#), 0);
    assert_eq!(found("let tx = Tx::begin(&pool).await?; tx.commit().await?;"), 0);

    let folder = |up: &str| Folder {
        domain: "usage".to_owned(),
        name: "1_a".to_owned(),
        up: Some(up.to_owned()),
        down: None,
    };
    for bad in ["COMMIT;", "commit;", "CREATE INDEX CONCURRENTLY a ON b (c);"] {
        assert_eq!(transactions_in_migration(&folder(bad)).len(), 1, "{bad}");
    }
    let function = "CREATE FUNCTION f() AS $$\nBEGIN\n  RETURN;\nEND;\n$$;\nCREATE TABLE a.b ();";
    assert_eq!(transactions_in_migration(&folder(function)), [""; 0]);
}
