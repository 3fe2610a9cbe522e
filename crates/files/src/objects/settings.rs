//! Where objects are stored.

use std::{path::PathBuf, time::Duration};

use rusty_s3::UrlStyle;
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

/// The place of the objects.
#[derive(Debug, Clone)]
pub enum StorageSettings {
    /// A folder of its own, which is made if it is missing.
    Folder(PathBuf),
    /// A bucket of an S3-compatible store.
    S3(Box<S3Settings>),
}

/// A bucket of an S3-compatible store (HTTP contract 14, `S3_*`).
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// Name of the bucket, which exists.
    pub bucket: String,
    /// Region of the bucket; part of every signature.
    pub region: String,
    /// Address for this service, without a path; none for AWS.
    pub endpoint: Option<Url>,
    /// Address for clients, in signed links; none if it is the same.
    pub public_endpoint: Option<Url>,
    /// Keys; none for the role of a machine of AWS, from its metadata service.
    pub keys: Option<S3Keys>,
    /// Place of the bucket's name in URLs.
    pub addressing: S3Addressing,
    /// Beginning of all keys, without a slash at its end; empty for none.
    pub prefix: String,
    /// Bounds of every call.
    pub timeouts: S3Timeouts,
}

impl StorageSettings {
    /// The part of the storage that belongs to one database. Nothing outside it is ever read, listed or deleted, so that databases, and
    /// other services, may share a bucket.
    #[must_use]
    pub fn of_store(mut self, store_id: Uuid) -> Self {
        match &mut self {
            Self::Folder(path) => path.push(store_id.to_string()),
            Self::S3(settings) => settings.prefix = store_id.to_string(),
        }
        self
    }
}

/// An access key and its secret.
#[derive(Debug, Clone)]
pub struct S3Keys {
    /// Name of the key.
    pub access_key_id: SecretString,
    /// Signs requests and links.
    pub secret_access_key: SecretString,
}

/// Place of the bucket's name in URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Addressing {
    /// `https://host/bucket/key`: any host, also an address.
    Path,
    /// `https://bucket.host/key`: needs a name that resolves.
    VirtualHost,
}

/// Bounds of the time of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3Timeouts {
    /// Longest time until a connection is open.
    pub connect: Duration,
    /// Longest pause of the store, within a call and between two pieces of an object that is read.
    pub silence: Duration,
    /// Longest time of a call with its repetitions. Reading an object is as many calls as it has pieces.
    pub call: Duration,
}

impl Default for S3Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(20),
            call: Duration::from_mins(1),
        }
    }
}

impl S3Settings {
    /// The address for this service.
    pub(super) fn internal_endpoint(&self) -> Result<Url, url::ParseError> {
        match &self.endpoint {
            Some(endpoint) => Ok(endpoint.clone()),
            None => Url::parse(&format!("https://s3.{}.amazonaws.com", self.region)),
        }
    }

    /// The address for clients.
    pub(super) fn external_endpoint(&self) -> Result<Url, url::ParseError> {
        self.public_endpoint.clone().map_or_else(|| self.internal_endpoint(), Ok)
    }
}

impl From<S3Addressing> for UrlStyle {
    fn from(addressing: S3Addressing) -> Self {
        match addressing {
            S3Addressing::Path => Self::Path,
            S3Addressing::VirtualHost => Self::VirtualHost,
        }
    }
}
