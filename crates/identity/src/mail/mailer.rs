//! Delivery of the outbox.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::join_all;
use kernel::{Clock, UserId};
use lettre::{
    Message,
    message::{
        Mailbox, SinglePart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp,
};
use pg::{DbError, Pool, Tx};
use secrecy::ExposeSecret as _;
use tokio::time::timeout;
use url::Url;

use super::{
    GIVE_UP_AFTER, LINK_TTL, LINKS_MAX, LinkPurpose, LinkToken, Mail, SmtpServer, StoredLink, StoredMail,
    server::{Client, SendError},
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
    client: Client,
    sealer: Arc<Sealer>,
    clock: Arc<dyn Clock>,
}

/// The recipient of a mail.
struct Recipient {
    user_id: UserId,
    /// As the account has it: other addresses, of other mailboxes, may fold to the same login name.
    address: String,
}

/// The end of an attempt to send a mail, as counted in `mails_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendingOutcome {
    /// The server took it.
    Sent,
    /// There is nothing to send: no such account, an address that is confirmed already, or too many links.
    Dropped,
    /// The server does not take this mail, or not for this recipient.
    Rejected,
    /// It was tried for too long.
    GivenUp,
    /// It will be tried again.
    Failed,
}

impl SendingOutcome {
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
    ) -> Result<Self, smtp::Error> {
        let client = settings.server.client(settings.from.email.domain())?;
        Ok(Self { settings, client, sealer, clock })
    }

    /// Sends the mails whose turn it is, at most [`MAILS_PER_ROUND`], and returns their number. A mail that cannot be sent stays in
    /// the outbox for a later attempt, after two minutes at first and an hour at most.
    ///
    /// # Errors
    /// The first [`DbError`] of a mail, after all others were served; it is sent later.
    pub async fn round(&self, pool: &Pool) -> Result<usize, DbError> {
        let now = self.clock.now();
        let claimed =
            Tx::run(pool, async |tx| store::mails::claim(tx.conn(), now, MAILS_PER_ROUND).await).await?;
        let attempts = join_all(claimed.iter().map(|mail| self.attempt(pool, mail))).await;
        let (mut done, mut first_error) = (Vec::with_capacity(claimed.len()), None);
        for (mail, outcome) in claimed.iter().zip(attempts) {
            match outcome {
                Ok(SendingOutcome::Failed) => {}
                Ok(_) => done.push(mail.id),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        pool.read(async |conn| store::mails::delete(conn, &done).await).await?;
        match first_error {
            Some(error) => Err(error),
            None => Ok(claimed.len()),
        }
    }

    /// One attempt to send a mail. A link that is never sent is forgotten: it takes no place of [`LINKS_MAX`].
    async fn attempt(&self, pool: &Pool, stored: &StoredMail) -> Result<SendingOutcome, DbError> {
        let (outcome, recipient) = match Mail::open(&self.sealer, &stored.sealed) {
            Ok((mail, token)) => match self.keep_link(pool, stored, &mail, &token).await? {
                Some(recipient) => (self.send(stored, &mail, &recipient, &token).await, Some(recipient)),
                None => (SendingOutcome::Dropped, None),
            },
            Err(error) => {
                tracing::error!(mail.id = %stored.id, error = %error, "a mail of the outbox cannot be read");
                (SendingOutcome::Failed, None)
            }
        };
        let is_old = self.clock.now() - stored.created_at >= GIVE_UP_AFTER;
        let outcome =
            if is_old && outcome == SendingOutcome::Failed { SendingOutcome::GivenUp } else { outcome };
        metrics::counter!("mails_total", "outcome" => outcome.as_str()).increment(1);
        if matches!(outcome, SendingOutcome::GivenUp | SendingOutcome::Rejected) {
            tracing::warn!(mail.id = %stored.id, outcome = outcome.as_str(), "a mail is not sent");
            if let Some(Recipient { user_id, .. }) = &recipient {
                pool.read(async |conn| store::mails::delete_link(conn, user_id, stored.id).await).await?;
            }
        }
        Ok(outcome)
    }

    /// Stores the digest of the link of a mail, and returns its recipient; `None` if the mail is not to be sent.
    async fn keep_link(
        &self,
        pool: &Pool,
        stored: &StoredMail,
        mail: &Mail,
        token: &LinkToken,
    ) -> Result<Option<Recipient>, DbError> {
        let now = self.clock.now();
        Tx::run(pool, async |tx| {
            let conn = tx.conn();
            let email_folded = fold(&mail.address);
            let Some(account) = store::credentials::find(conn, &email_folded).await? else {
                return Ok(None);
            };
            let user_id = account.user_id;
            // As they are now: until they were locked somebody might have changed their address.
            let Some(user) = credentials::lock(conn, &user_id).await?.filter(|user| user.is_active) else {
                return Ok(None);
            };
            let Some(address) = user.email.filter(|email| fold(email) == email_folded) else {
                return Ok(None);
            };
            let is_done = mail.purpose == LinkPurpose::Confirm && user.email_vouched;
            let others = store::mails::count_links(conn, now, &user_id, mail.purpose, stored.id).await?;
            if is_done || others >= LINKS_MAX {
                return Ok(None);
            }
            let link = StoredLink { user_id, email_folded };
            let expires_at = now.saturating_add(LINK_TTL);
            let digest = token.digest();
            let kept = store::mails::put_link(conn, stored.id, &link, mail.purpose, &digest, expires_at);
            Ok(kept.await?.then_some(Recipient { user_id: link.user_id, address }))
        })
        .await
    }

    /// The mail as it is sent; `None` for a recipient that cannot be written to.
    fn compose(
        &self,
        stored: &StoredMail,
        mail: &Mail,
        recipient: &Recipient,
        token: &LinkToken,
    ) -> Option<Message> {
        let to = Mailbox::new(None, recipient.address.parse().ok()?);
        let link = token.link(&self.settings.link_base);
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
    async fn send(
        &self,
        stored: &StoredMail,
        mail: &Mail,
        recipient: &Recipient,
        token: &LinkToken,
    ) -> SendingOutcome {
        let Some(message) = self.compose(stored, mail, recipient, token) else {
            return SendingOutcome::Rejected;
        };
        let (outcome, problem) = match timeout(SEND_MAX, self.client.send(&message)).await {
            Ok(Ok(())) => return SendingOutcome::Sent,
            Ok(Err(SendError::Permanent(error))) => (SendingOutcome::Rejected, problem(&error)),
            Ok(Err(SendError::Temporary(error))) => (SendingOutcome::Failed, problem(&error)),
            Err(_) => (SendingOutcome::Failed, "it took too long".to_owned()),
        };
        tracing::warn!(mail.id = %stored.id, problem, "a mail could not be sent");
        outcome
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn problem(error: &smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the server answered {code}"),
        None if error.is_timeout() => "the server does not answer".to_owned(),
        None if error.is_tls() => "TLS failed".to_owned(),
        None if error.is_response() => "the answer of the server cannot be read".to_owned(),
        None if error.is_client() => {
            "the server cannot do what is needed, such as STARTTLS or SMTPUTF8".to_owned()
        }
        None => "the connection failed".to_owned(),
    }
}
