//! Connection strings: what is read, what is refused, and what is shown.

use std::path::PathBuf;

use super::{
    options::{Address, SslMode},
    *,
};

fn url(text: &str) -> DatabaseUrl {
    DatabaseUrl::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

fn fault(text: &str) -> String {
    match DatabaseUrl::parse(text) {
        Ok(_) => panic!("{text} is accepted"),
        Err(fault) => fault.to_string(),
    }
}

#[test]
fn hosts_are_read_as_libpq_reads_them() {
    let cases = [
        ("postgresql://a.example.com/db", "a.example.com:5432/db"),
        ("postgres://u@a:1,b,[::1]:3/db", "a:1,b:5432,[::1]:3/db"),
        ("postgresql://u@a,b:7/db?target_session_attrs=read-write", "a:5432,b:7/db"),
        ("postgresql:///db?host=a,b&port=1,2", "a:1,b:2/db"),
        ("postgresql:///db?host=a,b&port=6000", "a:6000,b:6000/db"),
        ("postgresql://u@%2Fvar%2Frun%2Fpg:6000/db", "/var/run/pg:6000/db"),
        ("postgresql://u@ignored/db?host=/tmp/pg", "/tmp/pg:5432/db"),
        ("postgresql:///db?host=/tmp/pg&port=5433", "/tmp/pg:5433/db"),
        ("host=/tmp/pg,b port=1,2 dbname=db", "/tmp/pg:1,b:2/db"),
        ("postgresql://app@a", "a:5432/app"),
        ("postgresql://us%40er:p%25a%40s@a", "a:5432/us@er"),
        ("postgresql://app@a/a%2Fb", "a:5432/a/b"),
    ];
    for (text, place) in cases {
        assert_eq!(url(text).place(), place, "{text}");
    }
    let found = url("postgresql://u@name.example.com/db?hostaddr=127.0.0.1");
    assert_eq!(found.hosts[0].name, "name.example.com");
    assert_eq!(found.hosts[0].address, Address::Tcp("127.0.0.1".to_owned()));
    let found = url("postgresql://u@%2Ftmp%2Fx/db");
    assert_eq!(found.hosts[0].address, Address::Unix(PathBuf::from("/tmp/x")));
    assert!(matches!(url("postgresql:///db").hosts[0].address, Address::Unix(_)));
}

#[test]
fn parameters_of_libpq_are_honoured() {
    let url = url(
        "postgresql://u@h/d?connect_timeout=3&keepalives=1&keepalives_idle=10&keepalives_interval=11&keepalives_count=12\
         &tcp_user_timeout=1500&application_name=mine&fallback_application_name=other&channel_binding=require\
         &load_balance_hosts=random&sslmode=verify-ca&sslrootcert=/a&sslcert=/b&sslkey=/c&sslsni=0&gssencmode=prefer\
         &client_encoding=UTF8&target_session_attrs=prefer-standby&ssl_min_protocol_version=TLSv1.3",
    );
    assert_eq!(url.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!(url.config.get_application_name(), Some("mine"));
    assert_eq!(url.target, Some(TargetSession::PreferStandby));
    assert!(url.shuffle && url.tls.without_sni && url.tls.at_least_13);
    assert_eq!(url.tls.mode, Some(SslMode::VerifyCa));
    assert_eq!(url.tls.root.as_deref(), Some("/a"));
}

/// What is refused, and how the refusal begins.
const REFUSED: &[(&str, &str)] = &[
    ("mysql://u:hunter2@h/d", "is not a URL such as postgresql://user:password@host/database"),
    ("hunter2", "is not a URL such as postgresql://user:password@host/database"),
    ("postgresql://u:hunter2%@h/d", "has a % in the password without two hexadecimal digits after it"),
    ("postgresql://u:hunter2%zz@h/d", "has a % in the password"),
    ("postgresql://u%:hunter2@h/d", "has a % in the user"),
    ("postgresql://u:hunter2%FF@h/d", "has bytes in the password that are not UTF-8"),
    ("postgresql://u:p@hunter2@h/d", "has more than one @ before the host"),
    ("postgresql://u:1/hunter2@h/d", "has a / before the first @"),
    ("postgresql://u:hunter2/d", "has a port for the host \"u\" that is not a number from 1 to 65535"),
    ("postgresql://u:hunter2@h:70000/d", "has a port for the host \"h\" that is not a number"),
    ("postgresql://u:hunter2@h/d?port=1,2", "has 2 ports for 1 hosts"),
    ("postgresql://a,b/d?hostaddr=127.0.0.1", "has 2 hosts and 1 entries in hostaddr"),
    ("postgresql://h/d?hostaddr=h", "has a hostaddr that is not a numeric address"),
    ("postgresql://u:hunter2@[::1/d", "has an address that begins with [ and is not [address]"),
    ("postgresql://u:hunter2@h/d?foo=bar", "has an unknown parameter: foo"),
    ("postgresql://u:hunter2@h/d?Hunter2%20/x=bar", "has an unknown parameter: a parameter"),
    ("postgresql://u:hunter2@h/d?sslmode", "has no value for sslmode"),
    (
        "postgresql://u:hunter2@h/d?sslmode=maybe",
        "has a sslmode that is none of disable, allow, prefer, require",
    ),
    (
        "postgresql://u:hunter2@h/d?connect_timeout=hunter2",
        "has a connect_timeout that is not a whole number",
    ),
    (
        "postgresql://u:hunter2@h/d?target_session_attrs=x",
        "has a target_session_attrs that is none of any, read-write",
    ),
    (
        "postgresql://u:hunter2@h/d?sslpassword=hunter2",
        "has the parameter sslpassword, which is not supported",
    ),
    ("postgresql://u:hunter2@h/d?sslcrl=/x", "has the parameter sslcrl, which is not supported"),
    ("postgresql://u:hunter2@h/d?gssencmode=require", "has a gssencmode that is none of disable, prefer"),
    ("postgresql://u:hunter2@h/d?client_encoding=LATIN1", "has a client_encoding that is none of UTF8"),
    ("postgresql://u:hunter2@h/d?sslcert=/x", "has only one of sslcert and sslkey"),
    (
        "postgresql://h/d?sslrootcert=system&sslmode=verify-ca",
        "has sslrootcert=system, which needs sslmode=verify-full",
    ),
    ("host=h password='hunter2", "has no closing quote for password"),
    ("host=h pass-word=hunter2", "is not a URL such as"),
];

#[test]
fn a_refusal_names_the_part_and_never_the_password() {
    for (text, expected) in REFUSED {
        let told = fault(text);
        assert!(told.starts_with(expected), "{text}: {told}");
        assert!(!told.contains("hunter2"), "{text}: {told}");
    }
}

#[test]
fn display_shows_all_but_the_password() {
    let cases = [
        ("postgresql://app:hunter2@db.example.com/users", "postgresql://app:***@db.example.com/users"),
        ("postgresql://app@db.example.com:6000/users", "postgresql://app@db.example.com:6000/users"),
        ("postgresql://app@a:1,b/users?password=hunter2", "postgresql://app:***@a:1,b/users"),
        (
            "host=/tmp/pg user=app password='hunter2 x' options='-c jit=off' sslmode=disable",
            "postgresql://app:***@%2Ftmp%2Fpg?options=-c%20jit%3Doff&sslmode=disable",
        ),
        ("postgresql://[::1]:7/d?sslrootcert=/etc/ca.pem", "postgresql://[::1]:7/d?sslrootcert=/etc/ca.pem"),
    ];
    for (text, shown) in cases {
        let url = url(text);
        assert_eq!(url.to_string(), shown);
        assert!(!format!("{url:?} {}", url.place()).contains("hunter2"), "{text}");
    }
}

#[test]
fn remote_servers_need_encryption_unless_it_is_turned_off() {
    use Reach::{Encrypted, ThisMachine, Unprotected};
    for (text, far, encrypted) in [
        ("postgresql://u@%2Frun%2Fpostgresql/db", ThisMachine, false),
        ("postgresql:///db?host=/run/postgresql", ThisMachine, false),
        ("postgresql:///db", ThisMachine, false),
        ("postgresql://u@localhost/db", ThisMachine, false),
        ("postgres://u:p%40ss%2Fw@127.0.0.2:5433/db?sslmode=disable", ThisMachine, false),
        ("postgresql://u@[::1]/db?options=-c%20jit%3Doff&application_name=x", ThisMachine, false),
        ("postgresql://localhost:1,127.0.0.1:2/db?target_session_attrs=read-write", ThisMachine, false),
        ("postgresql://u@localhost/db?sslmode=verify-full&target_session_attrs=any", ThisMachine, true),
        ("postgresql://u@localhost/db?ssl=true", ThisMachine, true),
        ("postgresql://u@db.example.com/db", Encrypted, true),
        ("postgresql://u@db.example.com/db?sslmode=verify-full&sslrootcert=system", Encrypted, true),
        ("postgresql://u@localhost:1,10.0.0.1:2/db", Encrypted, true),
        ("postgresql://u@localhost.example.com/db", Encrypted, true),
        ("postgresql:///db?host=db.example.com", Encrypted, true),
        ("postgresql://localhost/db?hostaddr=10.0.0.1", Encrypted, true),
        ("postgresql://u@db.example.com/db?sslmode=disable", Unprotected, false),
        ("postgresql://u@db.example.com/db?sslmode=allow", Unprotected, false),
        ("postgresql://u@db.example.com/db?sslmode=prefer", Unprotected, false),
    ] {
        assert_eq!(reach(text), far, "{text}");
        assert_eq!(Encryption::new(&url(text)).unwrap().is_on(), encrypted, "{text}");
    }
    assert_eq!(reach("no url"), Encrypted);
}
