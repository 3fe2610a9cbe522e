//! Folders that are closed, long, odd, moved or someone else's.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use local_postgres::{Error, LocalPostgres, has_cluster, running_url};
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
    sql(&postgres.url(), "create table kept (n int); insert into kept values (7)").unwrap();
    postgres.stop().unwrap();

    let postgres = LocalPostgres::start(&settings).unwrap();
    assert_eq!(postgres.cluster_dir(), elsewhere);
    assert_eq!(sql(&postgres.url(), "select n from kept").unwrap(), ["7"]);

    // A copy of the data folder points at a cluster that is in use.
    let copy = closed.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(data_dir.join("postgres.location"), copy.join("postgres.location")).unwrap();
    let of_copy = local_postgres::Settings { data_dir: copy, ..settings.clone() };
    assert!(matches!(LocalPostgres::start(&of_copy), Err(Error::Locked { .. })));
    assert!(postgres.is_running());
    postgres.stop().unwrap();

    std::fs::remove_dir_all(&data_dir).unwrap();
    let postgres = LocalPostgres::start(&settings).unwrap();
    assert_ne!(postgres.cluster_dir(), elsewhere);
    sql(&postgres.url(), "select n from kept").unwrap_err();
    let home = postgres.cluster_dir().parent().unwrap().to_owned();
    postgres.stop().unwrap();

    std::fs::remove_dir_all(home).unwrap();
    assert!(matches!(LocalPostgres::start(&settings), Err(Error::LocationLost { .. })));
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
    assert!(matches!(LocalPostgres::start(&settings(&data_dir)), Err(Error::Unreachable { .. })));
    assert!(!data_dir.join("postgres.location").exists());
}

#[test]
fn long_and_odd_path_works_and_its_socket_folder_goes_with_the_server() {
    let dir = enterable_dir();
    let data_dir = dir.path().join(format!("{} , \"quo'ted\" ü %41", "x".repeat(120)));
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
fn characters_that_mean_something_in_a_connection_string_stay_out_of_the_address() {
    for name in ["a b", "a,b", "a@b", "a\tb"] {
        let dir = enterable_dir();
        let data_dir = dir.path().join(name);
        let postgres = start(&data_dir);
        let address = postgres.socket_dir().to_str().unwrap();
        assert!(!address.contains([' ', ',', '@', '\t']), "{address}");
        assert_eq!(sql(&postgres.url(), "select 1").unwrap(), ["1"], "{name:?}");
        assert_eq!(running_url(&data_dir).unwrap(), Some(postgres.url()));
        postgres.stop().unwrap();
        assert!(!data_dir.join("postgres.socket").exists());
    }
}

#[test]
fn folder_of_an_ordinary_user_is_not_trusted_by_root_until_it_is_given_to_root() {
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

    let text = refused(LocalPostgres::start(&settings(&data_dir)));
    assert!(text.contains("belongs to nobody") && text.contains("RUN_AS"), "{text}");
    assert!(refused(has_cluster(&data_dir)).contains("belongs to nobody"));
    assert!(refused(running_url(&data_dir)).contains("belongs to nobody"));

    // The folder and the notes in it; the cluster keeps its owner, who runs the server.
    for path in std::iter::once(data_dir.clone()).chain(entries(&data_dir)) {
        if !path.ends_with("postgres") {
            chown(&path, Some(0), Some(0)).unwrap();
        }
    }
    let postgres = start(&data_dir);
    assert_eq!(std::fs::metadata(format!("/proc/{}", postgres.pid())).unwrap().uid(), uid);
    assert_eq!(sql(&postgres.url(), "select n from kept").unwrap(), ["7"]);
}

#[test]
fn files_of_root_are_named_to_an_ordinary_user_with_what_to_do() {
    if !is_root() {
        return; // Nobody else can leave files of root behind.
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
    let dir = enterable_dir();
    let data_dir = dir.path().join("data");
    start(&data_dir).stop().unwrap();
    let command = format!("chown -R {uid}:{gid} {}", data_dir.display());
    let told = held::spawn_as(uid, gid, &data_dir).failure();
    assert!(told.contains("belongs to root") && told.contains(&command), "{told}");

    // The folder alone is not enough: the files in it are still those of root.
    chown(&data_dir, Some(uid), Some(gid)).unwrap();
    let told = held::spawn_as(uid, gid, &data_dir).failure();
    assert!(told.contains("lock") && told.contains("belongs to root") && told.contains(&command), "{told}");
    for path in entries(&data_dir).into_iter().filter(|path| !path.ends_with("postgres")) {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
    let told = held::spawn_as(uid, gid, &data_dir).failure();
    assert!(told.contains("ForeignOwner") && told.contains("account: \"nobody\""), "{told}");
}

#[test]
fn folder_that_others_may_change_is_refused_before_anything_is_made() {
    let dir = enterable_dir();
    let data_dir = dir.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    for mode in [0o777, 0o707, 0o1777] {
        std::fs::set_permissions(&data_dir, std::fs::Permissions::from_mode(mode)).unwrap();
        let text = refused(LocalPostgres::start(&settings(&data_dir)));
        assert!(text.contains(data_dir.to_str().unwrap()) && text.contains("chmod go-w"), "{text}");
    }
    assert!(entries(&data_dir).is_empty());
    // Its own group is another matter: many systems give every account a group of its own.
    std::fs::set_permissions(&data_dir, std::fs::Permissions::from_mode(0o775)).unwrap();
    start(&data_dir);
}

#[test]
fn links_lead_to_the_folder_but_not_out_of_it() {
    let dir = enterable_dir();
    let (real, link) = (dir.path().join("real"), dir.path().join("data"));
    std::fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    start(&link).stop().unwrap();
    assert!(real.join("postgres/PG_VERSION").exists());

    let precious = dir.path().join("precious");
    std::fs::write(&precious, "untouched").unwrap();
    for name in ["lock", "postgres.log", "postgres.names", "postgres.location"] {
        let entry = real.join(name);
        let aside = dir.path().join("aside");
        let was_there = std::fs::rename(&entry, &aside).is_ok();
        symlink(&precious, &entry).unwrap();
        let text = refused(LocalPostgres::start(&settings(&link)));
        assert!(text.contains("symbolic link") && text.contains(name), "{text}");
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "untouched", "{name}");
        std::fs::remove_file(&entry).unwrap();
        if was_there {
            std::fs::rename(&aside, &entry).unwrap();
        }
    }
    let moved = dir.path().join("moved");
    std::fs::rename(real.join("postgres"), &moved).unwrap();
    symlink(&moved, real.join("postgres")).unwrap();
    assert!(refused(LocalPostgres::start(&settings(&link))).contains("symbolic link"));
    assert!(refused(has_cluster(&link)).contains("symbolic link"));
    std::fs::remove_file(real.join("postgres")).unwrap();
    std::fs::rename(&moved, real.join("postgres")).unwrap();

    // What the server's account can exchange is not followed either.
    std::fs::remove_file(real.join("postgres/PG_VERSION")).unwrap();
    symlink(&precious, real.join("postgres/PG_VERSION")).unwrap();
    let text = refused(LocalPostgres::start(&settings(&link)));
    assert!(text.contains("symbolic link") && !text.contains("untouched"), "{text}");
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn refused<T>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(error @ Error::Untrusted { .. }) => error.to_string(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("not refused"),
    }
}
