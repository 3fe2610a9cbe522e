//! The account that a gateway runs as, and the folder that it trusts.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
};

use nix::unistd::{User, geteuid};
use testkit::skip;

use super::gateway_process::{Gateway, command, folder, private_server, refused, run};

/// Commands that start the gateway or work on its data.
const COMMANDS: [&[&str]; 4] = [&["check-config"], &[], &["migrate"], &["ledger", "verify"]];

/// The ids in a line of `/proc/<pid>/status`.
fn ids(process: &str, field: &str) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// Gives everything under a folder to an account.
fn give(path: &Path, uid: u32, gid: u32) {
    chown(path, Some(uid), Some(gid)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), uid, gid);
        }
    }
}

#[tokio::test]
async fn a_gateway_started_as_root_gives_up_its_rights_for_the_account_of_run_as() {
    if !geteuid().is_root() {
        return skip("only root can change to another account");
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
    let folder = folder();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    chown(&data, Some(uid), Some(gid)).unwrap();

    for run_as in ["nobody".to_owned(), format!("{uid}:{gid}")] {
        let mut gateway = Gateway::start(folder.path(), &[("RUN_AS", &run_as)]).await;
        let server = private_server(folder.path()).unwrap();
        for process in [gateway.id().to_string(), server] {
            assert_eq!(ids(&process, "Uid:"), [uid; 4], "{run_as}");
            assert_eq!(ids(&process, "Gid:"), [gid; 4], "{run_as}");
            // Those of root are gone, which here may have been none.
            let groups = ids(&process, "Groups:");
            assert!(groups.contains(&gid) && !groups.contains(&0), "{run_as}: {groups:?}");
        }
        assert_eq!(fs::metadata(data.join("lock")).unwrap().uid(), uid);
        gateway.ensure("test-user-1").await;
        let log = gateway.log();
        assert!(log.contains("started as root, running as nobody"), "{log}");
        assert!(!log.contains("running as root"), "{log}");
        gateway.stop();
    }
    // Root without RUN_AS does not trust a folder of someone else.
    refused(&mut command(folder.path(), &[]), 1, &["belongs to nobody", "RUN_AS"]);
}

#[tokio::test]
async fn files_that_root_left_are_named_with_the_command_that_gives_them_away() {
    if !geteuid().is_root() {
        return skip("only root can leave files of root behind");
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
    let folder = folder();
    let mut gateway = Gateway::start(folder.path(), &[]).await;
    gateway.ensure("test-user-1").await;
    assert!(gateway.log().contains("running as root"), "{}", gateway.log());
    gateway.stop();

    let run_as = [("RUN_AS", "nobody")];
    let remedy = format!("chown -R {uid}:{gid} ");
    refused(&mut command(folder.path(), &run_as), 1, &["belongs to root", &remedy]);
    give(&folder.path().join("data"), uid, gid);
    assert_eq!(Gateway::start(folder.path(), &run_as).await.balance("test-user-1").await, 1_000.0);
}

#[test]
fn a_data_folder_of_root_is_named_to_the_account_of_run_as() {
    if !geteuid().is_root() {
        return; // Only root can change to another account.
    }
    let folder = folder();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let data = data.canonicalize().unwrap().display().to_string();
    let sentence = format!("{data} belongs to root, and this process runs as uid 54321");
    let remedy = format!("chown -R 54321:54321 {data}");
    refused(&mut command(folder.path(), &[("RUN_AS", "54321:54321")]), 1, &[&sentence, &remedy]);
}

#[test]
fn run_as_is_refused_where_it_cannot_be_followed() {
    let folder = folder();
    for (value, reason) in [
        ("no-such-account", "there is no account no-such-account"),
        ("root", "is root"),
        ("0:0", "is root"),
        ("", "is set but empty"),
        ("a:b", "is not an account"),
    ] {
        for arguments in COMMANDS {
            refused(command(folder.path(), &[("RUN_AS", value)]).args(arguments), 2, &["RUN_AS", reason]);
        }
    }
    assert!(!folder.path().join("data").exists());
}

#[test]
fn an_ordinary_account_does_not_become_another() {
    if !geteuid().is_root() {
        return skip("root is needed to become an ordinary account first");
    }
    use std::os::unix::process::CommandExt as _;
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let folder = folder();
    let mut command = command(folder.path(), &[("RUN_AS", "12345:12345")]);
    command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
    refused(command.arg("check-config"), 2, &["runs as nobody", "12345:12345"]);
}

#[test]
fn a_data_folder_that_others_may_change_is_refused() {
    let folder = folder();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o777)).unwrap();
    for arguments in COMMANDS {
        refused(command(folder.path(), &[]).args(arguments), 1, &["can be changed by other accounts"]);
    }
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
}

#[tokio::test]
async fn a_folder_above_the_data_folder_that_others_may_change_is_refused_outside_development() {
    let folder = folder();
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o777)).unwrap();
    let command_line = format!("chmod go-w {}", shared.canonicalize().unwrap().display());
    let development = [("DATA_DIR", "shared/data")];
    let production = [
        ("DATA_DIR", "shared/data"),
        ("ENVIRONMENT", "production"),
        ("SUPABASE_JWT_SECRET", testkit::TOKEN_SECRET),
    ];
    for arguments in COMMANDS {
        refused(command(folder.path(), &production).args(arguments), 1, &[&command_line]);
    }
    assert!(!shared.join("data").exists());

    let (status, out, error) = run(command(folder.path(), &development).arg("check-config"));
    assert!(status.success(), "{error}");
    assert!(out.contains(&command_line), "{out}");
    let gateway = Gateway::start(folder.path(), &development).await;
    assert!(gateway.log().contains(&command_line), "{}", gateway.log());
    drop(gateway);

    // With the sticky bit, as in /tmp, others cannot exchange what is not theirs.
    fs::set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
    let (status, _out, error) = run(command(folder.path(), &production).arg("check-config"));
    assert!(status.success(), "{error}");
}
