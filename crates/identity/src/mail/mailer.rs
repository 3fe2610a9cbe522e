//! Delivery of the outbox.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::join_all;
use kernel::{Clock, Ids};
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{
        Mailbox, SinglePart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp,
};
use pg::{DbError, Pool, Tx};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;
use url::Url;

use super::{
    GIVE_UP_AFTER, LINK_TTL, LINKS_MAX, LinkPurpose, LinkToken, Mail, SmtpServer, StoredLink, StoredMail,
    texts,
};
use crate::{credentials, model::fold, seal::Sealer, store};

/// Most mails that a process sends at a time.
pub const MAILS_PER_ROUND: i64 = 8;
/// Longest time for sending one. It is shorter than the time for which a mail is left to the process that is sending it.
const SEND_MAX: Duration = Duration::from_secs(60);

/// Settings of the mails.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// The server (`SMTP_URL`).
    pub server: SmtpServer,
    /// The sender (`MAIL_FROM`).
    pub from: Mailbox,
    /// The page that links lead to (`MAIL_LINK_BASE`).
    pub link_base: Url,
    /// Name of the service in the texts.
    pub service: String,
}

/// Sends what is in the outbox. Any number of processes may do so at the same time.
pub struct Mailer {
    settings: MailSettings,
    client: AsyncSmtpTransport<Tokio1Executor>,
    sealer: Arc<Sealer>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

/// The end of an attempt to send a mail, as counted in `mails_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The server took it.
    Sent,
    /// There is nothing to send: no such account, an address that is confirmed already, or too many links.
    Dropped,
    /// The server does not take mails for this recipient.
    Rejected,
    /// It was tried for too long.
    GivenUp,
    /// It will be tried again.
    Failed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Dropped => "dropped",
            Self::Rejected => "rejected",
            Self::GivenUp => "given_up",
            Self::Failed => "failed",
        }
    }
}

impl Mailer {
    /// A mailer. It connects when there is something to send.
    ///
    /// # Errors
    /// The error of the TLS library, which cannot use the root certificates of the machine.
    pub fn new(
        settings: MailSettings,
        sealer: Arc<Sealer>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Self, smtp::Error> {
        let client = settings.server.client(settings.from.email.domain())?;
        Ok(Self { settings, client, sealer, clock, ids })
    }

    /// Sends the mails whose turn it is, at most [`MAILS_PER_ROUND`], and returns their number. A mail that cannot be sent stays in
    /// the outbox for a later attempt, after one minute at first and an hour at most.
    ///
    /// # Errors
    /// [`DbError`]; mails that were not sent then are sent later.
    pub async fn round(&self, pool: &Pool) -> Result<usize, DbError> {
        let now = self.clock.now();
        let claimed =
            Tx::run(pool, async |tx| store::mails::claim(tx.conn(), now, MAILS_PER_ROUND).await).await?;
        let attempts = join_all(claimed.iter().map(|mail| self.attempt(pool, mail))).await;
        let mut done = Vec::with_capacity(claimed.len());
        for (mail, outcome) in claimed.iter().zip(attempts) {
            let outcome = match outcome? {
                Outcome::Failed if now - mail.created_at >= GIVE_UP_AFTER => Outcome::GivenUp,
                outcome => outcome,
            };
            metrics::counter!("mails_total", "outcome" => outcome.as_str()).increment(1);
            match outcome {
                Outcome::Failed => continue,
                Outcome::GivenUp | Outcome::Rejected => {
                    tracing::warn!(mail.id = %mail.id, outcome = outcome.as_str(), "a mail is not sent");
                }
                Outcome::Sent | Outcome::Dropped => {}
            }
            done.push(mail.id);
        }
        pool.read(async |conn| store::mails::delete(conn, &done).await).await?;
        Ok(claimed.len())
    }

    /// One attempt to send a mail.
    async fn attempt(&self, pool: &Pool, stored: &StoredMail) -> Result<Outcome, DbError> {
        let mail = match Mail::open(&self.sealer, &stored.sealed) {
            Ok(mail) => mail,
            Err(error) => {
                tracing::error!(mail.id = %stored.id, error = %error, "a mail of the outbox cannot be read");
                return Ok(Outcome::Failed);
            }
        };
        let token = LinkToken::new(&*self.ids, mail.purpose);
        if !self.keep_link(pool, stored, &mail, &token).await? {
            return Ok(Outcome::Dropped);
        }
        let link = token.link(&self.settings.link_base);
        Ok(match self.compose(stored, &mail, &link) {
            Some(message) => self.send(stored, message).await,
            None => Outcome::Rejected,
        })
    }

    /// Stores the digest of the link of a mail; false if the mail is not to be sent.
    async fn keep_link(
        &self,
        pool: &Pool,
        stored: &StoredMail,
        mail: &Mail,
        token: &LinkToken,
    ) -> Result<bool, DbError> {
        let now = self.clock.now();
        Tx::run(pool, async |tx| {
            let conn = tx.conn();
            let email_folded = fold(&mail.address);
            let Some(account) = store::credentials::find(conn, &email_folded).await? else {
                return Ok(false);
            };
            let is_done = mail.purpose == LinkPurpose::Confirm && account.confirmed_address(&email_folded);
            if !account.is_active || is_done {
                return Ok(false);
            }
            credentials::lock(conn, &account.user_id).await?;
            let others =
                store::mails::count_links(conn, now, &account.user_id, mail.purpose, stored.id).await?;
            if others >= LINKS_MAX {
                return Ok(false);
            }
            let link = StoredLink { user_id: account.user_id, email_folded };
            let expires_at = now.saturating_add(LINK_TTL);
            store::mails::put_link(conn, stored.id, &link, mail.purpose, &token.digest(), expires_at).await?;
            Ok(true)
        })
        .await
    }

    /// The mail as it is sent; `None` for a recipient that cannot be written to.
    fn compose(&self, stored: &StoredMail, mail: &Mail, link: &SecretString) -> Option<Message> {
        let to = Mailbox::new(None, mail.address.parse().ok()?);
        let (subject, text) =
            texts::text(mail.purpose, mail.language, &self.settings.service, link.expose_secret());
        // Nobody on holiday answers it (RFC 3834).
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(self.settings.from.clone())
            .to(to)
            .subject(subject)
            .date(self.clock.now().into())
            .message_id(Some(format!("<{}@{}>", stored.id, self.settings.from.email.domain())))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .singlepart(SinglePart::plain(text))
            .ok()
    }

    /// Hands the mail to the server. The answer of the server may name the recipient, so only its code is logged.
    async fn send(&self, stored: &StoredMail, message: Message) -> Outcome {
        let problem = match timeout(SEND_MAX, self.client.send(message)).await {
            Ok(Ok(_)) => return Outcome::Sent,
            Ok(Err(error)) if rejects_recipient(&error) => return Outcome::Rejected,
            Ok(Err(error)) => problem(&error),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::warn!(mail.id = %stored.id, problem, "a mail could not be sent and will be tried again");
        Outcome::Failed
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Returns true for the codes that are about the recipient's mailbox (RFC 5321, 4.2.3).
fn rejects_recipient(error: &smtp::Error) -> bool {
    error.status().is_some_and(|code| matches!(u16::from(code), 550 | 551 | 553))
}

fn problem(error: &smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the server answered {code}"),
        None if error.is_timeout() => "the server does not answer".to_owned(),
        None if error.is_tls() => "TLS failed".to_owned(),
        None if error.is_response() => "the answer of the server cannot be read".to_owned(),
        None if error.is_client() => "the server cannot do what is needed, such as STARTTLS".to_owned(),
        None => "the connection failed".to_owned(),
    }
}
