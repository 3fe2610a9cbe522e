//! Request bodies: how many bytes of them are held in memory, and where large ones are read.
//!
//! Reading JSON takes time that grows with the body. On a thread that serves HTTP it would delay every other request of that
//! thread, so bodies above [`SMALL_BYTES_MAX`] are read elsewhere, a few at a time.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use actix_web::{
    HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderValue},
};
use futures_util::StreamExt as _;
use kernel::{Clock, Detail, Principal, UserId};
use tokio::sync::Semaphore;

use super::{
    body_readers::BodyReaders,
    catalogue,
    error::ApiError,
    expect::HeadOnly,
    fault::{Fault, Step},
    rate_limit::{BodyBytes, Level, RateLimits, rate_limited},
};

/// Largest body that is read on the thread that serves the request, in bytes.
pub const SMALL_BYTES_MAX: usize = 64 * 1024;

/// Seconds after which a caller may try again when too many bytes are held.
const RETRY_AFTER_SECONDS: u64 = 1;

/// The body that a route reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyRule {
    /// A body is ignored.
    Ignored,
    /// JSON of at most [`JSON_BYTES_MAX`], whatever its content type says; empty counts as absent fields.
    Json,
    /// The same of at most [`BATCH_BYTES_MAX`].
    Batch,
    /// The handler reads it as it comes ([`Call::take_body`](crate::Call::take_body)), and judges its type and length.
    Stream,
}

impl BodyRule {
    /// Most bytes that are read before the handler runs.
    #[must_use]
    pub fn bytes_max(self) -> usize {
        match self {
            Self::Ignored | Self::Stream => 0,
            Self::Json => JSON_BYTES_MAX,
            Self::Batch => BATCH_BYTES_MAX,
        }
    }
}

/// Largest JSON body, in bytes (HTTP contract 1.1).
pub const JSON_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Largest JSON body of a batch, in bytes (HTTP contract 1.1).
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The bodies of all requests.
#[derive(Debug)]
pub struct Bodies {
    held: Arc<Held>,
    /// A permit for each large body that is read at once.
    pub readers: Arc<Semaphore>,
    threads: BodyReaders,
}

/// Bytes of bodies in memory.
#[derive(Debug)]
struct Held {
    total: AtomicU64,
    total_max: u64,
    /// Bytes of callers with a body above [`SMALL_BYTES_MAX`].
    callers: Mutex<HashMap<String, u64>>,
    caller_max: u64,
}

/// The bytes of one body, given back when this is dropped.
#[derive(Debug)]
pub struct Share {
    held: Arc<Held>,
    caller: Option<Principal>,
    bytes: u64,
    /// Number of of them are counted for the caller.
    of_caller: u64,
}

/// A body that was received.
#[derive(Debug)]
pub struct Body {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Keeps them counted.
    pub share: Share,
}

impl Bodies {
    /// Bodies of at most `total_max` bytes at once, read by at most `readers` threads.
    ///
    /// # Errors
    /// What the system raises.
    pub fn new(total_max: u64, readers: usize) -> io::Result<Self> {
        let largest = u64::try_from(BATCH_BYTES_MAX).unwrap_or(u64::MAX);
        let held = Held {
            total: AtomicU64::new(0),
            total_max,
            callers: Mutex::default(),
            caller_max: (total_max / 4).max(largest),
        };
        Ok(Self {
            held: Arc::new(held),
            readers: Arc::new(Semaphore::new(readers.max(1))),
            threads: BodyReaders::new(readers)?,
        })
    }

    /// Runs `work` on a body: small ones here, large ones on another thread. A panic goes on in the caller.
    ///
    /// A caller that is gone meanwhile leaves the work behind. Its thread and its bytes stay counted until it is done.
    ///
    /// # Errors
    /// 503 while the process ends.
    pub async fn work<T: Send + 'static>(
        &self,
        share: &Arc<Share>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        if share.bytes() <= SMALL_BYTES_MAX {
            return Ok(work());
        }
        let slot = Arc::clone(&self.readers).acquire_owned().await;
        let slot = slot.map_err(|_| ApiError::unavailable())?;
        let share = Arc::clone(share);
        let work = move || {
            let done = work();
            (done, slot, share)
        };
        match self.threads.handle().spawn_blocking(work).await {
            Ok((done, _slot, _share)) => Ok(done),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_cancelled) => Err(ApiError::unavailable()),
            },
        }
    }

    /// Bytes that are held now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.total.load(Ordering::Relaxed)
    }

    /// The body of a request whose body is not read.
    #[must_use]
    pub fn none(&self, caller: Option<&Principal>) -> Body {
        Body { bytes: Vec::new(), share: self.share(caller) }
    }

    /// Counts bytes that a handler keeps in memory, until the share is dropped.
    ///
    /// # Errors
    /// 503 when the process holds too many, 429 when the caller does.
    pub fn hold(&self, caller: &Principal, bytes: usize) -> Result<Share, ApiError> {
        let mut share = self.share(Some(caller));
        share.grow(bytes)?;
        Ok(share)
    }

    fn share(&self, caller: Option<&Principal>) -> Share {
        Share { held: Arc::clone(&self.held), caller: caller.cloned(), bytes: 0, of_caller: 0 }
    }
}

impl Share {
    /// Returns the number of bytes were received.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    /// Counts further bytes.
    ///
    /// # Errors
    /// 503 when the process holds too many, 429 when the caller does; the bytes stay counted until the share is dropped.
    fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        let before = self.held.total.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.held.total_max {
            metrics::counter!("http_bodies_refused_total", "reason" => "process").increment(1);
            return Err(ApiError::unavailable());
        }
        if self.bytes() <= SMALL_BYTES_MAX {
            return Ok(());
        }
        let more = self.bytes.saturating_sub(self.of_caller);
        self.of_caller = self.bytes;
        let mut callers = self.held.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let of_caller = callers.entry(self.caller_name()).or_default();
        *of_caller = of_caller.saturating_add(more);
        if *of_caller > self.held.caller_max {
            metrics::counter!("http_bodies_refused_total", "reason" => "caller").increment(1);
            return Err(rate_limited(self.held.caller_max, RETRY_AFTER_SECONDS, RETRY_AFTER_SECONDS));
        }
        Ok(())
    }

    /// The caller as the bytes of large bodies are counted by.
    fn caller_name(&self) -> String {
        match &self.caller {
            Some(Principal::User(id) | Principal::AdminUser(id)) => format!("user {id}"),
            Some(Principal::Key { name, .. }) => format!("key {name}"),
            None => "anonymous".to_owned(),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.total.fetch_sub(self.bytes, Ordering::Relaxed);
        if self.of_caller == 0 {
            return;
        }
        let mut callers = self.held.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let caller = self.caller_name();
        if let Some(of_caller) = callers.get_mut(&caller) {
            *of_caller = of_caller.saturating_sub(self.of_caller);
            if *of_caller == 0 {
                callers.remove(&caller);
            }
        }
    }
}

/// The byte limit of a caller: users have one, services and requests without a credential do not.
pub struct Meter<'a> {
    limits: &'a RateLimits,
    user: Option<&'a UserId>,
    /// Asked at each take: a body may come for as long as a request may last.
    clock: &'a dyn Clock,
    /// The rest after something was taken.
    pub level: Option<Level>,
}

impl<'a> Meter<'a> {
    /// The limit of this caller.
    #[must_use]
    pub fn new(limits: &'a RateLimits, caller: Option<&'a Principal>, clock: &'a dyn Clock) -> Self {
        Self { limits, user: caller.and_then(Principal::user_id), clock, level: None }
    }

    async fn take(&mut self, bytes: usize) -> Result<(), ApiError> {
        if let Some(user) = self.user {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            self.level = self.limits.take_bytes(user, bytes, self.clock).await?;
        }
        Ok(())
    }
}

/// The length of a body as the head of its request declares it.
pub(super) fn declared(request: &HttpRequest) -> Option<usize> {
    let value = request.headers().get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// The bytes of a body that are judged together with its request: its length, where the head says it and the body will be read;
/// of a body in chunks a first byte, so that it is refused if nothing is left.
pub(super) fn head_bytes(request: &HttpRequest, rule: BodyRule) -> BodyBytes {
    if matches!(rule, BodyRule::Ignored | BodyRule::Stream) {
        return BodyBytes::None;
    }
    let bytes = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    match declared(request) {
        // The request that follows takes them.
        Some(size) if request.extensions().contains::<HeadOnly>() => BodyBytes::Checked(bytes(size)),
        Some(size) if judge_head(request, rule.bytes_max()).is_err() => BodyBytes::Checked(bytes(size)),
        Some(size) => BodyBytes::Taken(bytes(size)),
        None if request.chunked().unwrap_or(false) => BodyBytes::Checked(1),
        None => BodyBytes::None,
    }
}

/// Returns true if a body may be sent at all, as far as the head of its request says; its declared length.
///
/// # Errors
/// 413, 415.
pub fn judge_head(request: &HttpRequest, bytes_max: usize) -> Result<Option<usize>, ApiError> {
    let declared = declared(request);
    if declared.is_some_and(|size| size > bytes_max) {
        return Err(too_large(bytes_max));
    }
    judge_encoding(request)?;
    if request.content_type().to_ascii_lowercase().starts_with("multipart/") {
        return Err(ApiError::new(&catalogue::UNSUPPORTED_MEDIA_TYPE));
    }
    Ok(declared)
}

/// Refuses a body that is compressed.
///
/// # Errors
/// 415.
pub(super) fn judge_encoding(request: &HttpRequest) -> Result<(), ApiError> {
    let encoding = request.headers().get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    match encoding.is_some_and(|name| !name.eq_ignore_ascii_case(b"identity")) {
        true => Err(ApiError::new(&catalogue::UNSUPPORTED_MEDIA_TYPE)),
        false => Ok(()),
    }
}

/// Receives a body. What comes is taken from the byte limit, unless its length says it: that was taken with the request
/// ([`head_bytes`]).
///
/// # Errors
/// 413, 415, 422 for a body that broke off, 429, 503 when too many bytes are held.
pub async fn receive(
    bodies: &Bodies,
    request: &HttpRequest,
    payload: &mut Payload,
    bytes_max: usize,
    caller: Option<&Principal>,
    meter: &mut Meter<'_>,
) -> Result<Body, ApiError> {
    let declared = judge_head(request, bytes_max)?;
    let mut share = bodies.share(caller);
    // Memory that is not written to costs nothing, so this may be taken before the bytes are there.
    let mut bytes = Vec::with_capacity(declared.unwrap_or(0));
    while let Some(chunk) = payload.next().await {
        let Ok(chunk) = chunk else {
            return Err(broke_off(bytes.len()));
        };
        if bytes.len().saturating_add(chunk.len()) > bytes_max {
            return Err(too_large(bytes_max));
        }
        if declared.is_none() {
            meter.take(chunk.len()).await?;
        }
        share.grow(chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(Body { bytes, share })
}

/// 422 for a body that ended or was malformed after so many bytes.
#[must_use]
pub fn broke_off(bytes: usize) -> ApiError {
    ApiError::faults(vec![Fault {
        kind: "json_invalid",
        loc: vec!["body".into(), Step::Position(bytes)],
        msg: "The body broke off".to_owned(),
        input: None,
    }])
}

fn too_large(bytes_max: usize) -> ApiError {
    ApiError::new(&catalogue::PAYLOAD_TOO_LARGE)
        .detail("limit", Detail::Integer(i64::try_from(bytes_max).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> Principal {
        Principal::User(id.parse().unwrap())
    }

    #[tokio::test]
    async fn bytes_are_bounded_for_a_caller_and_for_all() {
        let bodies = Bodies::new(64 << 20, 1).unwrap();
        let mut shares: Vec<Share> =
            ["a", "a", "b", "c", "d"].map(|id| bodies.share(Some(&user(id)))).into_iter().collect();
        assert!(shares[0].grow(10 << 20).is_ok());
        assert_eq!(shares[1].grow(7 << 20).unwrap_err().code(), "RateLimitExceededException");
        drop(shares.remove(1));
        for share in &mut shares[1..] {
            assert!(share.grow(16 << 20).is_ok());
        }
        assert!(shares[0].grow(6 << 20).is_ok(), "what was refused is not held");
        let mut small = bodies.share(Some(&user("e")));
        assert_eq!(small.grow(1).unwrap_err().code(), "ServiceUnavailableException");
        drop(shares);
        assert!(small.grow(1).is_ok());
        drop(small);
        assert_eq!(bodies.held(), 0);
        assert!(bodies.held.callers.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn large_bodies_are_read_on_other_threads() {
        let bodies = Bodies::new(1 << 20, 1).unwrap();
        let here = std::thread::current().id();
        let thread = || std::thread::current().id();
        let share = |bytes| {
            let mut share = bodies.share(Some(&user("a")));
            share.grow(bytes).unwrap();
            Arc::new(share)
        };
        assert_eq!(bodies.work(&share(SMALL_BYTES_MAX), thread).await.unwrap(), here);
        assert_ne!(bodies.work(&share(SMALL_BYTES_MAX + 1), thread).await.unwrap(), here);
    }

    /// A request that is given up gives back neither its thread nor its bytes while the thread still has them.
    #[tokio::test]
    async fn work_whose_caller_is_gone_stays_counted_until_it_is_done() {
        let bodies = Bodies::new(1 << 20, 1).unwrap();
        let bytes = SMALL_BYTES_MAX + 1;
        let mut share = bodies.share(Some(&user("a")));
        share.grow(bytes).unwrap();
        let share = Arc::new(share);
        let (begin, begun) = tokio::sync::oneshot::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let work = bodies.work(&share, move || {
            begin.send(()).unwrap();
            ended.recv()
        });
        tokio::select! {
            _ = work => panic!("it waits"),
            started = begun => started.unwrap(),
        }
        drop(share);
        assert_eq!(bodies.held(), bytes as u64);
        assert_eq!(bodies.readers.available_permits(), 0);
        end.send(()).unwrap();
        let slot = bodies.readers.acquire();
        drop(tokio::time::timeout(std::time::Duration::from_secs(60), slot).await.unwrap());
        let began = std::time::Instant::now();
        while bodies.held() > 0 {
            assert!(began.elapsed().as_secs() < 60, "the bytes stay counted");
            tokio::task::yield_now().await;
        }
    }
}
