//! What was killed and what was left lying about must not matter to the next start.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use local_postgres::{Error, LocalPostgres};

use crate::held;
use crate::support::{enterable_dir, is_alive, is_root, kill_hard, settings, sql, start, wait_until};

#[test]
fn second_process_on_a_folder_is_refused_and_told_who_holds_it() {
    let dir = enterable_dir();
    let data_dir = dir.path().join("data");
    let mut holder = held::spawn(&data_dir);
    let (server, url) = holder.ready();
    let error = LocalPostgres::start(&settings(&data_dir)).unwrap_err();
    assert!(
        matches!(&error, Error::Locked { holder: Some(pid), .. } if *pid == holder.process.id()),
        "{error}"
    );
    assert!(error.to_string().contains(data_dir.to_str().unwrap()), "{error}");
    assert_eq!(sql(&url, "select 1").unwrap(), ["1"]);
    holder.release();
    assert!(!is_alive(server));
    start(&data_dir);
}

#[test]
fn killed_server_is_noticed_and_recovered() {
    let dir = enterable_dir();
    let data_dir = dir.path().join("data");
    let postgres = start(&data_dir);
    sql(&postgres.url(), "create table kept (n int); insert into kept values (7)").unwrap();
    kill_hard(postgres.pid());
    assert_eq!(postgres.exit_watch().wait().signal(), Some(9));
    assert!(!postgres.is_running());
    postgres.stop().unwrap();
    let postgres = start(&data_dir);
    assert_eq!(sql(&postgres.url(), "select n from kept").unwrap(), ["7"]);
}

#[test]
fn busy_orphans_of_a_killed_server_are_ended_first() {
    let dir = enterable_dir();
    let data_dir = dir.path().join("data");
    let postgres = start(&data_dir);
    let url = postgres.url();
    // A backend that computes does not notice that its server is gone.
    let busy = std::thread::spawn(move || sql(&url, "do $$ begin loop null; end loop; end $$"));
    let count = "select pid from pg_stat_activity where query like 'do %' and state = 'active'";
    let mut orphan = 0;
    wait_until("the endless statement runs", || {
        let found = sql(&postgres.superuser_url("app"), count).unwrap();
        found.first().is_some_and(|pid| {
            orphan = pid.parse().unwrap();
            true
        })
    });
    kill_hard(postgres.pid());
    postgres.exit_watch().wait();
    assert!(is_alive(orphan));
    drop(postgres);
    let postgres = start(&data_dir);
    assert!(!is_alive(orphan));
    busy.join().unwrap().unwrap_err();
    assert_eq!(sql(&postgres.url(), "select 1").unwrap(), ["1"]);
}

#[test]
fn killed_parent_leaves_no_server_and_the_next_start_works() {
    let dir = enterable_dir();
    let data_dir = dir.path().join("data");
    let mut holder = held::spawn(&data_dir);
    let (server, url) = holder.ready();
    sql(&url, "create table kept (n int); insert into kept values (7)").unwrap();
    holder.kill_hard();
    // At once, while the old server may still be shutting down.
    let postgres = start(&data_dir);
    assert!(!is_alive(server));
    assert_eq!(sql(&postgres.url(), "select n from kept").unwrap(), ["7"]);
    postgres.stop().unwrap();

    let mut holder = held::spawn(&data_dir);
    let (server, _) = holder.ready();
    holder.kill_hard();
    if cfg!(target_os = "linux") {
        wait_until("the kernel has ended the server", || !is_alive(server));
    }
}

#[test]
fn interrupted_first_start_is_healed() {
    let dir = enterable_dir();
    let data_dir = dir.path().join("data");
    let unfinished = || {
        let entries = std::fs::read_dir(&data_dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).find(|path| path.to_str().unwrap().contains("/postgres.init-"))
    };
    let mut holder = held::spawn(&data_dir);
    wait_until("initdb works", || unfinished().is_some_and(|path| path.join("global").exists()));
    holder.kill_hard();
    assert!(!data_dir.join("postgres").exists());
    // The killed tools may write for an instant more; the start after the next one removes what they made.
    let postgres = start(&data_dir);
    assert_eq!(sql(&postgres.url(), "select 1").unwrap(), ["1"]);
    postgres.stop().unwrap();
    start(&data_dir).stop().unwrap();
    assert_eq!(unfinished(), None);
}

#[test]
fn process_id_that_another_program_has_now_is_no_obstacle() {
    let dir = enterable_dir();
    let data_dir = dir.path().join("data");
    let postgres = start(&data_dir);
    let cluster = postgres.cluster_dir();
    kill_hard(postgres.pid());
    postgres.exit_watch().wait();
    drop(postgres);

    let owner = std::fs::metadata(&cluster).unwrap();
    let mut command = Command::new("sleep");
    command.arg("600");
    if is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let mut bystander = command.spawn().unwrap();
    for file in ["postmaster.pid", ".s.PGSQL.5432.lock"] {
        let text = std::fs::read_to_string(cluster.join(file)).unwrap();
        let (_, rest) = text.split_once('\n').unwrap();
        std::fs::write(cluster.join(file), format!("{}\n{rest}", bystander.id())).unwrap();
    }
    let started = LocalPostgres::start(&settings(&data_dir));
    let survived = bystander.try_wait().unwrap().is_none();
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    assert_eq!(sql(&started.unwrap().url(), "select 1").unwrap(), ["1"]);
    assert!(survived, "a program that has nothing to do with it was ended");
}
