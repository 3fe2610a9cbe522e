//! Tokens of the service on two processes: logout, reuse, and `gateway keys rotate` under load.

use std::{collections::BTreeSet, path::Path};

use futures_util::future::join_all;
use kernel::SystemClock;

use super::gateway_process::{Gateway, command, database, folder, refused, run};
use crate::{
    own_logins::{Login, open_on},
    prelude::*,
};

/// Issuer of both processes.
const PUBLIC_URL: &str = "https://users.example.com";
const USER: &str = "email|a";
/// Logins that are used at the same time while keys rotate.
const CLIENTS: usize = 8;

/// Two gateways on one database, which goes last.
struct Both {
    gateways: [Gateway; 2],
    db: TestDb,
}

impl Both {
    async fn start() -> Self {
        // The load of a test is not what limits are made for.
        let variables = [("PUBLIC_URL", PUBLIC_URL), ("RATE_LIMIT_ENABLED", "false")];
        let db = database().await;
        let (one, two) = tokio::join!(Gateway::on(db.url(), &variables), Gateway::on(db.url(), &variables));
        one.ensure(USER).await;
        Self { gateways: [one, two], db }
    }

    async fn log_in(&self) -> Login {
        open_on(&self.db, &SystemClock, PUBLIC_URL, USER).await
    }
}

fn balance(gateway: &Gateway, token: &str) -> TestRequest {
    gateway.request("GET", &format!("{USER}/credits/balance")).token(token)
}

fn refresh(gateway: &Gateway, token: &str) -> TestRequest {
    gateway.request("POST", "/api/auth/refresh").json(json!({"refresh_token": token}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_counts_on_the_other_process_with_the_next_request() {
    let both = Both::start().await;
    let [one, two] = &both.gateways;
    for all in [false, true] {
        let login = both.log_in().await;
        for gateway in [one, two] {
            balance(gateway, &login.user.token).ok().await;
        }
        let logout = one.request("POST", "/api/auth/logout").by(&login.user).json(json!({"all": all}));
        logout.ok().await;
        balance(two, &login.user.token).refused(401, "AuthenticationException").await;
        refresh(two, &login.refresh_token).refused(401, "RefreshTokenInvalidException").await;
    }
}

/// Without `PUBLIC_URL` the issuer is where the process listens, also on a port that the system chose.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_issuer_is_the_address_of_the_process() {
    let db = database().await;
    let gateway = Gateway::on(db.url(), &[]).await;
    gateway.ensure(USER).await;
    let own = open_on(&db, &SystemClock, &gateway.url, USER).await;
    balance(&gateway, &own.user.token).ok().await;
    let other = open_on(&db, &SystemClock, "http://127.0.0.1:8100", USER).await;
    balance(&gateway, &other.user.token).refused(401, "AuthenticationException").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reuse_of_an_older_token_ends_the_login_on_both() {
    let both = Both::start().await;
    let [one, two] = &both.gateways;
    let login = both.log_in().await;
    let second = refresh(one, &login.refresh_token).ok().await;
    let third = refresh(two, second["refresh_token"].text()).ok().await;
    // A repeat of the token before is none.
    let again = refresh(one, second["refresh_token"].text()).ok().await;
    assert_eq!(third["refresh_token"], again["refresh_token"]);
    refresh(two, &login.refresh_token).refused(401, "RefreshTokenInvalidException").await;
    for (gateway, tokens) in [(one, &third), (two, &again)] {
        balance(gateway, tokens["access_token"].text()).refused(401, "AuthenticationException").await;
        refresh(gateway, tokens["refresh_token"].text()).refused(401, "RefreshTokenInvalidException").await;
    }
}

/// Runs `gateway keys rotate` and returns the name of the key.
#[track_caller]
fn rotate(folder: &Path, url: &str, more: &[&str]) -> String {
    let mut command = command(folder, &[("DATABASE_URL", url), ("PUBLIC_URL", PUBLIC_URL)]);
    let (status, out, error) = run(command.args(["keys", "rotate"]).args(more));
    assert_eq!((status.code(), error.as_str()), (Some(0), ""), "{out}");
    out.strip_prefix("key ").unwrap().split(' ').next().unwrap().to_owned()
}

/// Refreshes a login and uses its tokens on both processes until some time after the end, and returns the names of the keys that
/// signed.
async fn use_tokens(both: &Both, number: usize, is_over: impl Fn() -> bool) -> BTreeSet<String> {
    let login = both.log_in().await;
    let (mut refresh_token, mut signed) = (login.refresh_token, BTreeSet::new());
    let (mut turn, mut rounds_after) = (number, 0);
    while rounds_after < 4 {
        rounds_after += i32::from(is_over());
        // A token of one process is valid at the other at once.
        let (signer, other) = (&both.gateways[turn % 2], &both.gateways[(turn + 1) % 2]);
        turn += 1;
        let tokens = refresh(signer, &refresh_token).ok().await;
        tokens["refresh_token"].text().clone_into(&mut refresh_token);
        let token = tokens["access_token"].text();
        signed.insert(jsonwebtoken::decode_header(token).unwrap().kid.unwrap());
        balance(other, token).ok().await;
        balance(signer, token).ok().await;
        balance(other, &login.user.token).ok().await;
    }
    signed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_under_load_without_a_refused_token() {
    let (both, folder) = (Both::start().await, folder());
    let (path, url) = (folder.path().to_owned(), both.db.url().to_owned());
    let rotating = std::thread::spawn(move || {
        let waiting = rotate(&path, &url, &[]);
        let urgent: Vec<String> = (0..3).map(|_| rotate(&path, &url, &["--now"])).collect();
        (waiting, urgent)
    });
    let clients = (0..CLIENTS).map(|number| use_tokens(&both, number, || rotating.is_finished()));
    let signed: BTreeSet<String> = join_all(clients).await.into_iter().flatten().collect();
    let (waiting, urgent) = rotating.join().unwrap();
    assert!(signed.contains(urgent.last().unwrap()), "{signed:?}");
    assert!(!signed.contains(&waiting));
    let published = both.gateways[0].request("GET", "/.well-known/jwks.json").ok().await;
    assert_eq!(published["keys"].list().len(), 5);
}

const KEYS: [&str; 2] =
    ["q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJE=", "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MHdlcnR5dWlvcGE="];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_production_need_the_secrets_key_that_sealed_them() {
    let (db, folder) = (database().await, folder());
    let with_key = |secrets_key: Option<&str>, arguments: &[&str]| {
        let mut variables = vec![
            ("ENVIRONMENT", "production"),
            ("SUPABASE_URL", "https://p.example.com"),
            ("USER_SERVICE_API_KEY", "2f1f0a9c2b7d4e8863a5d1c0f4b79e12"),
            ("PUBLIC_URL", PUBLIC_URL),
            ("DATABASE_URL", db.url()),
        ];
        variables.extend(secrets_key.map(|key| ("SECRETS_KEY", key)));
        let mut command = command(folder.path(), &variables);
        command.args(arguments);
        command
    };
    refused(&mut with_key(None, &["keys", "rotate"]), 1, &["SECRETS_KEY is not set"]);
    let (status, out, error) = run(&mut with_key(Some(KEYS[0]), &["keys", "rotate", "--now"]));
    assert_eq!((status.code(), error.as_str()), (Some(0), ""), "{out}");
    let log = refused(&mut with_key(Some(KEYS[1]), &["serve"]), 1, &["SECRETS_KEY_PREVIOUS"]);
    let line = log.lines().find(|line| line.contains("SECRETS_KEY_PREVIOUS")).unwrap();
    assert!(line.contains("sealed with another key") && !KEYS.iter().any(|key| log.contains(key)), "{log}");
}
