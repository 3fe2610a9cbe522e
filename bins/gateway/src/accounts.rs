//! Own accounts: what they need beside the database, made once.

use std::{num::NonZero, sync::Arc, thread::available_parallelism};

use flows::{jobs::Job, mail_delivery};
use identity::{
    PasswordPool,
    mail::{LinkPurpose, Mail, MailLanguage, MailSettings, Mailer, SealedMail},
    seal::Sealer,
    wechat::WechatClient,
};
use kernel::{Clock, Ids};
use pg::Pool;
use url::Url;
use web::{ApiError, Language};

use crate::{
    config::Config,
    http::{catalogue, error::Errors as _},
};

/// Passwords, mail and WeChat.
#[derive(Debug)]
pub struct Accounts {
    /// Hashes and checks passwords.
    pub passwords: PasswordPool,
    /// Seals mails; none where mail is not configured.
    sealer: Option<Arc<Sealer>>,
    mailer: Option<Arc<Mailer>>,
    wechat: Option<WechatClient>,
}

/// The reason that a provider cannot be used with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// The base of links is no URL.
    #[error("the links in mails have no address: PUBLIC_URL is none")]
    LinkBase(#[from] url::ParseError),
    /// TLS towards the mail server cannot be set up.
    #[error("the mail server cannot be used")]
    Mail(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// TLS towards WeChat cannot be set up.
    #[error("WeChat cannot be used")]
    Wechat(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Accounts {
    /// The providers of the configuration. Without a sealer there is no mail.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn new(
        config: &Config,
        sealer: Option<&Arc<Sealer>>,
        clock: &Arc<dyn Clock>,
        ids: &Arc<dyn Ids>,
    ) -> Result<Self, AccountsError> {
        let passwords =
            PasswordPool::new(available_parallelism().unwrap_or(NonZero::<usize>::MIN), Arc::clone(ids));
        let mail = match (&config.mail, sealer) {
            (Some(mail), Some(sealer)) => {
                let link_base = match &mail.link_base {
                    Some(base) => base.clone(),
                    None => Url::parse(&config.public_url())?,
                };
                let settings = MailSettings {
                    server: mail.server.clone(),
                    from: mail.from.clone(),
                    link_base,
                    service: config.app.name.clone(),
                };
                let mailer = Mailer::new(settings, Arc::clone(sealer), Arc::clone(clock));
                Some((
                    Arc::clone(sealer),
                    Arc::new(mailer.map_err(|error| AccountsError::Mail(error.into()))?),
                ))
            }
            _ => None,
        };
        let (sealer, mailer) = mail.unzip();
        let wechat = config.wechat.clone().map(WechatClient::new).transpose();
        let wechat = wechat.map_err(|error| AccountsError::Wechat(error.into()))?;
        Ok(Self { passwords, sealer, mailer, wechat })
    }

    /// The job that sends mails, where mail is configured.
    #[must_use]
    pub fn job(&self, pool: &Pool) -> Option<Job> {
        self.mailer.as_ref().map(|mailer| mail_delivery::job(pool, mailer))
    }

    /// Returns true if mail is configured.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.sealer.is_some()
    }

    /// Makes sure that mail is configured: without it there are no links.
    ///
    /// # Errors
    /// 503 where it is not.
    pub fn needs_mail(&self) -> Result<(), ApiError> {
        if self.has_mail() { Ok(()) } else { Err(ApiError::not_configured("mail")) }
    }

    /// A mail for the outbox.
    ///
    /// # Errors
    /// 503 where mail is not configured.
    pub fn mail(
        &self,
        ids: &dyn Ids,
        purpose: LinkPurpose,
        address: &str,
        language: Language,
    ) -> Result<SealedMail, ApiError> {
        let sealer = self.sealer.as_ref().ok_or_else(|| ApiError::not_configured("mail"))?;
        let language = match language {
            Language::En => MailLanguage::En,
            Language::Zh => MailLanguage::Zh,
        };
        let sealed = Mail { purpose, address: address.to_owned(), language }.seal(ids, sealer);
        sealed.map_err(|error| {
            tracing::error!(error = %error, "a mail cannot be sealed");
            ApiError::new(&catalogue::INTERNAL)
        })
    }

    /// The client of WeChat.
    ///
    /// # Errors
    /// 503 where WeChat is not configured.
    pub fn wechat(&self) -> Result<&WechatClient, ApiError> {
        self.wechat.as_ref().ok_or_else(|| ApiError::not_configured("wechat"))
    }
}
