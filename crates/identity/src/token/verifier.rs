//! Judging tokens: the hot path of every authenticated request.

use std::sync::Arc;

use jsonwebtoken::DecodingKey;
use kernel::Clock;
use secrecy::ExposeSecret;
use tokio::runtime::Handle;

use super::{
    Algorithm, Issuer, IssuerError, JwksTiming, TokenError, VerifiedToken,
    claims::{is_ahead, is_over},
    compact::Compact,
    jwks::{Jwks, Refreshed, Source},
    memory::{Keys, Known, Memory},
};

/// Judges tokens by a fixed table of issuers. Shared by all threads.
///
/// Published keys are fetched by background tasks on the runtime it was started on; they end when it is dropped.
///
/// A valid token is remembered, so that its next use costs a digest and a look-up; time and keys are checked each time.
pub struct Verifier {
    issuers: Vec<KeyedIssuer>,
    clock: Arc<dyn Clock>,
    memory: Memory,
}

/// An issuer with its keys made ready.
struct KeyedIssuer {
    rule: Issuer,
    secrets: Vec<DecodingKey>,
    key_set: Option<Jwks>,
}

impl Verifier {
    /// Checks the table and begins to fetch the published keys on `runtime`. Does not wait for them.
    ///
    /// An empty table is allowed: then no token is valid.
    ///
    /// # Errors
    /// [`IssuerError`] when the table cannot be used.
    pub fn start(
        mut issuers: Vec<Issuer>,
        timing: JwksTiming,
        clock: Arc<dyn Clock>,
        runtime: &Handle,
    ) -> Result<Self, IssuerError> {
        keep_prefixes_apart(&mut issuers);
        for (place, issuer) in issuers.iter().enumerate() {
            check(issuer, issuers.iter().take(place))?;
        }
        let issuers = issuers
            .into_iter()
            .map(|rule| KeyedIssuer::start(rule, timing, &clock, runtime))
            .collect::<Result<_, _>>()?;
        Ok(Self { issuers, clock, memory: Memory::default() })
    }

    /// Judges a token by the keys at hand. Never waits and does no I/O.
    ///
    /// # Errors
    /// [`TokenError`]. [`TokenError::UnknownKey`] and [`TokenError::KeysUnavailable`] may go away when keys are fetched.
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        match self.recall(token) {
            Some(known) => Ok(known),
            None => self.judge(&Compact::parse(token)?),
        }
    }

    /// Judges a token; if its key is not known, waits for the issuer's keys to be fetched and judges once more.
    ///
    /// Unknown keys cause at most one fetch a minute for each issuer, however many tokens name them (HTTP contract 1.3);
    /// within that minute they are refused at once. The wait is bounded by [`JwksTiming::wait_max`]. A known key costs
    /// nothing more than [`Verifier::verify`].
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn verify_or_refresh(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        if let Some(known) = self.recall(token) {
            return Ok(known);
        }
        let token = Compact::parse(token)?;
        let first = self.judge(&token);
        let Err(TokenError::UnknownKey | TokenError::KeysUnavailable) = first else {
            return first;
        };
        match self.issuers.get(self.place(&token)?) {
            Some(KeyedIssuer { rule, key_set: Some(key_set), .. }) => {
                self.judge_anew(&token, first, rule, key_set).await
            }
            _ => first,
        }
    }

    /// Judges a token whose key is not known by fresh keys.
    ///
    /// Keys of this service are known without exception: a read that was under way may have begun before the key was made, so
    /// another one follows, and without a read the token is not refused.
    async fn judge_anew(
        &self,
        token: &Compact<'_>,
        first: Result<VerifiedToken, TokenError>,
        rule: &Issuer,
        key_set: &Jwks,
    ) -> Result<VerifiedToken, TokenError> {
        let is_own = rule.own_keys.is_some();
        let mut judged = first;
        for _ in 0..if is_own { 2 } else { 1 } {
            let refreshed = key_set.refresh(token.header.kid.as_deref()).await;
            if refreshed == Refreshed::NotAsked {
                return judged;
            }
            judged = self.judge(token);
            match (&judged, refreshed) {
                (Err(TokenError::UnknownKey), Refreshed::Failed) if is_own => {
                    return Err(TokenError::KeysUnavailable);
                }
                (Err(TokenError::UnknownKey), _) => {}
                _ => return judged,
            }
        }
        judged
    }

    /// The content of a token that was found valid before and still is.
    fn recall(&self, token: &str) -> Option<VerifiedToken> {
        self.memory.find(token, |known| {
            let now = self.clock.now();
            let keys_are_current =
                known.keys.is_none_or(|keys| self.edition(keys.issuer) == Some(keys.edition));
            keys_are_current && !is_over(known.token.expires_at, now) && !is_ahead(known.starts_at, now)
        })
    }

    fn judge(&self, token: &Compact<'_>) -> Result<VerifiedToken, TokenError> {
        let place = self.place(token)?;
        let issuer = self.issuers.get(place).ok_or(TokenError::UnknownIssuer)?;
        let edition = issuer.verify_signature(token)?;
        let (verified, starts_at) = token.claims.check(&issuer.rule, self.clock.now())?;
        let keys = edition.map(|edition| Keys { issuer: place, edition });
        self.memory.keep(token.text, Known { token: verified.clone(), starts_at, keys });
        Ok(verified)
    }

    /// The edition of the published keys of an issuer that count now.
    fn edition(&self, place: usize) -> Option<u64> {
        let (_, edition) = self.issuers.get(place)?.key_set.as_ref()?.current()?;
        Some(edition)
    }

    /// The place of the issuer in the table.
    fn place(&self, token: &Compact<'_>) -> Result<usize, TokenError> {
        let iss = token.claims.issuer().ok_or(TokenError::UnknownIssuer)?;
        self.issuers.iter().position(|issuer| issuer.rule.iss == iss).ok_or(TokenError::UnknownIssuer)
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.issuers.iter().map(|issuer| &issuer.rule.iss)).finish()
    }
}

impl KeyedIssuer {
    fn start(
        rule: Issuer,
        timing: JwksTiming,
        clock: &Arc<dyn Clock>,
        runtime: &Handle,
    ) -> Result<Self, IssuerError> {
        let timing = if rule.own_keys.is_some() { JwksTiming::own() } else { timing };
        let key_set = Source::of(&rule, timing.fetch_timeout)?
            .map(|source| Jwks::start(&rule, source, timing, Arc::clone(clock), runtime));
        let secrets = rule
            .secrets
            .iter()
            .map(|secret| DecodingKey::from_secret(secret.expose_secret().as_bytes()))
            .collect();
        Ok(Self { rule, secrets, key_set })
    }

    /// Returns the edition of the key set if a published key verified the token. The algorithm decides which kind of key is
    /// looked at, so that no key can ever serve another algorithm.
    fn verify_signature(&self, token: &Compact<'_>) -> Result<Option<u64>, TokenError> {
        let algorithm = Algorithm::from_name(&token.header.alg).ok_or(TokenError::Algorithm)?;
        if algorithm == Algorithm::Hs256 {
            if self.secrets.is_empty() {
                return Err(TokenError::Algorithm);
            }
            let is_signed = |secret| algorithm.verifies(secret, token.message, token.signature);
            return if self.secrets.iter().any(is_signed) { Ok(None) } else { Err(TokenError::Signature) };
        }
        let key_set = self.key_set.as_ref().filter(|_| self.rule.algorithms().contains(&algorithm));
        let key_set = key_set.ok_or(TokenError::Algorithm)?;
        let (keys, edition) = key_set.current().ok_or(TokenError::KeysUnavailable)?;
        keys.verify(token.header.kid.as_deref(), algorithm, token.message, token.signature)?;
        Ok(Some(edition))
    }
}

/// Makes the ids with the prefix of an issuer its own.
fn keep_prefixes_apart(issuers: &mut [Issuer]) {
    let prefixes: Vec<String> =
        issuers.iter().filter_map(|issuer| issuer.ids.prefix().map(str::to_owned)).collect();
    for issuer in issuers {
        let ids = Arc::make_mut(&mut issuer.ids);
        prefixes.iter().for_each(|prefix| ids.reserve(prefix));
    }
}

fn check<'a>(issuer: &Issuer, mut earlier: impl Iterator<Item = &'a Issuer>) -> Result<(), IssuerError> {
    if earlier.any(|other| other.iss == issuer.iss) {
        return Err(IssuerError::Duplicate(issuer.iss.clone()));
    }
    let empty_secret = issuer.secrets.iter().any(|secret| secret.expose_secret().is_empty());
    if empty_secret || (issuer.secrets.is_empty() && issuer.key_set.is_none() && issuer.own_keys.is_none()) {
        return Err(IssuerError::NoKey(issuer.iss.clone()));
    }
    match &issuer.key_set {
        Some(source) if !source.is_trustworthy() => Err(IssuerError::InsecureUrl(source.url.clone())),
        _ => Ok(()),
    }
}
