//! Secrets in a real process with everything configured: they are in no log line, measurement, answer to a mistake, or row.

use std::fmt::Write as _;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use testkit::{MailServer, TOKEN_SECRET, TestMail, WECHAT_SECRET, WECHAT_SESSION_KEY, WechatServer};

use crate::accounts::{OTHER_PASSWORD, PASSWORD};
use crate::{
    prelude::*,
    process::gateway_process::{Gateway, command, database, folder, run},
};

const ADDRESS: &str = "canary.address@example.com";
const CODE: &str = "canary-wechat-code-41";
const WRONG_PASSWORD: &str = "canary wrong password";
const SMTP_PASSWORD: &str = "canary-smtp-password";
const REDIS_PASSWORD: &str = "canary-redis-password";
const DATABASE_PASSWORD: &str = "canary-database-password";
const METRICS_TOKEN: &str = "canary-metrics-token";
const SECRETS_KEY: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJE=";
/// The key of RFC 8037, appendix A, in PKCS#8.
const SIGNING_KEY: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
const SIGNING_KEY_PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

/// A text, or the bytes of a secret, and the spellings in which it could come to light.
struct Secret {
    name: &'static str,
    spellings: Vec<String>,
}

impl Secret {
    fn of_text(name: &'static str, text: &str) -> Self {
        let spellings = vec![text.to_owned(), hex(text.as_bytes()), STANDARD_NO_PAD.encode(text)];
        Self { name, spellings }
    }

    fn of_bytes(name: &'static str, bytes: &[u8]) -> Self {
        let spellings = vec![hex(bytes), STANDARD_NO_PAD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)];
        Self { name, spellings }
    }

    /// A token of this service: all of it, and the bytes that are random.
    fn of_token(name: &'static str, text: &str, encoded: &str, random: std::ops::Range<usize>) -> Self {
        let mut secret = Self::of_text(name, text);
        let bytes = URL_SAFE_NO_PAD.decode(encoded).unwrap();
        secret.spellings.extend(Self::of_bytes(name, &bytes[random]).spellings);
        secret
    }

    fn is_in(&self, text: &str) -> bool {
        self.spellings.iter().any(|spelling| text.contains(spelling))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A process with the servers that it needs, and everything it answered to mistakes.
struct World {
    gateway: Gateway,
    db: TestDb,
    mails: MailServer,
    wechat: WechatServer,
    errors: Vec<String>,
}

impl World {
    async fn start() -> Self {
        let (db, mails, wechat) = (database().await, MailServer::start().await, WechatServer::start().await);
        wechat.knows(CODE, r#""openid":"oOne""#);
        let variables = variables(&mails, &wechat);
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        // The server asks for no password, so any is right.
        let url = db.url().replacen("app@", &format!("app:{DATABASE_PASSWORD}@"), 1);
        assert!(url.contains(DATABASE_PASSWORD));
        let gateway = Gateway::on(&url, &variables).await;
        let folder = folder();
        let mut check = command(folder.path(), &variables);
        let (status, out, error) = run(check.env("DATABASE_URL", &url).arg("check-config"));
        assert!(status.success(), "{error}");
        Self { gateway, db, mails, wechat, errors: vec![out, error] }
    }

    fn post(&self, path: &str, body: Value) -> TestRequest {
        self.gateway.request("POST", &format!("/api/auth/{path}")).json(body)
    }

    /// Keeps the answer.
    async fn refused(&mut self, request: TestRequest, status: u16) {
        let reply = request.expect(status).await;
        self.errors.push(reply.text);
    }

    /// Requests of clients that send a secret wrongly. In a field that is for another value it would be repeated to them.
    async fn make_mistakes(&mut self, secret: &str) {
        let quoted = json!(secret).to_string();
        for body in [
            format!("{{\"email\": \"{ADDRESS}\", \"password\": {quoted}, }}"),
            format!("{{\"email\": 5, \"password\": [{quoted}], \"current_password\": {{{quoted}: 1}}}}"),
            format!("{{\"refresh_token\": {{\"x\": {quoted}}}, \"token\": 5, \"new_password\": {quoted}"),
        ] {
            for path in ["register", "email-login", "refresh", "reset-password", "confirm-email"] {
                let path = format!("/api/auth/{path}");
                self.refused(self.gateway.request("POST", &path).body(body.clone()), 422).await;
            }
        }
        let unknown = json!({"refresh_token": secret, "token": secret, "new_password": OTHER_PASSWORD});
        self.refused(self.post("refresh", unknown.clone()), 401).await;
        self.refused(self.post("reset-password", unknown.clone()), 400).await;
        self.refused(self.post("confirm-email", unknown), 400).await;
        for name in ["Authorization", "X-API-Key"] {
            for value in [secret.to_owned(), format!("Basic {secret}"), format!("Bearer {secret}x")] {
                self.refused(self.gateway.request("GET", "me").header(name, &value), 401).await;
            }
        }
        let of_query = self.gateway.request("GET", "/api/auth/no-such-page").query("token", secret);
        self.refused(of_query, 404).await;
    }
}

fn variables(mails: &MailServer, wechat: &WechatServer) -> Vec<(&'static str, String)> {
    let signing_key = format!("-----BEGIN PRIVATE KEY-----\n{SIGNING_KEY}\n-----END PRIVATE KEY-----");
    vec![
        ("LOG_LEVEL", "trace".to_owned()),
        ("RATE_LIMIT_LOGIN", "1000000".to_owned()),
        ("RATE_LIMIT_ANONYMOUS_BURST", "1000000".to_owned()),
        // Nothing listens there.
        ("REDIS_URL", format!("redis://canary:{REDIS_PASSWORD}@127.0.0.1:1/0")),
        ("METRICS_TOKEN", METRICS_TOKEN.to_owned()),
        ("SUPABASE_JWT_SECRET", TOKEN_SECRET.to_owned()),
        ("SECRETS_KEY", SECRETS_KEY.to_owned()),
        ("TOKEN_SIGNING_KEY", signing_key),
        ("SMTP_URL", mails.url().replacen("smtp://", &format!("smtp://canary:{SMTP_PASSWORD}@"), 1)),
        ("MAIL_FROM", "accounts@service.example.com".to_owned()),
        ("WECHAT_APP_ID", "wx01".to_owned()),
        ("WECHAT_APP_SECRET", WECHAT_SECRET.to_owned()),
        ("WECHAT_API_BASE", wechat.url()),
    ]
}

/// The secrets of the configuration and those that callers chose.
fn fixed_secrets() -> Vec<Secret> {
    let signing_key = STANDARD.decode(SIGNING_KEY).unwrap();
    let mut secrets: Vec<Secret> = [
        ("password", PASSWORD),
        ("new password", OTHER_PASSWORD),
        ("wrong password", WRONG_PASSWORD),
        ("WECHAT_APP_SECRET", WECHAT_SECRET),
        ("session key of WeChat", WECHAT_SESSION_KEY),
        ("login code of WeChat", CODE),
        ("SMTP password", SMTP_PASSWORD),
        ("Redis password", REDIS_PASSWORD),
        ("database password", DATABASE_PASSWORD),
        ("METRICS_TOKEN", METRICS_TOKEN),
        ("SUPABASE_JWT_SECRET", TOKEN_SECRET),
        ("USER_SERVICE_API_KEY", SERVICE_KEY),
        ("SECRETS_KEY", SECRETS_KEY),
        ("TOKEN_SIGNING_KEY", SIGNING_KEY),
    ]
    .map(|(name, text)| Secret::of_text(name, text))
    .into();
    secrets.push(Secret::of_bytes("SECRETS_KEY", &STANDARD.decode(SECRETS_KEY).unwrap()));
    secrets.push(Secret::of_bytes("TOKEN_SIGNING_KEY", &signing_key[16..]));
    secrets.push(Secret::of_text("SMTP login", &format!("\0canary\0{SMTP_PASSWORD}")));
    secrets
}

fn mailed(mail: &TestMail) -> Secret {
    let encoded = mail.token().split_once('_').unwrap().1;
    Secret::of_token("token of a mail", mail.token(), encoded, 0..32)
}

fn refresh_token(tokens: &Value) -> Secret {
    let text = tokens["refresh_token"].text();
    Secret::of_token("refresh token", text, text, 32..64)
}

/// The signature proves the rest, which is no secret.
fn access_token(token: &str) -> Secret {
    let signature = token.rsplit_once('.').unwrap().1;
    Secret::of_token("access token", signature, signature, 0..32)
}

/// Every row of every table, as text; binary values are hexadecimal.
async fn dump(db: &TestDb) -> Vec<(String, String)> {
    let mut conn = db.connect_as_superuser().await;
    let tables = "SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace \
                  WHERE relkind IN ('r', 'm') AND nspname NOT IN ('pg_catalog', 'information_schema') AND nspname !~ '^pg_toast'";
    let mut rows = Vec::new();
    for table in testkit::ask_texts(&mut conn, tables).await.unwrap() {
        let of_table =
            testkit::ask_texts(&mut conn, &format!("SELECT row FROM {table} AS row")).await.unwrap();
        rows.extend(of_table.into_iter().map(|row| (table.clone(), row)));
    }
    rows
}

/// Uses everything that has secrets, rightly and wrongly, and returns the secrets that came up.
async fn use_everything(world: &mut World) -> Vec<Secret> {
    let account = |password: &str| json!({"email": ADDRESS, "password": password});
    world.post("register", account(PASSWORD)).expect(200).await;
    let confirmation = world.mails.wait_for_mail(1).await;
    world.post("confirm-email", json!({"token": confirmation.token()})).expect(200).await;
    world.refused(world.post("confirm-email", json!({"token": confirmation.token()})), 400).await;
    world.post("forgot-password", json!({"email": ADDRESS})).expect(202).await;
    let reset = world.mails.wait_for_mail(2).await;
    // The link leads to this process if there is no page for it.
    let (_, path) = reset.link().split_once(&world.gateway.url).unwrap();
    world.refused(world.gateway.request("GET", path), 200).await;
    let with_link = json!({"token": reset.token(), "new_password": OTHER_PASSWORD});
    world.post("reset-password", with_link.clone()).expect(200).await;
    world.refused(world.post("reset-password", with_link), 400).await;
    world.refused(world.post("email-login", account(WRONG_PASSWORD)), 401).await;
    let first = world.post("email-login", account(OTHER_PASSWORD)).ok().await;
    let change = json!({"current_password": WRONG_PASSWORD, "new_password": PASSWORD});
    let change = world.post("change-password", change).token(first["access_token"].text());
    world.refused(change, 401).await;
    let second = world.post("refresh", json!({"refresh_token": first["refresh_token"]})).ok().await;
    let third = world.post("refresh", json!({"refresh_token": second["refresh_token"]})).ok().await;
    // An older token ends the login, and the audit log has it.
    world.refused(world.post("refresh", json!({"refresh_token": first["refresh_token"]})), 401).await;
    let me = world.gateway.request("GET", "me").token(third["access_token"].text());
    world.refused(me, 401).await;
    world.post("wechat-login", json!({"code": CODE})).expect(200).await;
    world.wechat.answers(CODE, &[""]);
    world.refused(world.post("wechat-login", json!({"code": CODE})), 503).await;
    world.mails.refuse(Some("451 canary.address@example.com has a full mailbox"));
    world.post("forgot-password", json!({"email": ADDRESS})).expect(202).await;
    world.mails.wait_for_recipients(3).await;
    let mut secrets = vec![mailed(&confirmation), mailed(&reset)];
    for tokens in [&first, &second, &third] {
        secrets.extend([refresh_token(tokens), access_token(tokens["access_token"].text())]);
    }
    secrets.extend(use_keys(world).await);
    for secret in [first["refresh_token"].text(), reset.token(), WRONG_PASSWORD] {
        world.make_mistakes(secret).await;
    }
    secrets
}

/// An API key of the table and a token of another issuer, accepted and refused.
async fn use_keys(world: &mut World) -> [Secret; 2] {
    let user = "auth0|canary";
    world.gateway.ensure(user).await;
    let now = kernel::SystemClock.now();
    let token = identity::dev_token(&TOKEN_SECRET.into(), &testkit::user(user), "b@example.com", now);
    let body = json!({"name": "canary key", "scopes": ["service"]});
    let made = world.gateway.post("/api/v1/api-keys", body).key("canary-1").data().await;
    let key = made["key"].text();
    for credential in [&token, key] {
        let consume = world.gateway.request("POST", &format!("{user}/credits/consume"));
        consume.token(credential).key(&credential[..9]).json(json!({"amount": 1})).expect(200).await;
        let admins = world.gateway.request("GET", "/api/v1/audit-events").token(credential);
        world.refused(admins, 403).await;
    }
    let revoke = world.gateway.request("DELETE", &format!("/api/v1/api-keys/{}", made["key_id"].text()));
    revoke.service().expect(200).await;
    world.refused(world.gateway.get("/api/v1/api-keys").token(key), 401).await;
    world.make_mistakes(key).await;
    let encoded = key.strip_prefix("usk_live_").unwrap();
    [Secret::of_token("API key", key, encoded, 16..48), access_token(&token)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_logged_measured_answered_or_stored() {
    let mut world = World::start().await;
    let mut secrets = use_everything(&mut world).await;
    secrets.extend(fixed_secrets());
    let (log, metrics, rows) = (world.gateway.log(), world.gateway.metrics().await, dump(&world.db).await);
    for line in ["WeChat did not answer", "this process counts rate limits alone", "DEBUG"] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(metrics.contains("mails_total"), "{metrics}");
    for secret in &secrets {
        let name = secret.name;
        let line = log.lines().find(|line| secret.is_in(line));
        assert_eq!(line, None, "{name} is in the log");
        assert!(!secret.is_in(&metrics), "{name} is in a measurement");
        let answer = world.errors.iter().find(|answer| secret.is_in(answer));
        assert_eq!(answer, None, "{name} is in an answer");
        let row = rows.iter().find(|(_, row)| secret.is_in(row));
        assert_eq!(row, None, "{name} is in the database");
    }
    // What may be found is found: texts, and binary values.
    let public_key = Secret::of_bytes("public key", &URL_SAFE_NO_PAD.decode(SIGNING_KEY_PUBLIC).unwrap());
    for (table, known) in [
        ("identity.signing_keys", public_key),
        ("identity.audit_events", Secret::of_text("name of a key", "canary key")),
        ("identity.users", Secret::of_text("address", ADDRESS)),
    ] {
        let is_known = |(of, row): &(String, String)| of == table && known.is_in(row);
        assert!(rows.iter().any(is_known), "{} is not in {table}", known.name);
    }
    assert!(!log.contains(ADDRESS) && !metrics.contains(ADDRESS), "the address is in the log");
    let is_audited =
        |(table, row): &(String, String)| table == "identity.audit_events" && row.contains(ADDRESS);
    assert!(!rows.iter().any(is_audited), "the audit log names the address");
}
