//! Faults of the storage, for operators: one line that names the variable to look at.

use std::{error::Error, fmt, io};

use object_store::client::{HttpError, HttpErrorKind};

/// A failure of the storage.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no object under this key.
    #[error("there is no object {key}")]
    NotFound {
        /// The key.
        key: String,
    },
    /// The storage does not work; a client gets 503.
    #[error(transparent)]
    Fault(#[from] StorageFault),
}

/// A storage that does not work. `Display` is one line for operators: the variable to look at, and what is wrong. It has neither
/// secrets nor texts of the store, except an error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {sentence}")]
pub struct StorageFault {
    cause: FaultCause,
    variable: &'static str,
    sentence: String,
}

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultCause {
    /// The store does not know the key, or the secret does not belong to it.
    Credentials,
    /// The key may not do this.
    Permission,
    /// There is no such bucket.
    Bucket,
    /// The bucket is in another region.
    Region,
    /// Two clocks differ too much for signatures.
    Clock,
    /// There is no S3 at the address.
    Endpoint,
    /// No answer in time.
    Timeout,
    /// The store answers that it cannot serve at present.
    Unavailable,
    /// No space is left.
    Full,
    /// The folder cannot be used.
    Folder,
}

impl StorageFault {
    pub(super) fn new(cause: FaultCause, variable: &'static str, sentence: String) -> Self {
        Self { cause, variable, sentence }
    }

    pub(super) fn endpoint(sentence: String) -> Self {
        Self::new(FaultCause::Endpoint, "S3_ENDPOINT", sentence)
    }

    /// The kind of the fault.
    #[must_use]
    pub fn cause(&self) -> FaultCause {
        self.cause
    }

    /// A failure of the folder of the objects.
    pub(super) fn of_folder(doing: &str, error: &io::Error) -> Self {
        let (cause, reason) = match error.kind() {
            io::ErrorKind::StorageFull => (FaultCause::Full, "no space is left on the disk".to_owned()),
            io::ErrorKind::QuotaExceeded => {
                (FaultCause::Full, "the disk quota of the account is used up".to_owned())
            }
            _ => (FaultCause::Folder, error.to_string()),
        };
        Self::new(cause, "DATA_DIR", format!("cannot {doing}: {reason}"))
    }
}

/// A store, for sentences about it.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) bucket: String,
    pub(super) region: String,
    /// Scheme, host and port.
    pub(super) endpoint: String,
    pub(super) has_keys: bool,
}

impl Described {
    /// The fault of a store that took longer than a call may.
    pub(super) fn slow(&self, doing: &str) -> StorageFault {
        let sentence = format!("{} took too long to {doing}", self.endpoint);
        StorageFault::new(FaultCause::Timeout, "S3_ENDPOINT", sentence)
    }

    /// The fault that an error of the library shows.
    pub(super) fn diagnose(&self, doing: &str, error: &object_store::Error) -> StorageFault {
        if let Some(answer) = causes(error).find_map(|error| Answer::read(&error.to_string())) {
            return self.of_answer(doing, &answer);
        }
        if let Some(error) = causes(error).find_map(|error| error.downcast_ref::<HttpError>()) {
            let texts =
                causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ").to_ascii_lowercase();
            return self.of_transport(doing, error.kind(), &texts);
        }
        if !self.has_keys && causes(error).any(|error| error.to_string().contains("credential")) {
            return self.nameless();
        }
        StorageFault::endpoint(format!("{} does not answer as S3 does (to {doing})", self.endpoint))
    }

    fn of_answer(&self, doing: &str, answer: &Answer) -> StorageFault {
        let Self { bucket, region, endpoint, .. } = self;
        let (cause, variable, sentence) = match (answer.status, answer.code.as_str()) {
            (_, "InvalidAccessKeyId" | "NotSignedUp" | "InvalidClientTokenId") => {
                (FaultCause::Credentials, "S3_ACCESS_KEY_ID", format!("{endpoint} does not know this key"))
            }
            (_, "SignatureDoesNotMatch") => (
                FaultCause::Credentials,
                "S3_SECRET_ACCESS_KEY",
                format!("{endpoint} refuses the signature: the secret does not belong to S3_ACCESS_KEY_ID"),
            ),
            (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => return self.nameless(),
            (_, "RequestTimeTooSkewed" | "RequestExpired") => (
                FaultCause::Clock,
                "S3_ENDPOINT",
                format!("the clocks of {endpoint} and of this machine differ too much: synchronize them"),
            ),
            (_, "NoSuchBucket" | "InvalidBucketName" | "AllAccessDisabled") => {
                (FaultCause::Bucket, "S3_BUCKET", format!("{endpoint} has no bucket {bucket:?}"))
            }
            (
                _,
                "AuthorizationHeaderMalformed"
                | "AuthorizationQueryParametersError"
                | "PermanentRedirect"
                | "InvalidRegion",
            )
            | (0, _) => (
                FaultCause::Region,
                "S3_REGION",
                format!("bucket {bucket:?} is not in region {region:?} of {endpoint}"),
            ),
            (_, "XMinioStorageFull" | "QuotaExceeded") | (507, _) => {
                (FaultCause::Full, "S3_BUCKET", format!("no space is left in bucket {bucket:?}"))
            }
            (401 | 403, code) if !code.is_empty() || answer.is_empty => (
                FaultCause::Permission,
                "S3_ACCESS_KEY_ID",
                format!("the key may not {doing} in bucket {bucket:?} ({answer})"),
            ),
            (429 | 500..=599, _) => (
                FaultCause::Unavailable,
                "S3_ENDPOINT",
                format!("{endpoint} cannot {doing} at present ({answer})"),
            ),
            (300..=399, _) => (
                FaultCause::Endpoint,
                "S3_ENDPOINT",
                format!("{endpoint} redirects to another address ({answer}): write that, often with https"),
            ),
            (_, "") if answer.wants_tls => (
                FaultCause::Endpoint,
                "S3_ENDPOINT",
                format!("{endpoint} expects TLS: write https instead of http"),
            ),
            (_, "") => (
                FaultCause::Endpoint,
                "S3_ENDPOINT",
                format!("{endpoint} does not answer as S3 does ({answer}, to {doing})"),
            ),
            _ => (
                FaultCause::Endpoint,
                "S3_ENDPOINT",
                format!("{endpoint} refuses to {doing} in bucket {bucket:?} ({answer})"),
            ),
        };
        StorageFault::new(cause, variable, sentence)
    }

    fn of_transport(&self, doing: &str, kind: HttpErrorKind, texts: &str) -> StorageFault {
        let endpoint = &self.endpoint;
        let has = |words: &[&str]| words.iter().any(|word| texts.contains(word));
        if kind == HttpErrorKind::Timeout || has(&["timed out", "timeout"]) {
            return self.slow(doing);
        }
        StorageFault::endpoint(if has(&["connection refused"]) {
            format!("nothing listens at {endpoint}")
        } else if has(&["dns error", "failed to lookup"]) {
            format!("the host of {endpoint} has no address")
        } else if has(&["invalidcontenttype", "corrupt message", "wrong version number"]) {
            format!("{endpoint} does not speak TLS: write http instead of https, if the network is private")
        } else if has(&["certificate", "unknownissuer"]) {
            format!("the certificate of {endpoint} is not trusted by this machine, or is for another name")
        } else if has(&["invalid http version", "invalid header", "invalid uri", "parse"]) {
            format!("{endpoint} does not answer with HTTP: if it expects TLS, write https instead of http")
        } else if kind == HttpErrorKind::Connect {
            format!("{endpoint} cannot be reached")
        } else {
            format!("the connection to {endpoint} ended before it could {doing}")
        })
    }

    /// The fault of credentials that should come from the machine.
    fn nameless(&self) -> StorageFault {
        let sentence =
            format!("is not set, and this machine has no role with valid credentials for {}", self.endpoint);
        StorageFault::new(FaultCause::Credentials, "S3_ACCESS_KEY_ID", sentence)
    }
}

/// An error and its causes.
pub(super) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// A refusal of a store, as the library describes it: its types are private, its texts are covered by tests.
struct Answer {
    /// 0 for a redirect without an address.
    status: u16,
    /// Code of the error in XML; empty if there is none.
    code: String,
    /// True if there is no body, as in answers to HEAD.
    is_empty: bool,
    wants_tls: bool,
}

impl Answer {
    fn read(text: &str) -> Option<Self> {
        const CODE_CHARS_MAX: usize = 64;
        if text.starts_with("Received redirect without LOCATION") {
            return Some(Self { status: 0, code: String::new(), is_empty: true, wants_tls: false });
        }
        let rest = text
            .strip_prefix("Server returned non-2xx status code: ")
            .or_else(|| text.strip_prefix("Server returned error response: "))?;
        let status = rest.split(' ').next().and_then(|status| status.parse().ok()).unwrap_or(500);
        let code = rest.split("<Code>").nth(1).and_then(|rest| rest.split("</Code>").next());
        let code = code.unwrap_or_default().chars().filter(char::is_ascii_alphanumeric);
        let body = rest.split_once(": ").map_or("", |(_, body)| body).trim();
        Some(Self {
            status,
            code: code.take(CODE_CHARS_MAX).collect(),
            is_empty: body.is_empty(),
            wants_tls: status == 400 && body.to_ascii_lowercase().contains("https"),
        })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if self.code.is_empty() { Ok(()) } else { write!(f, " {}", self.code) }
    }
}
