//! Start, stop, start again; who may connect as what.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use local_postgres::{Durability, Error, LocalPostgres, Settings, find_binaries, has_cluster, running_url};

use crate::support::{enterable_dir, is_alive, is_root, settings, sql, start, wait_until};

#[test]
fn data_survives_a_stop_and_a_start() {
    let dir = enterable_dir();
    let data_dir = dir.path().join("data");
    // Durable once, so that this way of making a cluster is walked too.
    let durable = Settings { durability: Durability::Durable, ..settings(&data_dir) };
    let postgres = LocalPostgres::start(&durable).unwrap();
    let pid = postgres.pid();
    assert!(postgres.is_running() && is_alive(pid));
    assert_eq!(sql(&postgres.url(), "show synchronous_commit").unwrap(), ["on"]);
    sql(&postgres.url(), "create table kept (n int); insert into kept values (7)").unwrap();
    let watch = postgres.exit_watch();
    assert_eq!(watch.wait_at_most(Duration::ZERO), None);
    postgres.stop().unwrap();
    assert!(watch.wait().success());
    assert!(!is_alive(pid));

    let postgres = start(&data_dir);
    assert_eq!(sql(&postgres.url(), "select n from kept").unwrap(), ["7"]);
    drop(postgres);
    assert!(!data_dir.join("postgres/postmaster.pid").exists());
}

#[test]
fn a_running_server_can_be_found_by_its_owner_only_and_a_stopped_one_not_at_all() {
    let dir = enterable_dir();
    let data_dir = dir.path().join("data");
    assert!(!has_cluster(&data_dir).unwrap() && !data_dir.exists());
    let postgres = start(&data_dir);
    assert!(has_cluster(&data_dir).unwrap());
    let url = running_url(&data_dir).unwrap().unwrap();
    assert_eq!(url, postgres.url());
    assert_eq!(sql(&url, "select 1").unwrap(), ["1"]);
    let mode = std::fs::metadata(data_dir.join("postgres.url")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    postgres.stop().unwrap();
    assert_eq!(running_url(&data_dir).unwrap(), None);
    assert!(has_cluster(&data_dir).unwrap());

    // What a killed process leaves behind, whoever owns it, is replaced by the next start.
    std::fs::write(data_dir.join("postgres.url"), "postgresql://gone").unwrap();
    std::fs::write(data_dir.join("postgres.new"), "half").unwrap();
    let postgres = start(&data_dir);
    assert_eq!(running_url(&data_dir).unwrap().unwrap(), postgres.url());
}

#[test]
fn role_of_the_url_owns_its_database_and_is_no_superuser() {
    let dir = enterable_dir();
    let mut settings = settings(&dir.path().join("data"));
    settings.role = "o'dd \"role\\".to_owned();
    settings.database = "dätabase %2F;x".to_owned();
    let postgres = LocalPostgres::start(&settings).unwrap();
    let who = "select current_user, current_database()";
    assert_eq!(sql(&postgres.url(), who).unwrap(), [settings.role.clone()]);
    let rights = "select rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls \
                  from pg_roles where rolname = current_user";
    assert_eq!(sql(&postgres.url(), rights).unwrap(), ["f"]);
    sql(&postgres.url(), "create database mine").unwrap_err();
    sql(&postgres.url(), "create schema a; create table public.b (n int)").unwrap();

    let superuser = postgres.superuser_url("postgres");
    sql(&superuser, "create database mine").unwrap();
    let encoding =
        "select pg_encoding_to_char(encoding) || ' ' || datcollate from pg_database where datname = 'mine'";
    assert_eq!(sql(&superuser, encoding).unwrap(), ["UTF8 C"]);
    assert_eq!(sql(&superuser, "show listen_addresses").unwrap(), [""]);
}

#[test]
fn other_names_on_an_old_cluster_are_made_and_the_old_ones_kept() {
    let dir = enterable_dir();
    let data_dir = dir.path().join("data");
    start(&data_dir).stop().unwrap();
    let other = Settings { database: "second".to_owned(), ..settings(&data_dir) };
    let postgres = LocalPostgres::start(&other).unwrap();
    sql(&postgres.url(), "create table t (n int)").unwrap();
    postgres.stop().unwrap();
    // As after a kill between the making and the noting of the names.
    std::fs::remove_file(data_dir.join("postgres.names")).unwrap();
    let postgres = LocalPostgres::start(&other).unwrap();
    assert_eq!(sql(&postgres.url(), "select count(*) from t").unwrap(), ["0"]);
    postgres.stop().unwrap();
    let postgres = start(&data_dir);
    assert_eq!(sql(&postgres.url(), "select current_database()").unwrap(), ["app"]);
}

#[test]
fn server_runs_without_roots_rights_groups_and_environment() {
    let dir = enterable_dir();
    let postgres = start(&dir.path().join("data"));
    let process = std::path::PathBuf::from(format!("/proc/{}", postgres.pid()));
    if !process.exists() {
        return;
    }
    let environment = std::fs::read(process.join("environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("CARGO"), "the caller's environment got through");
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    if is_root() {
        assert!(!field("Uid:").split_whitespace().any(|uid| uid == "0"));
        assert!(!field("Gid:").split_whitespace().any(|gid| gid == "0"));
        assert_eq!(field("Groups:"), "");
    }
    // The lock belongs to this process alone.
    for file in std::fs::read_dir(process.join("fd")).unwrap() {
        let target = std::fs::read_link(file.unwrap().path()).unwrap();
        assert!(!target.ends_with("data/lock"), "the server holds the lock file");
    }
}

#[test]
fn failing_start_tells_what_the_server_said() {
    let dir = enterable_dir();
    let mut settings = settings(&dir.path().join("data"));
    settings.server_settings.push(("no_such_setting".to_owned(), "1".to_owned()));
    let error = LocalPostgres::start(&settings).unwrap_err();
    assert!(matches!(&error, Error::EndedAtStart { .. }), "{error}");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
    settings.server_settings.clear();
    LocalPostgres::start(&settings).unwrap();
}

#[test]
fn missing_binaries_and_foreign_versions_are_refused() {
    let dir = enterable_dir();
    let data_dir = dir.path().join("data");
    let nowhere = Settings { bin_dir: Some(dir.path().join("nowhere")), ..settings(&data_dir) };
    let text = LocalPostgres::start(&nowhere).unwrap_err().to_string();
    assert!(text.contains("apt-get install postgresql") && text.contains("nowhere"), "{text}");

    start(&data_dir).stop().unwrap();
    std::fs::write(data_dir.join("postgres/PG_VERSION"), "9.6\n").unwrap();
    let error = LocalPostgres::start(&settings(&data_dir)).unwrap_err();
    let installed = find_binaries(None, settings(&data_dir).path.as_deref()).unwrap().version();
    assert!(
        matches!(&error, Error::VersionMismatch { cluster, installed: found, .. }
            if cluster == "9.6" && found.first() == Some(&installed)),
        "{error}"
    );
}

#[test]
fn the_log_of_a_running_server_stays_small_and_goes_on() {
    let dir = enterable_dir();
    let data_dir = dir.path().join("data");
    let log_bytes_max = 64 * 1024;
    let postgres = LocalPostgres::start(&Settings { log_bytes_max, ..settings(&data_dir) }).unwrap();
    let folder = postgres.cluster_dir().parent().unwrap().to_owned();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let is_small = |text: &str| u64::try_from(text.len()).unwrap() <= log_bytes_max;
    for round in 0..3 {
        let says_much = format!(
            "do $$ begin for n in 1..1000 loop raise warning 'round {round} %', repeat('x', 100); end loop; end $$"
        );
        sql(&postgres.url(), &says_much).unwrap();
        wait_until("the log has been put aside", || {
            is_small(&read("postgres.log")) && read("postgres.log.1").contains(&format!("round {round}"))
        });
        assert!(is_small(&read("postgres.log.1")));
    }
    sql(&postgres.url(), "do $$ begin raise warning 'after that'; end $$").unwrap();
    let both = read("postgres.log.1") + &read("postgres.log");
    // No hole where the old content was: a handle that did not append would leave one.
    assert!(both.contains("after that") && !both.contains('\0'), "{both}");
    assert!(is_small(&read("postgres.log")));
    let mode = std::fs::metadata(folder.join("postgres.log.1")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    postgres.stop().unwrap();
}
