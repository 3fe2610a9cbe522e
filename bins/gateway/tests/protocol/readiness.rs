//! `/readyz` and `/health` tell whether the service can work: also when the database answers and does not write.

use crate::prelude::*;

/// Runs statements in the database of the service as superuser.
async fn administer(app: &TestApp, sql: &str) {
    app.db().run_as_superuser(sql).await;
}

/// Waits until `/readyz` answers with this status, and `/health` likewise; `/livez` always answers.
async fn wait_for_status(app: &TestApp, status: u16) -> serde_json::Value {
    let mut deadline = Deadline::new();
    loop {
        let (ready, health) = (app.get("/readyz").await, app.get("/health").await);
        app.get("/livez").expect(200).await;
        if (ready.status, health.status) == (status, status) {
            return ready.json();
        }
        assert!(deadline.allows_another(), "not {status}: {} {}", ready.text, health.text);
    }
}

fn consume(app: &TestApp, user: &TestUser) -> TestRequest {
    let path = format!("/api/v1/users/{}/credits/consume", user.id);
    app.post(&path).by(user).body(r#"{"amount":1}"#)
}

const END_SESSIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test]
async fn a_server_that_only_reads_is_not_ready() {
    let app = TestApp::start().await;
    let ready = wait_for_status(&app, 200).await;
    assert_eq!(ready["checks"], json!({"database": "ok", "migrations": "ok", "storage": "ok"}));
    let database = app.db().url().rsplit_once('/').unwrap().1.to_owned();
    let read_only = format!("ALTER DATABASE {database} SET default_transaction_read_only = on");
    administer(&app, &format!("{read_only}; {END_SESSIONS}")).await;
    let ready = wait_for_status(&app, 503).await;
    assert_eq!((&ready["status"], &ready["checks"]["database"]), (&json!("not_ready"), &json!("failed")));
    administer(
        &app,
        &format!("BEGIN READ WRITE; ALTER DATABASE {database} RESET default_transaction_read_only; COMMIT"),
    )
    .await;
    wait_for_status(&app, 200).await;
}

/// Refuses to commit what was written to the table in its name.
fn fails_to_commit(table: &str) -> String {
    format!(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN RAISE EXCEPTION ''planted by a test''; END';
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION public.refuse()"
    )
}

#[tokio::test]
async fn a_server_that_does_not_commit_is_not_ready_without_any_request() {
    let app = TestApp::start().await;
    wait_for_status(&app, 200).await;
    administer(&app, &fails_to_commit("public.user_service_probes")).await;
    wait_for_status(&app, 503).await;
    administer(&app, "DROP FUNCTION public.refuse CASCADE").await;
    wait_for_status(&app, 200).await;
}

#[tokio::test]
async fn commits_of_requests_that_fail_one_after_the_other_are_not_ready() {
    let (app, user) = TestApp::with_user(&[]).await;
    administer(&app, &fails_to_commit("credits.entries")).await;
    wait_for_status(&app, 200).await;
    for _ in 0..3 {
        assert!(consume(&app, &user).await.status >= 500);
    }
    app.get("/readyz").expect(503).await;
    administer(&app, "DROP FUNCTION public.refuse CASCADE").await;
    consume(&app, &user).expect(200).await;
    wait_for_status(&app, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_does_not_end_is_not_ready_until_it_does() {
    let (app, user) = TestApp::with_user(&[]).await;
    let hangs = "CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
            'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON credits.entries DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION public.wait()";
    administer(&app, hangs).await;
    let mut holder = app.db().connect_as_superuser().await;
    holder.batch_execute("SELECT pg_advisory_lock(7)").await.unwrap();
    let spent = async {
        let spent = consume(&app, &user).await;
        // Done, or cut off by the time limit of statements.
        assert!([200, 503].contains(&spent.status), "{}", spent.text);
    };
    let judged = async {
        let ready = wait_for_status(&app, 503).await;
        assert_eq!(ready["checks"], json!({"database": "failed", "migrations": "ok", "storage": "ok"}));
        holder.batch_execute("SELECT pg_advisory_unlock(7)").await.unwrap();
        wait_for_status(&app, 200).await;
    };
    tokio::join!(spent, judged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_and_probes_do_not_wait_for_slow_lists() {
    let app = TestApp::start_with(&[("DATABASE_POOL_SIZE", "5")]).await;
    let mut users = Vec::new();
    for number in 0..12 {
        users.push(app.user(&format!("auth0|{number}")).await);
    }
    let mut conn = app.db().connect_as_superuser().await;
    // Every list and statistic of usage waits for this lock.
    let lock = "BEGIN; LOCK TABLE usage.records IN ACCESS EXCLUSIVE MODE";
    conn.batch_execute(lock).await.unwrap();
    let lists = users.iter().map(|user| {
        let path = format!("/api/v1/users/{}/usage?limit=1", user.id);
        app.get(&path).by(user).send()
    });
    let mut lists = std::pin::pin!(futures_util::future::join_all(lists));
    assert!(futures_util::poll!(lists.as_mut()).is_pending());
    let waiting = async {
        app.db().wait_for_waiting(1).await;
        app.user("auth0|newcomer").await;
        app.get("/api/v1/users/me").token(&users[0].token).expect(200).await;
        app.get("/readyz").expect(200).await;
        app.get("/health").expect(200).await;
    };
    tokio::select! {
        _ = lists.as_mut() => panic!("all lists have ended before a login was answered"),
        () = waiting => {}
    }
    conn.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(lists.await.len(), users.len());
}
