//! Mails with links, by which the owner of an address confirms it or sets a new password (HTTP contract 3.7).
//!
//! A request only puts a mail into the outbox: its purpose, the login name of the recipient, their language and the token of its
//! link, sealed. The account is looked up when the mail is sent, so that no answer and no duration depends on it. It goes to the
//! address that the account has, whatever spelling was asked for. From then on the database has the digest of the token; a repeated
//! attempt sends the same link, because an attempt that seemed to fail may have succeeded. When the mail was sent the token exists
//! nowhere but in it.

mod link;
mod mailer;
mod server;
mod texts;

use std::fmt;

use kernel::{Clock, Ids};
use pg::{DbError, PgConnection};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use time::Duration;
use uuid::Uuid;

use crate::{
    model::{StoredLink, StoredMail},
    seal::{SealError, Sealer},
    store,
};

pub use crate::model::LinkPurpose;
pub use lettre::message::Mailbox;
pub use link::LinkToken;
pub use mailer::{MAILS_PER_ROUND, MailSettings, Mailer};
pub use server::{SmtpServer, SmtpServerError};

/// Validity of a link.
pub const LINK_TTL: Duration = Duration::minutes(30);
/// Most links of one purpose that a user has at a time. While there are so many no further mail is sent, so that nobody's
/// mailbox is flooded by others.
pub const LINKS_MAX: i64 = 5;
/// Age at which a mail that could not be sent is given up.
pub const GIVE_UP_AFTER: Duration = Duration::days(2);

/// Purpose of sealed mails.
const SEALED_FOR: &str = "identity.mails";

/// The language of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailLanguage {
    /// English.
    En,
    /// Chinese.
    Zh,
}

/// A mail to be sent.
#[derive(Clone, Serialize, Deserialize)]
pub struct Mail {
    /// The effect of its link.
    pub purpose: LinkPurpose,
    /// The login name of the recipient, in any case. Nothing is sent unless there is such an account.
    pub address: String,
    /// Language of its text.
    pub language: MailLanguage,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

/// A mail as it lies in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedMail {
    id: Uuid,
    sealed: Vec<u8>,
}

impl Mail {
    /// Seals the mail for the outbox, with the token of its link.
    ///
    /// # Errors
    /// [`SealError::Failed`].
    pub fn seal(&self, ids: &dyn Ids, sealer: &Sealer) -> Result<SealedMail, SealError> {
        let token = LinkToken::new(ids, self.purpose);
        let plain = serde_json::to_vec(&(self, token.text())).map_err(|_| SealError::Failed)?;
        Ok(SealedMail { id: ids.uuid(), sealed: sealer.seal(SEALED_FOR, &Zeroizing::new(plain))? })
    }

    fn open(sealer: &Sealer, sealed: &[u8]) -> Result<(Self, LinkToken), SealError> {
        let plain = sealer.open(SEALED_FOR, sealed)?;
        let (mail, token): (Self, String) = serde_json::from_slice(&plain).map_err(|_| SealError::Damaged)?;
        Ok((mail, LinkToken::presented(token.into())))
    }
}

/// Puts a mail into the outbox, in the transaction of its cause.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn enqueue(conn: &mut PgConnection, clock: &dyn Clock, mail: &SealedMail) -> Result<(), DbError> {
    store::mails::insert(conn, clock.now(), mail.id, &mail.sealed).await
}
