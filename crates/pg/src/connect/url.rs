//! The address of a database: what libpq's connection strings can say, and what of it this service honours.

use std::{fmt::Write as _, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_postgres::{
    Config,
    config::{self, ChannelBinding, SslNegotiation},
};

use super::{
    options::{Host, SslMode, TargetSession, Tcp, TlsOptions, UrlFault},
    parameters::Parameters,
    syntax,
};

/// The address of a database, checked but not used yet.
///
/// Read from what psql accepts: a URL or a list of `name=value`. `Display` shows it as a URL without its password.
#[derive(Clone)]
pub struct DatabaseUrl {
    pub(super) hosts: Vec<Host>,
    /// Facts for the driver.
    pub(super) config: Config,
    /// None if the caller's default counts; zero for no limit.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) tcp: Tcp,
    /// None if it depends on what the connections are for.
    pub(super) target: Option<TargetSession>,
    pub(super) shuffle: bool,
    pub(super) tls: TlsOptions,
    shown: String,
}

impl DatabaseUrl {
    /// Reads a connection string. Opens no file and asks no server.
    ///
    /// # Errors
    /// [`UrlFault`] names the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        let mut given = Parameters::new(syntax::parse(text)?);
        let shown = without_password(given.clone());
        let url = Self {
            hosts: given.hosts()?,
            connect_timeout: given.seconds("connect_timeout")?,
            tcp: given.tcp()?,
            target: given.choice("target_session_attrs", TARGETS)?,
            shuffle: given.choice("load_balance_hosts", &[("disable", false), ("random", true)])?
                == Some(true),
            tls: given.tls()?,
            config: config(&mut given)?,
            shown,
        };
        given.refuse_rest()?;
        Ok(url)
    }

    /// Hosts, ports and database, for messages: `db1:5432,db2:5432/app`.
    #[must_use]
    pub fn place(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(Host::to_string).collect();
        let database = self.config.get_dbname().or(self.config.get_user());
        format!("{}/{}", hosts.join(","), database.unwrap_or_default())
    }

    /// The password that it holds, decoded. Not for messages.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        std::str::from_utf8(self.config.get_password()?).ok()
    }

    /// Returns true if every host is this machine: a unix socket or a loopback address.
    pub(crate) fn is_local(&self) -> bool {
        self.hosts.iter().all(Host::is_local)
    }
}

/// Reach of a connection, and protection of its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// A unix socket or a loopback address.
    ThisMachine,
    /// Another machine, with TLS.
    Encrypted,
    /// Another machine; the URL turns TLS off or allows the server to refuse it.
    Unprotected,
}

/// Reach of a connection to the database at `url`; with several hosts, the farthest. A URL that cannot be read counts as
/// another machine. Nothing is connected or read.
#[must_use]
pub fn reach(url: &str) -> Reach {
    match DatabaseUrl::parse(url) {
        Ok(url) if url.is_local() => Reach::ThisMachine,
        Ok(url) if matches!(url.tls.mode, Some(SslMode::Disable | SslMode::Prefer)) => Reach::Unprotected,
        _ => Reach::Encrypted,
    }
}

impl std::fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DatabaseUrl").field(&self.shown).finish()
    }
}

const TARGETS: &[(&str, TargetSession)] = &[
    ("any", TargetSession::Any),
    ("read-write", TargetSession::ReadWrite),
    ("read-only", TargetSession::ReadOnly),
    ("primary", TargetSession::Primary),
    ("standby", TargetSession::Standby),
    ("prefer-standby", TargetSession::PreferStandby),
];

type Setter = fn(&mut Config, String) -> &mut Config;

fn config(given: &mut Parameters) -> Result<Config, UrlFault> {
    let mut config = Config::new();
    let bindings = &[
        ("disable", ChannelBinding::Disable),
        ("prefer", ChannelBinding::Prefer),
        ("require", ChannelBinding::Require),
    ];
    config.channel_binding(given.choice("channel_binding", bindings)?.unwrap_or(ChannelBinding::Prefer));
    let setters: [(&str, Setter); 6] = [
        ("user", |config, user| config.user(user)),
        ("password", |config, password| config.password(password)),
        ("dbname", |config, database| config.dbname(database)),
        ("options", |config, options| config.options(options)),
        ("fallback_application_name", |config, name| config.application_name(name)),
        ("application_name", |config, name| config.application_name(name)),
    ];
    for (name, set) in setters {
        if let Some(value) = given.take(name) {
            set(&mut config, value);
        }
    }
    // The stream is handed over encrypted or not, as it shall be. Towards the driver it always passes for an encrypted one
    // that nobody has to negotiate: it may take channel binding from it then.
    config.ssl_mode(config::SslMode::Require);
    config.ssl_negotiation(SslNegotiation::Direct);
    Ok(config)
}

/// Characters that need no encoding in a host, user or database.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Characters that need none in the value of a parameter.
const PLAIN_VALUE: &AsciiSet = &PLAIN.remove(b'/').remove(b':').remove(b',');

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

fn without_password(mut given: Parameters) -> String {
    let mut text = "postgresql://".to_owned();
    let password = given.take("password").is_some();
    if let Some(user) = given.take("user") {
        text.push_str(&encoded(&user));
    }
    if password {
        text.push_str(":***");
    }
    if text.len() > "postgresql://".len() {
        text.push('@');
    }
    let hosts = given.take("host").unwrap_or_default();
    let ports = given.take("port").unwrap_or_default();
    let mut ports = ports.split(',');
    let first = ports.next().unwrap_or_default().to_owned();
    for (index, host) in hosts.split(',').enumerate() {
        if index > 0 {
            text.push(',');
        }
        if host.contains(':') {
            let _infallible = write!(text, "[{host}]");
        } else {
            text.push_str(&encoded(host));
        }
        let port = if index == 0 { &first } else { ports.next().unwrap_or(&first) };
        if !port.is_empty() {
            let _infallible = write!(text, ":{port}");
        }
    }
    if let Some(database) = given.take("dbname") {
        let _infallible = write!(text, "/{}", encoded(&database));
    }
    for (index, (name, value)) in given.rest().enumerate() {
        let begin = if index == 0 { '?' } else { '&' };
        let _infallible = write!(text, "{begin}{name}={}", utf8_percent_encode(value, PLAIN_VALUE));
    }
    text
}
