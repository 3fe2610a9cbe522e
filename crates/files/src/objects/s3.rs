//! Objects in a bucket of an S3-compatible store.
//!
//! Transfers use the internal address and are signed in their headers; links use the public address and are signed in their query.
//! `object_store` cannot sign the length of an upload, so `rusty_s3` makes all links.

mod client;
mod limit;
mod writing;

use std::{fmt, ops::Range, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use rusty_s3::{Bucket, Credentials, S3Action as _, UrlStyle};
use secrecy::ExposeSecret as _;
use time::OffsetDateTime;
use tokio::time::timeout;
use url::Url;

pub(super) use self::writing::{PART_BYTES, S3Writing};
use self::{client::Client, limit::limited};
use super::{
    fault::{Described, FaultCause, StorageError, StorageFault},
    keys::{SELF_TEST, key_path},
    object::{Object, SignedPut},
    settings::{S3Addressing, S3Settings, S3Timeouts},
};

/// Repetitions of a request that failed; all together stay within the time of a call.
const RETRIES_MAX: usize = 2;

/// A bucket.
pub(super) struct S3 {
    store: AmazonS3,
    links: Bucket,
    described: Described,
    /// Beginning of all keys, with a slash at its end unless it is empty.
    prefix: String,
    timeouts: S3Timeouts,
}

impl S3 {
    pub(super) fn open(settings: &S3Settings) -> Result<Self, StorageFault> {
        let malformed = |variable, reason: &dyn fmt::Display| {
            StorageFault::new(
                FaultCause::Endpoint,
                variable,
                format!("makes no URL with S3_BUCKET: {reason}"),
            )
        };
        let endpoint = settings.internal_endpoint().map_err(|error| malformed("S3_REGION", &error))?;
        let described = Described {
            bucket: settings.bucket.clone(),
            region: settings.region.clone(),
            endpoint: endpoint.origin().ascii_serialization(),
            has_keys: settings.keys.is_some(),
        };
        let bucket_at = |variable, endpoint: Url| {
            let style = UrlStyle::from(settings.addressing);
            let bucket = Bucket::new(endpoint, style, settings.bucket.clone(), settings.region.clone());
            bucket.map_err(|error| malformed(variable, &format!("{error:?}")))
        };
        let internal = bucket_at("S3_ENDPOINT", endpoint.clone())?;
        let external = settings.external_endpoint().map_err(|error| malformed("S3_REGION", &error))?;
        let links = bucket_at("S3_PUBLIC_ENDPOINT", external)?;

        // The library puts the bucket into the path, but not into the host.
        let (is_virtual, address) = match settings.addressing {
            S3Addressing::Path => (false, endpoint.as_str()),
            S3Addressing::VirtualHost => (true, internal.base_url().as_str()),
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_endpoint(address.trim_end_matches('/'))
            .with_virtual_hosted_style_request(is_virtual)
            .with_client_options(ClientOptions::new().with_allow_http(endpoint.scheme() == "http"))
            .with_http_connector(Client::new(&endpoint, settings.timeouts))
            .with_retry(retries(settings.timeouts))
            // Not every store has the request that deletes many.
            .with_disable_bulk_delete(true);
        if let Some(keys) = &settings.keys {
            builder = builder
                .with_access_key_id(keys.access_key_id.expose_secret())
                .with_secret_access_key(keys.secret_access_key.expose_secret());
        }
        let store = builder.build().map_err(|error| described.diagnose("be used", &error))?;
        let prefix = match settings.prefix.as_str() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Ok(Self { store, links, described, prefix, timeouts: settings.timeouts })
    }

    /// One short request: it finds a wrong key, bucket or clock, and a store that is away.
    pub(super) async fn check(&self) -> Result<(), StorageFault> {
        let mut listed = self.list_as(SELF_TEST)?;
        match listed.next().await {
            Some(Err(StorageError::Fault(fault))) => Err(fault),
            _ => Ok(()),
        }
    }

    pub(super) fn write(&self, key: &str, content_type: &'static str) -> Result<S3Writing, StorageError> {
        let (store, described) = (self.store.clone(), self.described.clone());
        Ok(S3Writing::new(store, self.path(key)?, content_type, described, self.timeouts.call))
    }

    pub(super) async fn read(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        let options = GetOptions::new().with_range(range.map(GetRange::from));
        let path = self.path(key)?;
        let found = self.limited("read objects", key, self.store.get_opts(&path, options)).await?;
        Ok(self.each_in_time("read objects", found.into_stream()))
    }

    pub(super) async fn size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        let path = self.path(key)?;
        match self.limited("read objects", key, self.store.head(&path)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Copies an object.
    pub(super) async fn copy(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let (source, target) = (self.path(from)?, self.path(to)?);
        self.limited("copy objects", from, self.store.copy(&source, &target)).await
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let path = self.path(key)?;
        match self.limited("delete objects", key, self.store.delete(&path)).await {
            Ok(()) | Err(StorageError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn list(&self, prefix: &str) -> BoxStream<'static, Result<Object, StorageError>> {
        self.list_as(prefix).unwrap_or_else(|fault| stream::iter([Err(fault.into())]).boxed())
    }

    fn list_as(
        &self,
        prefix: &str,
    ) -> Result<BoxStream<'static, Result<Object, StorageError>>, StorageFault> {
        let found = self.store.list(Some(&self.path(prefix)?));
        let beginning = self.prefix.len();
        let objects = self.each_in_time("list objects", found).map(move |found| {
            let found = found?;
            let modified = OffsetDateTime::from_unix_timestamp(found.last_modified.timestamp());
            // The store named an instant that is not in the calendar: old enough for everyone.
            let modified = modified.unwrap_or(OffsetDateTime::UNIX_EPOCH);
            let key = found.location.as_ref().get(beginning..).unwrap_or_default().to_owned();
            Ok(Object { key, modified })
        });
        Ok(objects.boxed())
    }

    pub(super) async fn signed_get(
        &self,
        key: &str,
        content_type: &str,
        disposition: &str,
        valid: Duration,
    ) -> Result<Url, StorageError> {
        let path = self.path(key)?;
        let credentials = self.credentials().await?;
        let mut action = self.links.get_object(Some(&credentials), path.as_ref());
        let query = action.query_mut();
        query.insert("response-content-type", content_type);
        query.insert("response-content-disposition", disposition);
        // The store compares with its own clock, so the time is that of the machine.
        Ok(action.sign(valid))
    }

    pub(super) async fn signed_put(
        &self,
        key: &str,
        content_type: &str,
        size: u64,
        sha256: Option<[u8; 32]>,
        valid: Duration,
    ) -> Result<SignedPut, StorageError> {
        let path = self.path(key)?;
        let credentials = self.credentials().await?;
        let mut headers = vec![("content-type", content_type.to_owned())];
        headers.extend(sha256.map(|digest| ("x-amz-checksum-sha256", BASE64_STANDARD.encode(digest))));
        let mut action = self.links.put_object(Some(&credentials), path.as_ref());
        let signed = action.headers_mut();
        signed.insert("content-length", size.to_string());
        for (name, value) in &headers {
            signed.insert(*name, value.as_str());
        }
        Ok(SignedPut { url: action.sign(valid), headers })
    }

    /// The place of an object.
    fn path(&self, key: &str) -> Result<Path, StorageFault> {
        key_path(&format!("{}{key}", self.prefix))
    }

    async fn credentials(&self) -> Result<Credentials, StorageError> {
        let found = self.limited("sign links", "", self.store.credentials().get_credential()).await?;
        let (key, secret) = (found.key_id.clone(), found.secret_key.clone());
        Ok(match &found.token {
            Some(token) => Credentials::new_with_token(key, secret, token.clone()),
            None => Credentials::new(key, secret),
        })
    }

    /// Bounds the time of a call, and turns its error into a fault.
    async fn limited<T>(
        &self,
        doing: &str,
        key: &str,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StorageError> {
        limited(self.timeouts.call, &self.described, doing, key, call).await
    }

    /// Bounds the time until each item of a stream.
    fn each_in_time<T: Send + 'static>(
        &self,
        doing: &'static str,
        items: BoxStream<'static, object_store::Result<T>>,
    ) -> BoxStream<'static, Result<T, StorageError>> {
        let (described, call) = (self.described.clone(), self.timeouts.call);
        let in_time = stream::unfold(Some(items), move |items| {
            let described = described.clone();
            async move {
                let mut items = items?;
                let next = timeout(call, items.next()).await;
                let fault = match next {
                    Ok(Some(Ok(item))) => return Some((Ok(item), Some(items))),
                    Ok(None) => return None,
                    Ok(Some(Err(error))) => described.diagnose(doing, &error),
                    Err(_) => described.slow(doing),
                };
                Some((Err(fault.into()), None))
            }
        });
        in_time.boxed()
    }
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3").field("described", &self.described).finish_non_exhaustive()
    }
}

fn retries(timeouts: S3Timeouts) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 3.0,
        },
        max_retries: RETRIES_MAX,
        retry_timeout: timeouts.call,
    }
}

#[cfg(test)]
mod tests {
    use object_store::{path::Path, signer::Signer as _};
    use reqwest::Method;

    use super::*;

    /// The URL of an object, as the library requests it.
    async fn requested(endpoint: Option<&str>, addressing: S3Addressing) -> String {
        let keys =
            crate::objects::settings::S3Keys { access_key_id: "k".into(), secret_access_key: "s".into() };
        let s3 = S3::open(&S3Settings {
            bucket: "user-files".to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint: endpoint.map(|url| url.parse().unwrap()),
            public_endpoint: Some("https://public.example.com".parse().unwrap()),
            keys: Some(keys),
            addressing,
            prefix: String::new(),
            timeouts: S3Timeouts::default(),
        });
        let path = Path::from("files/00/a");
        let mut url = s3.unwrap().store.signed_url(Method::GET, &path, Duration::from_secs(1)).await.unwrap();
        url.set_query(None);
        url.into()
    }

    #[tokio::test]
    async fn requests_have_the_bucket_in_the_path_or_in_the_host() {
        use S3Addressing::{Path, VirtualHost};
        for (endpoint, addressing, url) in [
            (None, Path, "https://s3.eu-central-1.amazonaws.com/user-files/files/00/a"),
            (None, VirtualHost, "https://user-files.s3.eu-central-1.amazonaws.com/files/00/a"),
            (Some("http://10.0.0.7:9000"), Path, "http://10.0.0.7:9000/user-files/files/00/a"),
            (Some("https://s3.example.com/"), Path, "https://s3.example.com/user-files/files/00/a"),
            (
                Some("https://s3.example.com:8443"),
                VirtualHost,
                "https://user-files.s3.example.com:8443/files/00/a",
            ),
        ] {
            assert_eq!(requested(endpoint, addressing).await, url);
        }
    }
}
