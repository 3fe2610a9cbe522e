//! Starting and stopping.

use std::fs;

use testkit::skip;

use super::gateway_process::{Gateway, command, database, folder, private_server, refused, run};

#[tokio::test]
async fn a_restart_keeps_the_data_and_a_stop_is_clean() {
    let folder = folder();
    let mut first = Gateway::start(folder.path(), &[]).await;
    first.ensure("test-user-1").await;
    first.consume("test-user-1", 100).expect(200).await;
    first.stop();
    assert!(private_server(folder.path()).is_none(), "the private server is stopped too");
    assert_eq!(Gateway::start(folder.path(), &[]).await.balance("test-user-1").await, 900.0);
}

#[tokio::test]
async fn the_path_of_the_data_folder_may_have_any_character() {
    let folder = folder();
    for name in ["my data", "a,b", "a@b"] {
        let mut gateway = Gateway::start(folder.path(), &[("DATA_DIR", name)]).await;
        gateway.ensure("test-user-1").await;
        let (status, _out, error) =
            run(command(folder.path(), &[("DATA_DIR", name)]).args(["ledger", "verify"]));
        assert!(status.success(), "{name}: {error}");
        gateway.stop();
    }
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_is_refused() {
    let folder = folder();
    let first = Gateway::start(folder.path(), &[]).await;
    let error = refused(&mut command(folder.path(), &[]), 1, &[]).to_lowercase();
    assert!(error.contains("data") && error.contains("process"), "the folder and who holds it: {error}");
    first.ensure("still-served").await;
}

#[tokio::test]
async fn a_port_in_use_is_said_before_anything_is_started() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    refused(&mut command(folder.path(), &[("PORT", &port)]), 1, &[&port, "PORT"]);
    assert!(!folder.path().join("data").exists());
}

#[test]
fn every_problem_of_the_configuration_is_told_at_once_and_no_secret() {
    let folder = folder();
    let variables = [
        ("PORT", "abc"),
        ("INITIAL_CREDITS", "-1"),
        ("LOG_LEVEL", "loud"),
        ("ENVIRONMENT", "production"),
        ("USER_SERVICE_API_KEY", "short-secret"),
    ];
    for arguments in [&[][..], &["check-config"], &["migrate"]] {
        let (status, out, error) = run(command(folder.path(), &variables).args(arguments));
        assert_eq!(status.code(), Some(2), "{error}");
        for (name, _value) in variables {
            assert!(error.contains(name) || name == "ENVIRONMENT", "{name} is not told: {error}");
        }
        assert!(!error.contains("short-secret") && !out.contains("short-secret"), "{error}");
    }
}

#[test]
fn an_env_file_that_leads_nowhere_is_a_problem() {
    let folder = folder();
    std::os::unix::fs::symlink("gone", folder.path().join(".env")).unwrap();
    refused(command(folder.path(), &[]).arg("check-config"), 2, &[".env", "symbolic link"]);
}

#[tokio::test]
async fn a_name_that_is_nearly_that_of_a_variable_is_pointed_out() {
    let folder = folder();
    std::fs::write(folder.path().join(".env"), "CORS_ORIGIN=https://app.example.com\n").unwrap();
    let variables = [
        ("DATABSE_URL", "postgresql://app:hunter2@db.example.com/app"),
        // What shells, containers and orchestrators set.
        ("HOSTNAME", "h"),
        ("USER_SERVICE_PORT", "tcp://10.0.0.1:80"),
        ("LOGNAME", "root"),
    ];
    let expected = [
        "DATABSE_URL is set, and is not a variable of this service: is DATABASE_URL meant?",
        "CORS_ORIGIN is set, and is not a variable of this service: is CORS_ORIGINS meant?",
    ];
    let (status, out, error) = run(command(folder.path(), &variables).arg("check-config"));
    assert!(status.success(), "{error}");
    let gateway = Gateway::start(folder.path(), &variables).await;
    for text in [out, gateway.log()] {
        assert!(expected.iter().all(|sentence| text.contains(sentence)), "{text}");
        assert_eq!(text.matches("is not a variable of this service").count(), 2, "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    // The one that is meant may be what is missing.
    let production = [("ENVIRONMENT", "production"), ("SUPABASE_UR", "https://x.example.com")];
    refused(command(folder.path(), &production).arg("check-config"), 2, &["is SUPABASE_URL meant?"]);
}

#[test]
fn generated_documents_are_printed() {
    let folder = folder();
    for (arguments, begin) in [
        (&["openapi"][..], "{"),
        (&["docs", "errors"], "# Errors"),
        (&["docs", "configuration"], "# Configuration"),
    ] {
        let (status, out, error) = run(command(folder.path(), &[]).args(arguments));
        assert!(status.success() && out.starts_with(begin), "{arguments:?}: {error}");
    }
    let (status, out, _error) = run(command(folder.path(), &[]).arg("check-config"));
    assert!(status.success());
    assert!(out.contains("INITIAL_CREDITS") && !out.contains(testkit::SERVICE_KEY), "{out}");
}

#[tokio::test]
async fn a_missing_server_binary_says_what_to_install() {
    let folder = folder();
    let nowhere = [("PATH", "/nonexistent"), ("PG_BIN_DIR", "/nonexistent")];
    let error = refused(&mut command(folder.path(), &nowhere), 1, &[]);
    assert!(error.contains("PG_BIN_DIR") || error.contains("DATABASE_URL"), "{error}");
}

/// Many shells and supervisors start processes with a low soft limit, which would bound the connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    if !cfg!(target_os = "linux") {
        return skip("only Linux has /proc/<pid>/limits");
    }
    let db = database().await;
    let gateway = Gateway::limited(db.url(), &[], "-S -n 128").await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", gateway.id())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let [soft, hard] = [0, 1].map(|place| line.unwrap().split_whitespace().nth(place).unwrap());
    assert_eq!(soft, hard, "{limits}");
    assert_ne!(soft, "128", "the limit of the test itself is too low to show anything");
}
