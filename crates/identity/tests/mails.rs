//! The outbox of mails, sent to a real SMTP server on loopback.

use std::sync::Arc;

use identity::{
    Activity, EmailVoucher, IdentityRefusal, NewUser, Role, credentials,
    mail::{
        self, GIVE_UP_AFTER, LINK_TTL, LINKS_MAX, LinkPurpose, LinkToken, Mail, MailLanguage, MailSettings,
        Mailer, SmtpServer,
    },
    seal::{Sealer, SecretKey},
    users::{self, UserChange},
};
use kernel::{Clock, ManualClock, UserId};
use pg::Tx;
use testkit::{MailServer, TestDb};
use time::Duration;

pub struct Post {
    pub db: TestDb,
    pub clock: ManualClock,
    pub server: MailServer,
    pub mailer: Mailer,
    sealer: Arc<Sealer>,
    ids: kernel::SeededIds,
}

pub const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn sealer() -> Arc<Sealer> {
    let key = SecretKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    Arc::new(Sealer::new(&key, &[]).unwrap())
}

impl Post {
    pub async fn new() -> Self {
        Self::with_query("").await
    }

    /// A post office that reaches its server by the URL with this query.
    async fn with_query(query: &str) -> Self {
        let db = TestDb::create(&[identity::MIGRATIONS], &[identity::AUDITS]).await;
        let (clock, server, sealer, ids) =
            (testkit::clock(), MailServer::start().await, sealer(), testkit::ids());
        let settings = MailSettings {
            server: SmtpServer::parse(&format!("{}{query}", server.url())).unwrap(),
            from: "Accounts <accounts@service.example.com>".parse().unwrap(),
            link_base: "https://app.example.com/account".parse().unwrap(),
            service: "Test Service".to_owned(),
        };
        let mailer = Mailer::new(settings, sealer.clone(), Arc::new(clock.clone())).unwrap();
        Self { db, clock, server, mailer, sealer, ids }
    }

    /// Registers an account.
    pub async fn register(&self, user: &str, email: &str) -> Result<UserId, IdentityRefusal> {
        let user_id = testkit::user(user);
        let new = NewUser {
            user_id: user_id.clone(),
            email: Some(email.to_owned()),
            email_voucher: EmailVoucher::Nobody,
            name: None,
            role: Role::User,
            brought_by: None,
        };
        let outcome = Tx::decide(self.db.pool(), async |tx| {
            users::ensure(tx, &self.clock, &new).await?.unwrap();
            credentials::create(tx, &self.clock, &user_id, email, HASH).await
        });
        outcome.await.unwrap().map(|()| user_id)
    }

    /// Puts a mail into the outbox.
    pub async fn ask(&self, purpose: LinkPurpose, address: &str, language: MailLanguage) {
        let mail = Mail { purpose, address: address.to_owned(), language };
        let sealed = mail.seal(&self.ids, &self.sealer).unwrap();
        mail::enqueue(&mut *self.db.connect().await, &self.clock, &sealed).await.unwrap();
    }

    pub async fn round(&self) -> usize {
        self.mailer.round(self.db.pool()).await.unwrap()
    }

    /// Asks for a mail and returns the token in it.
    pub async fn token(&self, purpose: LinkPurpose, address: &str) -> LinkToken {
        let before = self.server.mails().len();
        self.ask(purpose, address, MailLanguage::En).await;
        self.round().await;
        let mail = self.server.wait_for_mail(before + 1).await;
        LinkToken::presented(mail.token().to_owned().into())
    }

    async fn waiting(&self) -> i64 {
        self.db.ask("SELECT count(*) FROM identity.mails").await
    }

    pub async fn confirm(&self, token: &LinkToken) -> Result<UserId, IdentityRefusal> {
        let confirmed = async |tx: &mut Tx| credentials::confirm_email(tx, &self.clock, token).await;
        Tx::decide(self.db.pool(), confirmed).await.unwrap().map(|used| used.user_id)
    }

    pub async fn reset(&self, token: &LinkToken) -> Result<UserId, IdentityRefusal> {
        let reset = async |tx: &mut Tx| credentials::reset_password(tx, &self.clock, token, OTHER_HASH).await;
        Tx::decide(self.db.pool(), reset).await.unwrap().map(|used| used.user_id)
    }
}

pub const OTHER_HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

#[tokio::test]
async fn a_mail_has_one_link_in_the_language_of_its_reader() {
    let post = Post::new().await;
    post.register("email|a", "Ann@example.com").await.unwrap();
    for (purpose, language, subject, text) in [
        (LinkPurpose::Reset, MailLanguage::En, "Set a new password", "within 30 minutes"),
        (LinkPurpose::Reset, MailLanguage::Zh, "", "30 分钟"),
        (LinkPurpose::Confirm, MailLanguage::En, "Confirm your e-mail address", "at Test Service"),
        (LinkPurpose::Confirm, MailLanguage::Zh, "", "确认邮箱地址"),
    ] {
        let before = post.server.mails().len();
        post.ask(purpose, "ann@example.com", language).await;
        assert_eq!(post.round().await, 1);
        let mail = post.server.wait_for_mail(before + 1).await;
        assert_eq!(mail.to, "Ann@example.com", "the address of the account, as it was given");
        assert_eq!(mail.header("From"), "Accounts <accounts@service.example.com>");
        assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
        assert_eq!(mail.header("Date"), "Thu, 15 Jan 2026 12:00:00 +0000");
        assert!(subject.is_empty() || mail.header("Subject") == subject, "{:?}", mail.headers);
        assert!(mail.text.contains(text), "{}", mail.text);
        assert!(mail.link().starts_with("https://app.example.com/account?token="), "{}", mail.link());
    }
    assert_eq!((post.waiting().await, post.round().await), (0, 0), "nothing is sent twice");
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_without_an_account_that_needs_it() {
    let post = Post::new().await;
    post.register("email|a", "a@example.com").await.unwrap();
    let confirm = post.token(LinkPurpose::Confirm, "a@example.com").await;
    post.confirm(&confirm).await.unwrap();
    post.register("email|off", "off@example.com").await.unwrap();
    let (off, change) = (testkit::user("email|off"), UserChange::activity(Activity::Deactivated));
    Tx::run(post.db.pool(), async |tx| users::change(tx, &post.clock, &off, &change).await).await.unwrap();
    post.ask(LinkPurpose::Confirm, "a@example.com", MailLanguage::En).await;
    for address in ["unknown@example.com", "off@example.com", "a@example.com.example.com"] {
        post.ask(LinkPurpose::Reset, address, MailLanguage::En).await;
    }
    assert_eq!(post.round().await, 4);
    assert_eq!((post.server.recipients(), post.waiting().await), (1, 0));
}

#[tokio::test]
async fn a_mailbox_is_not_flooded() {
    let post = Post::new().await;
    post.register("email|a", "a@example.com").await.unwrap();
    let most = usize::try_from(LINKS_MAX).unwrap();
    let flood = async || {
        for _ in 0..most + 2 {
            post.ask(LinkPurpose::Reset, "a@example.com", MailLanguage::En).await;
        }
        while post.round().await > 0 {}
        post.server.mails().len()
    };
    assert_eq!(flood().await, most);
    post.clock.advance(LINK_TTL);
    assert_eq!(flood().await, 2 * most, "links that have expired do not count");
    assert_eq!(
        post.db.ask("SELECT count(*) FROM identity.mail_links").await,
        LINKS_MAX,
        "they are forgotten"
    );
}

#[tokio::test]
async fn a_mail_that_was_not_taken_is_tried_again_and_given_up_in_the_end() {
    let post = Post::new().await;
    post.register("email|a", "a@example.com").await.unwrap();
    post.server.refuse(Some("451 later"));
    post.ask(LinkPurpose::Reset, "a@example.com", MailLanguage::En).await;
    assert_eq!((post.round().await, post.round().await), (1, 0), "not at once again");
    assert_eq!((post.server.recipients(), post.waiting().await), (1, 1));
    post.clock.advance(Duration::minutes(2));
    assert_eq!((post.round().await, post.round().await), (1, 0));
    post.clock.advance(Duration::minutes(4));
    post.server.refuse(None);
    assert_eq!(post.round().await, 1);
    assert_eq!((post.server.mails().len(), post.waiting().await), (1, 0));
    let token = LinkToken::presented(post.server.mails()[0].token().to_owned().into());
    assert!(post.reset(&token).await.is_ok(), "valid from the time it was sent");

    post.server.refuse(Some("451 later"));
    post.ask(LinkPurpose::Reset, "a@example.com", MailLanguage::En).await;
    let began = post.clock.now();
    let mut attempts = 0;
    while post.waiting().await > 0 {
        attempts += post.round().await;
        post.clock.advance(Duration::minutes(30));
    }
    let tried_for = post.clock.now() - began;
    assert!(tried_for > GIVE_UP_AFTER && tried_for < GIVE_UP_AFTER + Duration::hours(2), "{tried_for}");
    assert!(attempts > 40, "{attempts}");
}

/// Addresses of different mailboxes may fold alike; a link goes to the one that the account has.
#[tokio::test]
async fn a_link_is_sent_to_the_address_of_the_account_and_to_no_other_that_folds_alike() {
    let post = Post::new().await;
    post.register("email|a", "å@example.com").await.unwrap();
    for spelling in ["Å@example.com", "\u{212b}@example.com"] {
        post.ask(LinkPurpose::Reset, spelling, MailLanguage::En).await;
        assert_eq!(post.round().await, 1);
    }
    let recipients: Vec<String> = post.server.mails().into_iter().map(|mail| mail.to).collect();
    assert_eq!(recipients, ["å@example.com"; 2]);
}

/// The server took the mail, and the answer was another one.
#[tokio::test]
async fn a_repeated_attempt_sends_the_same_link_and_none_that_was_used() {
    let post = Post::new().await;
    post.register("email|a", "a@example.com").await.unwrap();
    post.server.answer(".", Some("451 later"));
    post.ask(LinkPurpose::Reset, "a@example.com", MailLanguage::En).await;
    for _ in 0..2 {
        assert_eq!((post.round().await, post.waiting().await), (1, 1));
        post.clock.advance(Duration::minutes(4));
    }
    let mails = post.server.mails();
    let [first, second] = mails.as_slice() else { panic!("{} mails", mails.len()) };
    assert_eq!(first.token(), second.token());
    let token = LinkToken::presented(first.token().to_owned().into());
    assert!(post.reset(&token).await.is_ok());
    // Its mail is not tried again: it would make a used link valid once more.
    post.server.answer(".", None);
    post.clock.advance(Duration::hours(1));
    assert_eq!((post.round().await, post.waiting().await, post.server.mails().len()), (0, 0, 2));
    assert_eq!(post.reset(&token).await, Err(IdentityRefusal::LinkInvalid));
}

#[tokio::test]
async fn what_the_server_refuses_for_good_is_given_up_at_once_and_leaves_no_link() {
    let post = Post::new().await;
    post.register("email|a", "a@example.com").await.unwrap();
    post.register("email|u", "\u{fc}@example.com").await.unwrap();
    let cases = [
        ("RCPT", "550 no such mailbox", "a@example.com", 0),
        ("RCPT", "552 mailbox full", "a@example.com", 0),
        ("RCPT", "554 refused", "a@example.com", 0),
        ("MAIL", "553 not this sender", "a@example.com", 0),
        ("DATA", "554 no", "a@example.com", 0),
        (".", "554 this is spam", "a@example.com", 0),
        // The server does not transport such addresses.
        ("EHLO", "250 test server", "\u{fc}@example.com", 0),
        // The fault of somebody who may mend it.
        ("MAIL", "530 log in first", "a@example.com", 1),
        ("EHLO", "554 no service", "a@example.com", 1),
        ("RCPT", "450 busy", "a@example.com", 1),
    ];
    for (command, answer, address, left) in cases {
        post.server.answer(command, Some(answer));
        post.ask(LinkPurpose::Reset, address, MailLanguage::En).await;
        assert_eq!((post.round().await, post.waiting().await), (1, left), "{command} {answer}");
        let links = post.db.ask("SELECT count(*) FROM identity.mail_links").await;
        assert_eq!(links, left, "{command} {answer}: links that are never sent take no place");
        post.server.answer(command, None);
        post.db.run("DELETE FROM identity.mails").await;
        post.db.run("DELETE FROM identity.mail_links").await;
    }
}

#[tokio::test]
async fn an_error_of_the_database_about_one_mail_leaves_the_others_as_they_are() {
    let post = Post::new().await;
    for name in ["a", "bad", "c"] {
        let email = format!("{name}@example.com");
        post.register(&format!("email|{name}"), &email).await.unwrap();
        post.ask(LinkPurpose::Reset, &email, MailLanguage::En).await;
    }
    let refuse =
        "ALTER TABLE identity.mail_links ADD CONSTRAINT refused CHECK (email_folded <> 'bad@example.com')";
    post.db.run(refuse).await;
    post.mailer.round(post.db.pool()).await.unwrap_err();
    assert_eq!((post.server.mails().len(), post.waiting().await), (2, 1), "two were sent and are gone");
    post.db.run("ALTER TABLE identity.mail_links DROP CONSTRAINT refused").await;
    post.clock.advance(Duration::minutes(2));
    assert_eq!((post.round().await, post.server.mails().len(), post.waiting().await), (1, 3, 0));
    for mail in post.server.mails() {
        let token = LinkToken::presented(mail.token().to_owned().into());
        assert!(post.reset(&token).await.is_ok(), "{}", mail.to);
    }
}

#[tokio::test]
async fn a_server_without_tls_gets_nothing_where_tls_is_needed() {
    let post = Post::with_query("?tls=required").await;
    post.register("email|a", "a@example.com").await.unwrap();
    post.ask(LinkPurpose::Reset, "a@example.com", MailLanguage::En).await;
    assert_eq!((post.round().await, post.waiting().await, post.server.recipients()), (1, 1, 0));
}

#[tokio::test]
async fn two_processes_send_each_mail_once() {
    let post = Post::new().await;
    for number in 0..12 {
        let email = format!("a{number}@example.com");
        post.register(&format!("email|{number}"), &email).await.unwrap();
        post.ask(LinkPurpose::Confirm, &email, MailLanguage::En).await;
    }
    let other = post.db.second_pool();
    let drain = async |pool: &pg::Pool| while post.mailer.round(pool).await.unwrap() > 0 {};
    futures_util::join!(drain(post.db.pool()), drain(&other));
    let mut recipients: Vec<String> = post.server.mails().into_iter().map(|mail| mail.to).collect();
    recipients.sort_unstable();
    recipients.dedup();
    assert_eq!((recipients.len(), post.server.mails().len(), post.waiting().await), (12, 12, 0));
}

#[tokio::test]
async fn the_database_holds_neither_address_nor_token() {
    let post = Post::new().await;
    post.register("email|a", "a@example.com").await.unwrap();
    post.server.refuse(Some("451 later"));
    post.ask(LinkPurpose::Reset, "canary@example.com", MailLanguage::En).await;
    let found =
        "SELECT count(*) FROM identity.mails WHERE position('canary' IN encode(sealed, 'escape')) > 0";
    assert_eq!((post.waiting().await, post.db.ask(found).await), (1, 0));
    post.round().await;
    post.server.refuse(None);
    post.ask(LinkPurpose::Reset, "a@example.com", MailLanguage::En).await;
    post.round().await;
    let token = post.server.wait_for_mail(1).await.token().to_owned();
    let random = token.strip_prefix("reset_").unwrap();
    let sql = format!("SELECT count(*) FROM identity.mail_links WHERE mail_links::text LIKE '%{random}%'");
    assert_eq!(
        (post.db.ask("SELECT count(*) FROM identity.mail_links").await, post.db.ask(&sql).await),
        (1, 0)
    );
}
