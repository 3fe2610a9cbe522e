//! `gateway ledger cool`: heads written back, beside a gateway under load and without one.

use std::path::Path;

use super::{
    gateway_process::{Gateway, command, database, folder, refused, run},
    ledger_verify::verify,
};
use crate::prelude::*;

const COOL: [&str; 2] = ["ledger", "cool"];
const HEADS: &str = "SELECT count(*) FROM credits.accounts WHERE head_grant_id IS NOT NULL";

/// Number of accounts that the command reports.
#[track_caller]
fn cool(folder: &Path, variables: &[(&str, &str)]) -> u64 {
    let (status, out, error) = run(command(folder, variables).args(COOL));
    assert_eq!((status.code(), error.as_str()), (Some(0), ""), "{out}");
    let (count, rest) = out.split_once(' ').unwrap();
    assert!(
        rest.starts_with("accounts in ")
            && rest.ends_with(" s: their heads are in the rows of their grants\n")
    );
    count.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_are_written_back_beside_a_gateway_under_load_and_charges_stay_exact() {
    let (db, folder) = (database().await, folder());
    let variables = [("DATABASE_URL", db.url()), ("INITIAL_CREDITS", "1000000")];
    let mut gateway = Gateway::start(folder.path(), &variables).await;
    let users = ["a", "b", "c", "d"];
    for user in users {
        gateway.ensure(user).await;
        gateway.consume(user, 1).expect(200).await;
    }
    let (path, url) = (folder.path().to_owned(), db.url().to_owned());
    let cooling =
        std::thread::spawn(move || (0..5).map(|_| cool(&path, &[("DATABASE_URL", &url)])).sum::<u64>());
    let mut left = 999_999.0;
    while !cooling.is_finished() {
        let mut spenders = JoinSet::new();
        for turn in 0..40 {
            spenders.spawn(gateway.consume(users[turn % users.len()], 1).send());
        }
        assert!(spenders.join_all().await.iter().all(|reply| reply.status == 200));
        left -= 10.0;
    }
    assert!(cooling.join().unwrap() >= 4);
    for user in users {
        assert_eq!(gateway.balance(user).await, left);
        gateway.consume(user, 1).expect(200).await;
    }
    assert_eq!(db.ask(HEADS).await, 4);

    let grants = async |gateway: &Gateway| gateway.get("a/credits/grants").data().await;
    let before = grants(&gateway).await;
    gateway.stop();
    assert_eq!(cool(folder.path(), &variables), 4);
    assert_eq!(db.ask(HEADS).await, 0);
    assert_eq!(cool(folder.path(), &variables), 0, "nothing is left");
    let (code, _, error) = verify(folder.path(), &variables);
    assert_eq!(code, Some(0), "{error}");
    let gateway = Gateway::start(folder.path(), &variables).await;
    assert_eq!(grants(&gateway).await, before);
    gateway.consume("a", 1).expect(200).await;
    assert_eq!(db.ask(HEADS).await, 1, "heads come back with charges");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_said_with_its_exit_code() {
    let folder = folder();
    refused(command(folder.path(), &[]).args(COOL), 1, &["there is no database in ./data"]);
    let db = TestDb::create(&[], &[]).await;
    refused(command(folder.path(), &[("DATABASE_URL", db.url())]).args(COOL), 1, &["gateway migrate"]);
}
