//! Folders that are closed, long, odd, moved or someone else's.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::PathBuf;

use local_postgres::{Error, LocalPostgres};
use nix::unistd::User;

use crate::held;
use crate::support::{dir_with_mode, enterable_dir, is_root, settings, sql, start};

#[test]
fn folder_closed_to_the_account_gets_a_pointer_to_another_place() {
    if !is_root() {
        return; // Only root runs the server as someone else.
    }
    let closed = dir_with_mode(0o700);
    let open = enterable_dir();
    let data_dir = closed.path().join("data");
    let mut settings = settings(&data_dir);
    settings.fallback_dir = open.path().join("services");
    let postgres = LocalPostgres::start(&settings).unwrap();
    let elsewhere = postgres.cluster_dir();
    assert!(elsewhere.starts_with(&settings.fallback_dir));
    assert_eq!(std::fs::metadata(closed.path()).unwrap().mode() & 0o777, 0o700);
    sql(
        &postgres.url(),
        "create table kept (n int); insert into kept values (7)",
    )
    .unwrap();
    postgres.stop().unwrap();

    let postgres = LocalPostgres::start(&settings).unwrap();
    assert_eq!(postgres.cluster_dir(), elsewhere);
    assert_eq!(sql(&postgres.url(), "select n from kept").unwrap(), ["7"]);

    // A copy of the data folder points at a cluster that is in use.
    let copy = closed.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(data_dir.join("postgres.location"), copy.join("postgres.location")).unwrap();
    let of_copy = local_postgres::Settings {
        data_dir: copy,
        ..settings.clone()
    };
    assert!(matches!(
        LocalPostgres::start(&of_copy),
        Err(Error::Locked { .. })
    ));
    assert!(postgres.is_running());
    postgres.stop().unwrap();

    std::fs::remove_dir_all(&data_dir).unwrap();
    let postgres = LocalPostgres::start(&settings).unwrap();
    assert_ne!(postgres.cluster_dir(), elsewhere);
    sql(&postgres.url(), "select n from kept").unwrap_err();
    let home = postgres.cluster_dir().parent().unwrap().to_owned();
    postgres.stop().unwrap();

    std::fs::remove_dir_all(home).unwrap();
    assert!(matches!(
        LocalPostgres::start(&settings),
        Err(Error::LocationLost { .. })
    ));
}

#[test]
fn data_in_place_that_became_unreachable_is_not_replaced_by_an_empty_database() {
    if !is_root() {
        return; // Only root runs the server as someone else.
    }
    let dir = enterable_dir();
    let data_dir = dir.path().join("data");
    start(&data_dir).stop().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(
        LocalPostgres::start(&settings(&data_dir)),
        Err(Error::Unreachable { .. })
    ));
    assert!(!data_dir.join("postgres.location").exists());
}

#[test]
fn long_and_odd_path_works_and_its_socket_folder_goes_with_the_server() {
    let dir = enterable_dir();
    let data_dir = dir
        .path()
        .join(format!("{} , \"quo'ted\" ü %41", "x".repeat(120)));
    let mut holder = held::spawn(&data_dir);
    holder.ready();
    let noted = || PathBuf::from(std::fs::read_to_string(data_dir.join("postgres.socket")).unwrap());
    let short = noted();
    assert_eq!(std::fs::metadata(&short).unwrap().mode() & 0o777, 0o700);
    holder.kill_hard();

    let postgres = start(&data_dir);
    assert_eq!(noted(), short, "the folder of the killed process is used again");
    assert_eq!(sql(&postgres.url(), "select 1").unwrap(), ["1"]);
    postgres.stop().unwrap();
    assert!(!short.exists() && !data_dir.join("postgres.socket").exists());
}

#[test]
fn ordinary_user_has_a_server_and_root_runs_it_as_that_user_later() {
    if !is_root() {
        return; // Every other test has shown the first half then.
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
    let dir = dir_with_mode(0o711);
    chown(dir.path(), Some(uid), Some(gid)).unwrap();
    let data_dir = dir.path().join("data");
    let mut holder = held::spawn_as(uid, gid, &data_dir);
    let (pid, url) = holder.ready();
    assert_eq!(std::fs::metadata(format!("/proc/{pid}")).unwrap().uid(), uid);
    sql(&url, "create table kept (n int); insert into kept values (7)").unwrap();
    holder.release();

    let postgres = start(&data_dir);
    assert_eq!(
        std::fs::metadata(format!("/proc/{}", postgres.pid()))
            .unwrap()
            .uid(),
        uid
    );
    assert_eq!(sql(&postgres.url(), "select n from kept").unwrap(), ["7"]);
}
