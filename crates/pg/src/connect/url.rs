//! The address of a database: what libpq's connection strings can say, and what of it this service honours.

use std::{fmt::Write as _, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_postgres::config::ChannelBinding;

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
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: Option<String>,
    pub(super) options: Option<String>,
    pub(super) application_name: Option<String>,
    /// None if the caller's default counts; zero for no limit.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) tcp: Tcp,
    /// None if it depends on what the connections are for.
    pub(super) target: Option<TargetSession>,
    pub(super) shuffle: bool,
    pub(super) channel_binding: ChannelBinding,
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
        let shown = given.clone();
        let application_name = given.take("application_name");
        let fallback_name = given.take("fallback_application_name");
        let mut url = Self {
            hosts: given.hosts()?,
            user: given.take("user"),
            password: given.take("password"),
            database: given.take("dbname"),
            options: given.take("options"),
            application_name: application_name.or(fallback_name),
            connect_timeout: given.seconds("connect_timeout")?,
            tcp: given.tcp()?,
            target: given.target()?,
            shuffle: given.shuffle()?,
            channel_binding: given.channel_binding()?,
            tls: given.tls()?,
            shown: String::new(),
        };
        given.refuse_rest()?;
        url.shown = without_password(shown);
        Ok(url)
    }

    /// Hosts, ports and database, for messages: `db1:5432,db2:5432/app`.
    #[must_use]
    pub fn place(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(Host::to_string).collect();
        let database = self.database.as_deref().or(self.user.as_deref());
        format!("{}/{}", hosts.join(","), database.unwrap_or_default())
    }

    /// The password that it holds, decoded. Not for messages.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Whether every host is this machine: a unix socket or a loopback address.
    pub(crate) fn is_local(&self) -> bool {
        self.hosts.iter().all(Host::is_local)
    }

    /// Whether the way to a host that is not this machine is not encrypted for certain (`sslmode` disable, allow, prefer).
    pub(crate) fn may_be_plaintext_remotely(&self) -> bool {
        !self.is_local() && matches!(self.tls.mode, Some(SslMode::Disable | SslMode::Prefer))
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

/// What needs no encoding in a host, user or database.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What needs none in the value of a parameter.
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
