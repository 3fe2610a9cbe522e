//! Connection strings that psql accepts, on real servers.

use std::net::TcpListener;

use diesel_async::SimpleAsyncConnection as _;
use pg::{Access, DbError, Pool, PoolSettings, Tx, pool::chain};
use testkit::TestDb;

use crate::{
    server::{Folder, Server, free_port},
    support::{ask, ask_pool, wait_until},
};

fn pool(url: &str) -> Pool {
    Pool::new(&PoolSettings::new(url)).unwrap_or_else(|error| panic!("{url}: {}", chain(&error)))
}

async fn refusal(url: &str) -> String {
    let error = pool(url).get().await.err().unwrap();
    assert!(matches!(error, DbError::Connect(_)), "{error:?}");
    chain(&error)
}

#[tokio::test]
async fn options_arrive_in_the_session_as_they_were_meant() {
    let db = TestDb::create(&[], &[]).await;
    for (options, word) in [
        ("-c%20my.word%3Da+b", "a+b"),
        (r"-c%20my.word%3Da\%20b", "a b"),
        ("-c%20my.word%3D'a'", "''a''"),
        ("-c%20my.word%3D%27a%27%20-c%20work_mem%3D1234kB", "''a''"),
        ("-c%20my.word=a%26b", "a&b"),
        ("-c%20my.word%3Db&connect_timeout=5", "b"),
    ] {
        let pool = pool(&format!("{}?options={options}", db.url()));
        let same = format!("(current_setting('my.word') = '{word}')::int");
        assert_eq!(ask_pool(&pool, &same).await, 1, "{options}");
    }
    let pool = pool(&format!("{}?options=-c%20work_mem%3D1234kB", db.url()));
    let memory = "(SELECT setting FROM pg_settings WHERE name = 'work_mem')";
    assert_eq!(ask_pool(&pool, memory).await, 1234);
}

#[tokio::test]
async fn a_folder_is_named_in_every_form_that_psql_accepts() {
    let server = Folder::new().start(&[]);
    let port = server.port;
    let (encoded, folder) = server.socket_folder();
    for url in [
        format!("postgresql://app@{encoded}:{port}/app"),
        format!("postgresql://app@/app?host={folder}&port={port}"),
        format!("postgresql:///app?user=app&host={encoded}&port={port}"),
        format!("postgres://app@ignored.example.com/app?host={folder}&port={port}"),
        format!("host={folder} port={port} user=app dbname=app"),
        format!("host = '{folder}' port={port}\n user=app dbname='app' options='-c my.word=a+b'"),
        format!("postgresql://app@name.example.com:{port}/app?hostaddr=127.0.0.1&sslmode=disable"),
    ] {
        assert_eq!(ask_pool(&pool(&url), "1").await, 1, "{url}");
    }
    let list = format!(r"host={folder} port={port} user=app dbname=app options='-c my.word=\'a\\ b\''");
    let same = "(current_setting('my.word') = '''a b''')::int";
    assert_eq!(ask_pool(&pool(&list), same).await, 1);
}

#[tokio::test]
async fn the_folder_of_a_socket_may_have_a_space_or_an_at_sign_in_its_name() {
    let server = Folder::new().start(&[]);
    let (encoded, folder) = server.socket_folder();
    let outer = tempfile::tempdir().unwrap();
    for name in ["a b", "a@b"] {
        let link = outer.path().join(name);
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let (link, port) = (link.to_str().unwrap(), server.port);
        for url in [
            format!("postgresql://app@/app?host={}&port={port}", link.replace(' ', "%20")),
            format!("host='{link}' port={port} user=app dbname=app"),
        ] {
            assert_eq!(ask_pool(&pool(&url), "1").await, 1, "{url} ({encoded})");
        }
    }
}

#[tokio::test]
async fn passwords_may_hold_what_urls_reserve() {
    let folder = Folder::new();
    folder.rules("host all all 127.0.0.1/32 scram-sha-256");
    let server = folder.start(&[]);
    server.run_as_superuser("ALTER ROLE app PASSWORD 'p%a@s/s:w+?d&=''\\ end'").await;
    let port = server.port;
    for url in [
        format!("postgresql://app:p%25a%40s%2Fs%3Aw%2B%3Fd%26%3D%27%5C%20end@127.0.0.1:{port}/app"),
        format!("postgresql://app:p%25a%40s%2Fs:w+?d&='\\ end@127.0.0.1:{port}/app"),
        format!("postgresql://app@127.0.0.1:{port}/app?password=p%25a@s/s:w+?d%26=%27\\ end"),
        format!(r"host=127.0.0.1 port={port} user=app dbname=app password='p%a@s/s:w+?d&=\'\\ end'"),
    ] {
        assert_eq!(ask_pool(&pool(&url), "1").await, 1, "{url}");
    }
    let refused = refusal(&format!("postgresql://app:hunter2@127.0.0.1:{port}/app")).await;
    assert!(refused.contains("password authentication failed"), "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
    let refused = refusal(&format!("postgresql://app@127.0.0.1:{port}/app")).await;
    assert!(refused.contains("the server asks for a password") && !refused.contains("refused"), "{refused}");
}

#[tokio::test]
async fn the_first_server_that_fits_is_taken() {
    let reading = Folder::new().start(&[("default_transaction_read_only", "on")]);
    let writing = Folder::new().start(&[]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (reads, writes) = (reading.port, writing.port);
    let (silence, nobody) = (silent.local_addr().unwrap().port(), free_port());
    let port_of = async |ports: &[u16], parameters: &str| {
        let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let url = format!("postgresql://app@{}/app?{parameters}", hosts.join(","));
        ask_pool(&pool(&url), "current_setting('port')").await
    };
    for (ports, parameters, expected) in [
        (&[reads, writes][..], "target_session_attrs=any", reads),
        (&[reads, writes], "target_session_attrs=read-write", writes),
        (&[writes, reads], "target_session_attrs=read-only", reads),
        (&[reads, writes], "target_session_attrs=primary", reads),
        (&[reads, writes], "target_session_attrs=prefer-standby", reads),
        (&[nobody, writes], "", writes),
        (&[reads, writes], "", writes),
        (&[reads, nobody, writes], "load_balance_hosts=random", writes),
        // A primary that only reads for now is read.
        (&[nobody, reads], "", reads),
        (&[reads], "", reads),
        // Servers that accept and say nothing, as a hung one does, use up their own time only.
        (&[silence, nobody, writes], "connect_timeout=1", writes),
        (&[silence, reads, writes], "connect_timeout=1&target_session_attrs=read-write", writes),
    ] {
        let found = port_of(ports, parameters).await;
        assert_eq!(found, i64::from(expected), "{ports:?} {parameters}");
    }
    let url = format!("postgresql://app@127.0.0.1:{reads},127.0.0.1:{writes}/app");
    let reader = PoolSettings { access: Access::Read, ..PoolSettings::new(url) };
    let found = ask_pool(&Pool::new(&reader).unwrap(), "current_setting('port')").await;
    assert_eq!(found, i64::from(reads));
    let list = format!("host=127.0.0.1,127.0.0.1 port={nobody},{writes} user=app dbname=app");
    assert_eq!(ask_pool(&pool(&list), "1").await, 1);

    let refused = refusal(&format!(
        "postgresql://app@127.0.0.1:{nobody},127.0.0.1:{reads}/app?target_session_attrs=read-write"
    ))
    .await;
    assert!(refused.contains(&format!("127.0.0.1:{nobody}: the server cannot be reached")), "{refused}");
    let of_another_kind = format!("127.0.0.1:{reads}: the server is not read-write (target_session_attrs)");
    assert!(refused.contains(&of_another_kind), "{refused}");
    let refused =
        refusal(&format!("postgresql://app@127.0.0.1:{writes}/app?target_session_attrs=standby")).await;
    assert!(refused.contains("the server is not standby"), "{refused}");
}

/// Makes a server one that only reads, as a failover does, or one that writes.
async fn writes(server: &Server, yes: bool) {
    let superuser = pool(&server.superuser_url());
    let value = if yes { "off" } else { "on" };
    let set = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
    let mut conn = superuser.get().await.unwrap();
    conn.batch_execute(&set).await.unwrap();
    conn.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let applied = format!("current_setting('default_transaction_read_only') = '{value}'");
    wait_until(&superuser, &applied).await;
}

#[tokio::test]
async fn writers_find_the_server_that_writes_after_each_failover() {
    let servers = [Folder::new().start(&[]), Folder::new().start(&[])];
    let [first, second] = [&servers[0], &servers[1]];
    for server in [first, second] {
        server.run_as_superuser("CREATE TABLE public.t (); GRANT ALL ON public.t TO app").await;
    }
    for parameters in ["", "target_session_attrs=any"] {
        let (a, b) = (first.port, second.port);
        let pool = pool(&format!("postgresql://app@127.0.0.1:{a},127.0.0.1:{b}/app?{parameters}"));
        assert_eq!(ask_pool(&pool, "current_setting('port')").await, i64::from(a));
        for (falls, takes_over) in [(first, second), (second, first), (first, second)] {
            writes(takes_over, true).await;
            writes(falls, false).await;
            // A connection of before learns it, and all later ones are to the other server.
            let read_only = "current_setting('default_transaction_read_only') = 'on'";
            wait_until(&pool, read_only).await;
            let port = "current_setting('port')";
            assert_eq!(ask_pool(&pool, port).await, i64::from(falls.port), "{parameters}");
            write(&pool).await.unwrap_err();
            write(&pool).await.unwrap();
            assert_eq!(ask_pool(&pool, port).await, i64::from(takes_over.port), "{parameters}");
        }
        writes(first, true).await;
    }
}

async fn write(pool: &Pool) -> Result<(), DbError> {
    let mut tx = Tx::begin(pool).await?;
    match tx.conn().batch_execute("INSERT INTO public.t DEFAULT VALUES").await {
        Ok(()) => tx.commit().await,
        Err(error) => {
            let error = error.into();
            tx.abort(&error).await;
            Err(error)
        }
    }
}

#[tokio::test]
async fn a_database_that_is_not_utf8_is_refused() {
    let db = TestDb::create(&[], &[]).await;
    let mut conn = db.connect_as_superuser().await;
    let own =
        ask(&mut conn, "(SELECT oid::bigint FROM pg_database WHERE datname = current_database())").await;
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("of_{}_{}", own.as_ref().unwrap(), encoding.to_lowercase());
        conn.batch_execute(&format!(
            "CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        ))
        .await
        .unwrap();
        let (server, _) = db.url().rsplit_once('/').unwrap();
        let refused = refusal(&format!("{server}/{name}")).await;
        conn.batch_execute(&format!("DROP DATABASE {name}")).await.unwrap();
        let sentence = format!("the database has the encoding {encoding} and this service needs UTF8");
        assert!(refused.contains(&sentence), "{refused}");
        assert!(!refused.contains(['\n', '\\']), "{refused}");
    }
}

#[tokio::test]
async fn what_a_server_adds_to_an_error_stays_on_its_line() {
    let server = Folder::new().start(&[]);
    let closing = "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC";
    server.run_as_superuser(closing).await;
    let refused = refusal(&format!("postgresql://app@127.0.0.1:{}/postgres", server.port)).await;
    assert!(
        refused.contains("permission denied for database")
            && refused.contains("DETAIL: User does not have CONNECT"),
        "{refused}"
    );
    assert_eq!(refused.lines().count(), 1, "{refused}");
}
