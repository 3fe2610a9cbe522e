//! Reading the values of variables. Every error ends a sentence that begins with the value: `is not a port`.
//!
//! Errors of secret values never repeat the value or a part of it. Values arrive trimmed, not empty, without NUL.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use identity::{
    mail::{Mailbox, SmtpServer},
    seal::SecretKey,
    signing_keys::SigningKey,
};
use ipnet::IpNet;
use kernel::{Credits, UserId};
use secrecy::SecretString;
use url::Url;
use web::{Language, rate_limit::RedisUrl, settings::CorsOrigins};

use super::sections::{Environment, LogFormat, LogLevel, OidcIssuer, RunAs, SelfMetering, SelfRecharge};
use crate::connections::CONNECTIONS_MIN;

type Parsed<T> = Result<T, String>;

/// Most database connections of a process.
const CONNECTIONS_MAX: usize = 1000;
/// Longest free text, in characters.
const LINE_CHARS_MAX: usize = 255;
/// Longest instructions for a language model, in bytes.
const PROMPT_BYTES_MAX: usize = 32 * 1024;

/// One line of text.
pub(super) fn line(text: &str) -> Parsed<String> {
    if text.chars().any(char::is_control) {
        Err("has control characters".to_owned())
    } else if text.chars().count() > LINE_CHARS_MAX {
        Err(format!("is longer than {LINE_CHARS_MAX} characters"))
    } else {
        Ok(text.to_owned())
    }
}

/// Text without white space.
pub(super) fn word(text: &str) -> Parsed<String> {
    if text.contains(char::is_whitespace) {
        return Err("has white space in it".to_owned());
    }
    line(text)
}

/// Text of several lines; `\n` stands for a line end, too.
pub(super) fn prompt(text: &str) -> Parsed<String> {
    let text = text.replace("\\n", "\n").replace("\r\n", "\n");
    if text.len() > PROMPT_BYTES_MAX {
        Err(format!("is longer than {PROMPT_BYTES_MAX} bytes"))
    } else if text.chars().any(|character| character.is_control() && !matches!(character, '\n' | '\t')) {
        Err("has control characters".to_owned())
    } else {
        Ok(text)
    }
}

/// `true` or `false`; `1`, `0`, `yes`, `no`, `on` and `off` mean the same.
pub(super) fn switch(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

/// `allowed` or `denied`.
pub(super) fn self_recharge(text: &str) -> Parsed<SelfRecharge> {
    choose(text, &[("allowed", SelfRecharge::Allowed), ("denied", SelfRecharge::Denied)])
}

/// `allowed` or `denied`.
pub(super) fn self_metering(text: &str) -> Parsed<SelfMetering> {
    choose(text, &[("allowed", SelfMetering::Allowed), ("denied", SelfMetering::Denied)])
}

/// A whole number between two bounds, both inclusive.
pub(super) fn count(text: &str, min: usize, max: usize) -> Parsed<usize> {
    digits(text)
        .and_then(|digits| digits.parse().ok())
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("is not a whole number from {min} to {max}"))
}

/// Returns a number of tokens or messages between two bounds, both inclusive.
pub(super) fn tokens(text: &str, min: u32, max: u32) -> Parsed<u32> {
    let number =
        digits(text).and_then(|text| text.parse().ok()).filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("is not a whole number from {min} to {max}"))
}

/// Returns the greatest number of database connections.
pub(super) fn connections(text: &str) -> Parsed<usize> {
    count(text, CONNECTIONS_MIN, CONNECTIONS_MAX).map_err(|problem| {
        format!("{problem}: writes, reads, logins, lists and housekeeping need a connection each")
    })
}

/// A whole number of bytes between two bounds, both inclusive.
pub(super) fn bytes(text: &str, min: u64, max: u64) -> Parsed<u64> {
    digits(text)
        .and_then(|digits| digits.parse().ok())
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("is not a number of bytes ({min} to {max})"))
}

/// A number of requests, for a second, a minute or a burst.
pub(super) fn rate(text: &str) -> Parsed<u64> {
    const RATE_MAX: u64 = 1_000_000;
    digits(text)
        .and_then(|digits| digits.parse().ok())
        .filter(|number| (1..=RATE_MAX).contains(number))
        .ok_or_else(|| format!("is not a number of requests (1 to {RATE_MAX})"))
}

/// A comma list of addresses and networks.
pub(super) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    let network = |item: &str| match item.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => item.parse::<IpNet>(),
    };
    text.split(',')
        .map(|item| {
            network(item.trim())
                .map_err(|_| format!("has an item that is neither an address nor a network: {item:?}"))
        })
        .collect()
}

/// A number of months between two bounds, both inclusive.
pub(super) fn months(text: &str, min: u16, max: u16) -> Parsed<u16> {
    digits(text)
        .and_then(|digits| digits.parse().ok())
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("is not a number of months ({min} to {max})"))
}

/// A whole number of times, up to a bound.
pub(super) fn factor(text: &str, max: u32) -> Parsed<u32> {
    digits(text)
        .and_then(|digits| digits.parse().ok())
        .filter(|number| *number <= max)
        .ok_or_else(|| format!("is not a whole number from 0 to {max}"))
}

/// Whole seconds between two bounds, both inclusive.
pub(super) fn seconds(text: &str, min: u64, max: u64) -> Parsed<Duration> {
    digits(text)
        .and_then(|digits| digits.parse().ok())
        .filter(|number| (min..=max).contains(number))
        .map(Duration::from_secs)
        .ok_or_else(|| format!("is not a number of seconds ({min} to {max})"))
}

/// As [`seconds`], for sums with instants.
pub(super) fn signed_seconds(text: &str, min: u64, max: u64) -> Parsed<time::Duration> {
    let span = seconds(text, min, max)?;
    time::Duration::try_from(span).map_err(|_| "is too long".to_owned())
}

/// Whole days between two bounds, both inclusive.
pub(super) fn days(text: &str, min: i64, max: i64) -> Parsed<time::Duration> {
    digits(text)
        .and_then(|digits| digits.parse().ok())
        .filter(|number| (min..=max).contains(number))
        .map(time::Duration::days)
        .ok_or_else(|| format!("is not a number of days ({min} to {max})"))
}

/// Whole hours between two bounds, both inclusive.
pub(super) fn hours(text: &str, min: u64, max: u64) -> Parsed<Duration> {
    digits(text)
        .and_then(|digits| digits.parse().ok())
        .filter(|number| (min..=max).contains(number))
        .map(Duration::from_hours)
        .ok_or_else(|| format!("is not a number of hours ({min} to {max})"))
}

/// A TCP port.
pub(super) fn port(text: &str) -> Parsed<u16> {
    digits(text).and_then(|digits| digits.parse().ok()).ok_or_else(|| "is not a port (0 to 65535)".to_owned())
}

/// An address or name of this machine.
pub(super) fn bind_host(text: &str) -> Parsed<String> {
    if text.parse::<IpAddr>().is_ok() || is_host_name(text) {
        Ok(text.to_owned())
    } else {
        Err("is not an address or a host name such as 127.0.0.1, ::1 or localhost".to_owned())
    }
}

/// The name of a host on the internet, nothing else.
pub(super) fn domain(text: &str) -> Parsed<String> {
    if is_host_name(text) && text.contains('.') {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("is not a domain such as tenant.eu.auth0.com (no https://, no slash)".to_owned())
    }
}

/// An http or https URL that paths are appended to.
pub(super) fn base_url(text: &str) -> Parsed<Url> {
    let url = web_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment, and paths are appended to it".to_owned());
    }
    Ok(url)
}

/// The issuer of tokens: a URL, compared character by character, so it is kept as it stands.
pub(super) fn issuer(text: &str) -> Parsed<String> {
    web_url(text).map(|_| text.to_owned())
}

/// A comma list of `prefix=issuer|audience`.
pub(super) fn oidc_issuers(text: &str) -> Parsed<Vec<OidcIssuer>> {
    let issuers = items(text).map(oidc_issuer).collect::<Parsed<Vec<_>>>()?;
    for (place, issuer) in issuers.iter().enumerate() {
        if issuers.iter().take(place).any(|other| other.prefix == issuer.prefix) {
            return Err(format!("has the prefix {:?} twice", issuer.prefix));
        }
    }
    Ok(issuers)
}

/// The prefix becomes the beginning of user ids, and some beginnings belong to others (HTTP contract 1.3).
fn oidc_issuer(item: &str) -> Parsed<OidcIssuer> {
    let parts = item.split_once('=').and_then(|(prefix, rest)| Some((prefix, rest.rsplit_once('|')?)));
    let Some((prefix, (issuer, audience))) = parts else {
        return Err(format!("has an item that is not prefix=issuer|audience: {item:?}"));
    };
    let is_word = (1..=32).contains(&prefix.len())
        && prefix
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
        && prefix.bytes().any(|byte| byte.is_ascii_alphanumeric());
    if !is_word {
        return Err(format!("has a prefix that is not 1 to 32 of a-z, 0-9, \".\", \"_\", \"-\": {prefix:?}"));
    }
    if prefix == "auth0" || identity::OWN_PREFIXES.contains(&prefix) {
        return Err(format!("has a prefix that belongs to another issuer: {prefix:?}"));
    }
    jwks_url(issuer).map_err(|fault| format!("has an issuer that {fault}: {issuer:?}"))?;
    if audience.is_empty() || audience.chars().any(char::is_whitespace) {
        return Err(format!("has an audience that is empty or has a space: {audience:?}"));
    }
    Ok(OidcIssuer { prefix: prefix.to_owned(), issuer: issuer.to_owned(), audience: audience.to_owned() })
}

/// Where verification keys are fetched from: who can change them on the way can forge tokens.
pub(super) fn jwks_url(text: &str) -> Parsed<Url> {
    let url = web_url(text)?;
    if url.scheme() == "https" || identity::is_loopback(&url) {
        Ok(url)
    } else {
        Err("is plain http, which is allowed towards this machine only: use https".to_owned())
    }
}

/// Where secrets are sent, and answers are believed.
pub(super) fn api_base(text: &str) -> Parsed<Url> {
    base_url(text)?;
    jwks_url(text)
}

/// The server that takes mails. The URL may hold a password, so it is not repeated in errors.
pub(super) fn smtp_server(text: &str) -> Parsed<SmtpServer> {
    SmtpServer::parse(text).map_err(|error| error.to_string())
}

/// An e-mail address, with or without a name.
pub(super) fn mailbox(text: &str) -> Parsed<Mailbox> {
    line(text)?;
    text.parse().map_err(|_| "is not an e-mail address, or a name with one in angle brackets".to_owned())
}

/// The name of a bucket, which becomes a part of URLs.
pub(super) fn bucket(text: &str) -> Parsed<String> {
    let is_name = (3..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte))
        && text.split('.').all(is_host_name);
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("is not the name of a bucket: 3 to 63 of a-z, 0-9, \"-\" and \".\"".to_owned())
    }
}

/// The address of a store: the bucket and the keys of objects become its path.
pub(super) fn storage_endpoint(text: &str) -> Parsed<Url> {
    let url = base_url(text)?;
    if url.path() == "/" { Ok(url) } else { Err("has a path: the bucket belongs into S3_BUCKET".to_owned()) }
}

/// A receiver of events, of at most 2,048 characters (HTTP contract 10).
pub(super) fn webhook_url(text: &str) -> Parsed<Url> {
    match web_url(text)? {
        url if url.as_str().len() <= 2_048 => Ok(url),
        _ => Err("has more than 2048 characters".to_owned()),
    }
}

/// A connection string as psql accepts it. It may hold a password, so it is not repeated in errors.
pub(super) fn database_url(text: &str) -> Parsed<SecretString> {
    pg::DatabaseUrl::parse(text).map(|_| text.into()).map_err(|fault| fault.to_string())
}

/// The URL of a Redis server. It may hold a password, too.
pub(super) fn redis_url(text: &str) -> Parsed<RedisUrl> {
    RedisUrl::parse(text)
}

/// A path in the file system.
pub(super) fn path(text: &str) -> Parsed<PathBuf> {
    Ok(PathBuf::from(text))
}

/// An account: a name, or its number with or without that of a group.
pub(super) fn run_as(text: &str) -> Parsed<RunAs> {
    let wrong = || "is not an account: write a name, uid or uid:gid".to_owned();
    let number =
        |text: &str| -> Parsed<u32> { digits(text).and_then(|text| text.parse().ok()).ok_or_else(wrong) };
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    match text.split_once(':') {
        Some((uid, gid)) => Ok(RunAs::Ids { uid: number(uid)?, gid: Some(number(gid)?) }),
        None if digits(text).is_some() => Ok(RunAs::Ids { uid: number(text)?, gid: None }),
        None if is_name && !text.starts_with('-') => Ok(RunAs::Name(text.to_owned())),
        None => Err(wrong()),
    }
}

/// Any secret text.
pub(super) fn secret(text: &str) -> Parsed<SecretString> {
    Ok(text.into())
}

/// A secret that travels in an HTTP header.
pub(super) fn header_secret(text: &str) -> Parsed<SecretString> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.into())
    } else {
        Err("may hold visible ASCII characters only".to_owned())
    }
}

/// The address of the service, without a slash at the end.
pub(super) fn public_url(text: &str) -> Parsed<String> {
    base_url(text).map(|url| url.as_str().trim_end_matches('/').to_owned())
}

/// A private key that signs tokens.
pub(super) fn signing_key(text: &str) -> Parsed<SigningKey> {
    SigningKey::from_pem(text).map_err(|error| error.to_string())
}

/// A key that seals secrets.
pub(super) fn secret_key(text: &str) -> Parsed<SecretKey> {
    SecretKey::from_base64(text).map_err(|error| error.to_string())
}

/// One key, or two while one is being replaced by the other, separated by a comma.
pub(super) fn api_keys(text: &str) -> Parsed<Vec<SecretString>> {
    let keys: Vec<&str> = text.split(',').map(str::trim).collect();
    match keys.as_slice() {
        keys if keys.iter().any(|key| key.is_empty()) => Err("has an empty key beside a comma".to_owned()),
        [one, other] if one == other => Err("holds the same key twice".to_owned()),
        [_] | [_, _] => keys.into_iter().map(header_secret).collect(),
        _ => Err("holds more than two keys".to_owned()),
    }
}

/// An amount of credits.
pub(super) fn credits(text: &str) -> Parsed<Credits> {
    text.parse().map_err(|error| format!("is not an amount of credits: {error}"))
}

/// An amount of credits that is not zero.
pub(super) fn credits_above_zero(text: &str) -> Parsed<Credits> {
    match credits(text)? {
        Credits::ZERO => Err("is not an amount of credits above 0".to_owned()),
        amount => Ok(amount),
    }
}

/// A comma list of user ids.
pub(super) fn user_ids(text: &str) -> Parsed<Vec<UserId>> {
    items(text)
        .map(|item| item.parse().map_err(|error| format!("is not a list of user ids: {error}")))
        .collect()
}

/// `*`, or a comma list of origins as browsers write them.
pub(super) fn origins(text: &str) -> Parsed<CorsOrigins> {
    if text == "*" {
        return Ok(CorsOrigins::Any);
    }
    items(text).map(origin).collect::<Parsed<_>>().map(CorsOrigins::List)
}

/// `development`, `staging` or `production`.
pub(super) fn environment(text: &str) -> Parsed<Environment> {
    choose(
        text,
        &[
            ("development", Environment::Development),
            ("staging", Environment::Staging),
            ("production", Environment::Production),
        ],
    )
}

/// The name of a level.
pub(super) fn log_level(text: &str) -> Parsed<LogLevel> {
    choose(
        text,
        &[
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ],
    )
}

/// `auto`, `text` or `json`.
pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    choose(text, &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)])
}

/// `en` or `zh`.
pub(super) fn language(text: &str) -> Parsed<Language> {
    choose(text, &[("en", Language::En), ("zh", Language::Zh)])
}

fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Parsed<T> {
    let chosen = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    chosen.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("is not one of {}", names.join(", "))
    })
}

/// Digits only: `parse` alone would take a plus sign.
fn digits(text: &str) -> Option<&str> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn origin(text: &str) -> Parsed<String> {
    let wrong = || "is not a list of origins such as https://app.example.com (no path, no slash at the end)";
    let url = web_url(text).map_err(|_| wrong())?;
    if url.origin().ascii_serialization() == text.to_ascii_lowercase() {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(wrong().to_owned())
    }
}

fn web_url(text: &str) -> Parsed<Url> {
    let wrong = || "is not an http or https URL".to_owned();
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || text.contains(char::is_whitespace) {
        return Err(wrong());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user name or password in it".to_owned());
    }
    Ok(url)
}

fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label) && !is_malformed_address(text)
}

/// Digits and points alone are meant as an address, and this one did not parse as such.
fn is_malformed_address(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}
