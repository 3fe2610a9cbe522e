//! What callers are told when something fails: slow clients, panics, time limits, a lost database, a shutdown.

use std::rc::Rc;

use actix_web::{App, http::Method, test, web};
use gateway::http::{
    call::Call,
    dispatch::{Endpoint, dispatch},
    doc::Doc,
    error::ApiError,
    reply::Reply,
    route::{Access, BodyRule, Handler, Origin, Route},
};
use tokio::sync::OwnedSemaphorePermit;

use super::{assert_documented_error, raw};
use crate::prelude::*;

#[tokio::test]
async fn a_client_that_never_finishes_is_let_go() {
    let (app, user) = TestApp::with_user(&[("REQUEST_TIMEOUT_SECONDS", "1")]).await;
    let head = raw(&app, "GET /livez HTTP/1.1\r\nHost: x\r\n").await;
    answered(&head, 408, &[]);
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    let request = format!(
        "POST /api/v1/users/auth0%7Ca/credits/consume HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\
         Authorization: Bearer {}\r\n\r\n{{\"amo",
        user.token
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0_u8; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_hang_up_hold_up_nobody() {
    let app = TestApp::start().await;
    let (user, other) = (app.user("auth0|a").await, app.user("auth0|b").await);
    let mut conn = app.db().connect().await;
    // Every list of this user waits for this lock, and so would whoever came behind on the same connection.
    conn.batch_execute("BEGIN; LOCK TABLE usage.records IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        let request = format!(
            "GET /api/v1/users/auth0%7Ca/usage/stats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
            user.token
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.set_zero_linger().unwrap();
    }
    for (user, path) in [(&user, "credits/balance"), (&other, "credits/transactions"), (&other, "sessions")] {
        let path = format!("/api/v1/users/{}/{path}", user.id);
        app.get(&path).by(user).expect(200).await;
    }
}

#[tokio::test]
async fn amounts_in_errors_are_exact() {
    let (app, user) = TestApp::with_user(&[("INITIAL_CREDITS", "0.000001")]).await;
    let refused = app.post("credits/consume").by(&user).body(r#"{"amount":0.000002}"#).expect(400).await;
    assert!(refused.text.contains(r#""available":0.000001,"required":0.000002"#), "{}", refused.text);
}

#[tokio::test]
async fn a_panic_and_a_stuck_request_are_answered() {
    static PANICS: Route = failing(|_call: Call| Box::pin(async { panic!("planted by a test") }));
    static HANGS: Route = failing(|_call: Call| Box::pin(std::future::pending::<Result<Reply, ApiError>>()));
    static MISREADS: Route = failing(|mut call: Call| {
        Box::pin(async move {
            call.fields.read::<()>(|_| panic!("planted by a test"))?;
            unreachable!("nothing was read")
        })
    });
    let service = TestApp::start_with(&[("REQUEST_TIMEOUT_SECONDS", "1")]).await;
    let (internal, unknown) = ("InternalServerException", "OutcomeUnknownException");
    for (route, method, status, code) in [
        (&PANICS, Method::GET, 500, internal),
        (&HANGS, Method::GET, 503, "ServiceUnavailableException"),
        (&MISREADS, Method::GET, 500, internal),
        // What an unsafe request did is not known any more, unless it was still being read.
        (&PANICS, Method::POST, 503, unknown),
        (&HANGS, Method::POST, 503, unknown),
        (&MISREADS, Method::POST, 500, internal),
    ] {
        let app = Arc::clone(service.app());
        // The method of the request is that of the route, as in the route table.
        let route: &'static Route =
            Box::leak(Box::new(Route { method: method.clone(), ..failing(route.handler) }));
        let endpoint = Rc::new(Endpoint::new(route));
        let handle = move |request, payload: web::Payload| {
            dispatch(Arc::clone(&app), Rc::clone(&endpoint), request, payload.into_inner())
        };
        let actix = App::new().route("/failing", web::method(method.clone()).to(handle));
        let actix = test::init_service(actix).await;
        let request = test::TestRequest::with_uri("/failing").method(method.clone());
        let response = test::call_service(&actix, request.to_request()).await;
        assert_eq!(response.status(), status, "{method} {code}");
        let body: Value = test::read_body_json(response).await;
        assert_documented_error(&body.to_string());
        assert_eq!(body["error_code"], code);
        assert!(!body.to_string().contains("planted"), "nothing internal leaves the process");
    }
}

/// The fields of a large body are read on another thread than its request is served on, and nothing was done until they are read.
#[tokio::test]
async fn a_large_body_is_read_on_another_thread() {
    static READS: Handler = |mut call: Call| {
        Box::pin(async move {
            let served_by = std::thread::current().id();
            let read_by = call.input_with(|_| Some(std::thread::current().id())).await?;
            Ok(Reply::new("text/plain", (served_by == read_by).to_string()))
        })
    };
    static WAITS: Handler = |mut call: Call| {
        Box::pin(async move {
            let _taken = take_readers(&call.app).await;
            call.input_with(|_| Some(())).await?;
            unreachable!("there was no reader")
        })
    };
    let service = TestApp::start_with(&[("REQUEST_TIMEOUT_SECONDS", "1")]).await;
    let send = async |handler: Handler, size: usize| {
        let app = Arc::clone(service.app());
        let route: &'static Route =
            Box::leak(Box::new(Route { method: Method::POST, body: BodyRule::Json, ..failing(handler) }));
        let endpoint = Rc::new(Endpoint::new(route));
        let handle = move |request, payload: web::Payload| {
            dispatch(Arc::clone(&app), Rc::clone(&endpoint), request, payload.into_inner())
        };
        let actix = test::init_service(App::new().route("/failing", web::post().to(handle))).await;
        let body = format!("{{}}{}", " ".repeat(size));
        let request = test::TestRequest::post().uri("/failing").set_payload(body);
        let response = test::call_service(&actix, request.to_request()).await;
        String::from_utf8(test::read_body(response).await.to_vec()).unwrap()
    };
    assert_eq!(send(READS, 0).await, "true");
    assert_eq!(send(READS, 100_000).await, "false");
    let refused = send(WAITS, 100_000).await;
    assert!(refused.contains("ServiceUnavailableException"), "{refused}");
}

/// A body that came whole in time and is not read in time is no fault of its client, and surely nothing was done.
#[tokio::test]
async fn a_body_that_waits_too_long_for_a_reader_is_503() {
    let (app, user) = TestApp::with_user(&[("REQUEST_TIMEOUT_SECONDS", "3")]).await;
    let consume = || {
        let body = format!("{{\"amount\":1}}{}", " ".repeat(100_000));
        let request = app.post("credits/consume");
        request.by(&user).body(body)
    };
    let taken = take_readers(app.app()).await;
    consume().refused(503, "ServiceUnavailableException").await;
    drop(taken);
    let done = consume().ok().await;
    assert_eq!(done["remaining_credits"], 999.0);
}

/// All readers of large bodies.
async fn take_readers(app: &gateway::app::App) -> OwnedSemaphorePermit {
    let readers = Arc::clone(&app.traffic.bodies.readers);
    let all = u32::try_from(readers.available_permits()).unwrap();
    readers.acquire_many_owned(all).await.unwrap()
}

const fn failing(handler: Handler) -> Route {
    Route {
        method: Method::GET,
        path: "/failing",
        access: Access::Anyone,
        body: BodyRule::Ignored,
        origin: Origin::Extension,
        operation: "failing",
        doc: || Doc::new("system", "Fails"),
        handler,
    }
}

#[tokio::test]
async fn without_its_database_the_service_says_so_and_recovers_nothing_by_magic() {
    let (app, user) = TestApp::with_user(&[]).await;
    app.app().disconnect();
    let health = app.get("/health").expect(503).await.json();
    assert_eq!((&health["status"], &health["uptime"]), (&json!("unhealthy"), &json!("degraded")));
    assert_eq!(health["services"]["data"]["repository"], "unavailable");
    let ready = app.get("/readyz").expect(503).await.json();
    assert_eq!(ready["checks"]["database"], "failed");
    assert_eq!(app.get("/livez").await.status, 200);
    let request = app.post("credits/consume").by(&user).body(r#"{"amount":1}"#);
    let refused = request.refused(503, "ServiceUnavailableException").await;
    assert_eq!(refused.header("retry-after"), "1");
}

/// As after a failover, when the server that was written to only reads.
#[tokio::test]
async fn while_the_database_only_reads_writes_are_unavailable_and_afterwards_they_are_not() {
    let (app, user) = TestApp::with_user(&[]).await;
    let mut admin = app.db().connect_as_superuser().await;
    let database = app.db().url().rsplit_once('/').unwrap().1;
    let mut administer = async |sql: &str| admin.batch_execute(sql).await.unwrap();
    let consume = || {
        let path = "/api/v1/users/auth0%7Ca/credits/consume";
        app.post(path).by(&user).body(r#"{"amount":1}"#)
    };
    let new_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    administer(&format!("ALTER DATABASE {database} SET default_transaction_read_only = on")).await;
    administer(new_sessions).await;
    for _ in 0..3 {
        consume().refused(503, "ServiceUnavailableException").await;
    }
    administer(&format!("ALTER DATABASE {database} RESET default_transaction_read_only")).await;
    consume().expect(200).await;
}

#[tokio::test]
async fn a_service_that_shuts_down_is_not_ready() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/readyz").ok().await["status"], "ready");
    app.app().begin_shutdown();
    assert_eq!(app.get("/readyz").expect(503).await.json()["status"], "not_ready");
    assert_eq!(app.get("/livez").await.status, 200);
}
