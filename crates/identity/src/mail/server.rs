//! The SMTP server that mails are handed to (`SMTP_URL`, HTTP contract 14).

use std::{fmt, time::Duration};

use lettre::{
    Message,
    transport::smtp::{
        self,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, TlsParameters},
        extension::ClientId,
    },
};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::outside::is_loopback;

/// The port of `smtp://`, where TLS begins with STARTTLS (RFC 6409).
const SUBMISSION_PORT: u16 = 587;
/// The port of `smtps://`, where it begins at once (RFC 8314).
const SUBMISSIONS_PORT: u16 = 465;
/// Longest wait for the connection, and for each answer of the server.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// The code for a server that wants a login first: the fault of the configuration, and not of a mail (RFC 4954, 6).
const LOGIN_NEEDED: u16 = 530;

/// An SMTP server with the account on it.
#[derive(Clone)]
pub struct SmtpServer {
    host: String,
    port: u16,
    encryption: Encryption,
    login: Option<(String, SecretString)>,
}

/// A client of a server.
pub(super) struct Client {
    server: SmtpServer,
    tls: TlsParameters,
    hello: ClientId,
}

/// The reason that a mail was not taken.
pub(super) enum SendError {
    /// The server refused it for good, or cannot transport it (RFC 5321, 4.2.1).
    Permanent(smtp::Error),
    /// Another attempt may succeed.
    Temporary(smtp::Error),
}

/// The protection of a connection to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// TLS from the first byte.
    Tls,
    /// STARTTLS; a server without it gets nothing.
    StartTls,
    /// None.
    Plain,
}

/// The text does not name an SMTP server. It may have a password in it, so no part of it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SmtpServerError {
    /// Another scheme, a path, or no URL at all.
    #[error(
        "is not a URL such as smtp://user:password@mail.example.com:587 or smtps://user:password@mail.example.com"
    )]
    Form,
    /// Another query.
    #[error("has a query other than tls=required or tls=none")]
    Query,
    /// Name without password, or the other way round; or bytes that are no text.
    #[error("needs a user name and a password, percent-encoded, or neither")]
    Login,
    /// A password that everybody on the way could read.
    #[error("has a password, which would be sent in clear with tls=none")]
    PasswordInClear,
}

impl SmtpServer {
    /// Reads a URL. `smtps` uses TLS from the first byte. `smtp` needs STARTTLS, except towards this machine or with
    /// `?tls=none`; `?tls=required` needs it there too.
    ///
    /// # Errors
    /// [`SmtpServerError`].
    pub fn parse(text: &str) -> Result<Self, SmtpServerError> {
        let url = Url::parse(text).map_err(|_| SmtpServerError::Form)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(SmtpServerError::Form)?;
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(SmtpServerError::Form);
        }
        let is_here = is_loopback(&url);
        let encryption = match (url.scheme(), url.query()) {
            ("smtps", None | Some("tls=required")) => Encryption::Tls,
            ("smtp", Some("tls=required")) => Encryption::StartTls,
            ("smtp", Some("tls=none")) => Encryption::Plain,
            ("smtp", None) => {
                if is_here {
                    Encryption::Plain
                } else {
                    Encryption::StartTls
                }
            }
            ("smtp" | "smtps", Some(_)) => return Err(SmtpServerError::Query),
            _ => return Err(SmtpServerError::Form),
        };
        let login = login(&url)?;
        if login.is_some() && encryption == Encryption::Plain && !is_here {
            return Err(SmtpServerError::PasswordInClear);
        }
        let default = if encryption == Encryption::Tls { SUBMISSIONS_PORT } else { SUBMISSION_PORT };
        Ok(Self { host: host.to_owned(), port: url.port().unwrap_or(default), encryption, login })
    }

    /// A client of the server, which says hello in the name of this domain.
    pub(super) fn client(&self, domain: &str) -> Result<Client, smtp::Error> {
        Ok(Client {
            server: self.clone(),
            tls: TlsParameters::new(self.host.clone())?,
            hello: ClientId::Domain(domain.to_owned()),
        })
    }
}

impl Client {
    /// Hands a mail over, by a connection of its own.
    pub(super) async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mut connection = self.connect().await.map_err(SendError::Temporary)?;
        let sent = connection.send(message.envelope(), &message.formatted()).await;
        connection.abort().await;
        sent.map(drop).map_err(|error| {
            let needs_login = error.status().is_some_and(|code| u16::from(code) == LOGIN_NEEDED);
            // Of the client: the server lacks what this mail needs.
            match error.is_client() || (error.is_permanent() && !needs_login) {
                true => SendError::Permanent(error),
                false => SendError::Temporary(error),
            }
        })
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, smtp::Error> {
        let SmtpServer { host, port, encryption, login } = &self.server;
        let wrapper = (*encryption == Encryption::Tls).then(|| self.tls.clone());
        let address = (host.as_str(), *port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(ANSWER_MAX), &self.hello, wrapper, None)
                .await?;
        if *encryption == Encryption::StartTls {
            connection.starttls(self.tls.clone(), &self.hello).await?;
        }
        if let Some((user, password)) = login {
            let login = Credentials::new(user.clone(), password.expose_secret().to_owned());
            connection.auth(DEFAULT_MECHANISMS, &login).await?;
        }
        Ok(connection)
    }
}

impl fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("SmtpServer");
        fields.field("host", &self.host).field("port", &self.port).field("encryption", &self.encryption);
        fields.finish_non_exhaustive()
    }
}

fn login(url: &Url) -> Result<Option<(String, SecretString)>, SmtpServerError> {
    let decoded = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8().map_err(|_| SmtpServerError::Login);
        decoded.map(|decoded| decoded.into_owned())
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => Err(SmtpServerError::Login),
        (user, Some(password)) => Ok(Some((decoded(user)?, decoded(password)?.into()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_needed_except_towards_this_machine() {
        for (text, encryption, port) in [
            ("smtps://mail.example.com", Encryption::Tls, 465),
            ("smtps://mail.example.com:2465/", Encryption::Tls, 2465),
            ("smtp://mail.example.com", Encryption::StartTls, 587),
            ("smtp://u:p@mail.example.com:25", Encryption::StartTls, 25),
            ("smtp://mail.example.com?tls=none", Encryption::Plain, 587),
            ("smtp://127.0.0.1:1025", Encryption::Plain, 1025),
            ("smtp://u:p@localhost", Encryption::Plain, 587),
            ("smtp://[::1]:25", Encryption::Plain, 25),
            ("smtp://localhost?tls=required", Encryption::StartTls, 587),
        ] {
            let server = SmtpServer::parse(text).unwrap();
            assert_eq!((server.encryption, server.port), (encryption, port), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused_and_not_repeated() {
        for (text, error) in [
            ("mail.example.com", SmtpServerError::Form),
            ("http://mail.example.com", SmtpServerError::Form),
            ("smtp://", SmtpServerError::Form),
            ("smtp://mail.example.com/path", SmtpServerError::Form),
            ("smtp://mail.example.com?tls=opportunistic", SmtpServerError::Query),
            ("smtps://mail.example.com?tls=none", SmtpServerError::Query),
            ("smtp://user@mail.example.com", SmtpServerError::Login),
            ("smtp://:password@mail.example.com", SmtpServerError::Login),
            ("smtp://user:%ff@mail.example.com", SmtpServerError::Login),
            ("smtp://user:password@mail.example.com?tls=none", SmtpServerError::PasswordInClear),
        ] {
            assert_eq!(SmtpServer::parse(text).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn the_login_is_decoded_and_does_not_show() {
        let server = SmtpServer::parse("smtps://me%40example.com:p%2F%25+w@mail.example.com").unwrap();
        let (user, password) = server.login.as_ref().unwrap();
        assert_eq!((user.as_str(), password.expose_secret()), ("me@example.com", "p/%+w"));
        assert!(!format!("{server:?}").contains("p/%+w"));
    }
}
