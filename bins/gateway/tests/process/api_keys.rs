//! API keys and roles from the command line, and what they mean to processes that run.

use std::{path::Path, process::Command};

use kernel::SystemClock;

use super::gateway_process::{Gateway, command, database, folder, refused, run};
use crate::prelude::*;

const BALANCE: &str = "auth0%7Ca/credits/balance";
const SUMMARY: &str = "/api/v1/usage/summary";
const SECRET: &str = "a shared secret of more than 32 bytes";

/// A call of the binary on this database.
fn called(folder: &Path, url: &str, arguments: &[&str]) -> Command {
    let mut command = command(folder, &[("DATABASE_URL", url)]);
    command.args(arguments);
    command
}

/// Runs the binary, which succeeds, and returns its only line.
#[track_caller]
fn line(command: &mut Command) -> String {
    let (status, out, error) = run(command);
    assert_eq!((status.code(), error.as_str()), (Some(0), ""), "{out}");
    assert!(out.ends_with('\n') && out.lines().count() == 1, "{out}");
    out.trim().to_owned()
}

fn by_key(gateway: &Gateway, path: &str, key: &str) -> TestRequest {
    gateway.request("GET", path).header("X-API-Key", key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_revoked_on_one_process_is_refused_on_the_other_with_the_next_request() {
    let db = database().await;
    let (one, two) = tokio::join!(Gateway::on(db.url(), &[]), Gateway::on(db.url(), &[]));
    one.ensure("auth0|a").await;
    let body = json!({"name": "billing", "scopes": ["service"]});
    let made = one.post("/api/v1/api-keys", body).data().await;
    let key = made["key"].text();
    for _ in 0..3 {
        for gateway in [&one, &two] {
            by_key(gateway, BALANCE, key).ok().await;
        }
    }
    let path = format!("/api/v1/api-keys/{}", made["key_id"].text());
    one.request("DELETE", &path).service().expect(200).await;
    for gateway in [&two, &one] {
        by_key(gateway, BALANCE, key).refused(401, "AuthenticationException").await;
        by_key(gateway, BALANCE, key).refused(401, "AuthenticationException").await;
        assert!(!gateway.log().contains(key), "keys are not logged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_the_command_line_is_printed_once_and_opens_what_its_scopes_say() {
    let (db, folder) = (database().await, folder());
    let gateway = Gateway::on(db.url(), &[]).await;
    gateway.ensure("auth0|a").await;
    let create = |more: &[&str]| {
        let arguments = [&["api-key", "create", "--name", "from the shell"], more].concat();
        called(folder.path(), db.url(), &arguments)
    };
    let service = line(&mut create(&["--scope", "service"]));
    let reader = line(&mut create(&["--scope", "read", "--expires-at", "2199-01-31T00:00:00Z"]));
    let admin = line(&mut create(&["--scope", "service", "--scope", "admin"]));
    for key in [&service, &reader, &admin] {
        by_key(&gateway, BALANCE, key).ok().await;
        assert_eq!(
            db.ask(&format!(
                "SELECT count(*) FROM identity.api_keys AS k WHERE k::text LIKE '%{}%'",
                &key[13..]
            ))
            .await,
            0
        );
        assert!(!gateway.log().contains(key.as_str()), "keys are not logged");
    }
    let consume = |key: &str| {
        let path = "auth0%7Ca/credits/consume";
        gateway.request("POST", path).header("X-API-Key", key).json(json!({"amount": 1}))
    };
    consume(&service).expect(200).await;
    consume(&reader).refused(403, "InsufficientScopeException").await;
    by_key(&gateway, "/api/v1/api-keys", &service).refused(403, "InsufficientScopeException").await;
    let listed = by_key(&gateway, "/api/v1/api-keys", &admin).rows().await;
    let prefixes: Vec<&str> = listed.iter().map(|key| key["prefix"].text()).collect();
    assert_eq!(prefixes, [&admin[..13], &reader[..13], &service[..13]]);
    assert_eq!(listed[1]["expires_at"], "2199-01-31T00:00:00.000000Z");
    let events = by_key(&gateway, "/api/v1/audit-events", &admin).rows().await;
    events[0]
        .has(json!({"action": "api_key.created", "actor": "system", "details.scopes": ["service", "admin"]}));

    refused(
        &mut create(&["--scope", "read", "--expires-at", "2020-01-01"]),
        1,
        &["--expires-at does not lie ahead"],
    );
    refused(&mut create(&[]), 2, &["--scope"]);
    refused(&mut create(&["--scope", "all"]), 2, &["is not read, service or admin"]);
    assert_eq!(by_key(&gateway, "/api/v1/api-keys", &admin).rows().await.len(), 3);
    let empty = TestDb::create(&[], &[]).await;
    let command =
        &mut called(folder.path(), empty.url(), &["api-key", "create", "--name", "a", "--scope", "read"]);
    refused(command, 1, &["gateway migrate"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_who_is_demoted_is_refused_at_once_on_every_process() {
    let (db, folder) = (database().await, folder());
    let variables = [("SUPABASE_JWT_SECRET", SECRET)];
    let (one, two) = tokio::join!(Gateway::on(db.url(), &variables), Gateway::on(db.url(), &variables));
    one.ensure("auth0|a").await;
    let user = testkit::user("auth0|a");
    let token = identity::dev_token(&SECRET.into(), &user, "someone@example.com", SystemClock.now());
    let set_role = |verb: &str, user: &str| called(folder.path(), db.url(), &["user", verb, user]);
    for (verb, role, status) in [
        ("promote", "admin", 200),
        ("demote", "user", 403),
        ("promote", "admin", 200),
        ("demote", "user", 403),
    ] {
        assert_eq!(line(&mut set_role(verb, "auth0|a")), format!("auth0|a: role {role}"));
        for gateway in [&one, &two] {
            assert_eq!(gateway.request("GET", SUMMARY).token(&token).await.status, status, "{verb}");
        }
    }
    assert_eq!(line(&mut set_role("demote", "auth0|a")), "auth0|a: role user", "as before");
    let events = one.get("/api/v1/audit-events?action=role.changed").rows().await;
    assert_eq!(events.len(), 4, "a role that stays is no change: {events:?}");

    for verb in ["promote", "demote"] {
        refused(&mut set_role(verb, "auth0|nobody"), 1, &["there is no user auth0|nobody", "log in once"]);
        refused(&mut set_role(verb, "no id"), 2, &["no id"]);
    }
}
