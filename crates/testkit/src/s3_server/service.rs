//! Connections of the store, and the way of a request.

use std::{
    fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
};

use http_body_util::BodyExt as _;
use hyper::{
    Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use kernel::Clock;
use s3s::{
    Body, HttpError, S3Result,
    auth::{S3Auth, SecretKey},
    host::{S3Host, VirtualHost},
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tokio::net::TcpStream;

use super::{
    call::S3Call,
    clock,
    faults::S3Fault,
    shared::{S3_ACCESS_KEY, S3_BUCKET, S3_SECRET_KEY, Shared, lock},
};

#[derive(Debug, Clone)]
pub(super) struct Service {
    s3: S3Service,
    bucket: PathBuf,
    shared: Arc<Shared>,
}

/// The only key, with the code of AWS for others.
#[derive(Debug)]
struct OneKey;

/// `bucket.any-host`, or a host without a bucket.
#[derive(Debug)]
struct AnyHost;

impl S3Host for AnyHost {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        Ok(match host.strip_prefix(S3_BUCKET).and_then(|rest| rest.strip_prefix('.')) {
            Some(domain) => VirtualHost::new(domain).with_bucket(S3_BUCKET),
            None => VirtualHost::new(host),
        })
    }
}

impl S3Auth for OneKey {
    fn get_secret_key<'a, 'b, 'c>(
        &'a self,
        access_key: &'b str,
    ) -> std::pin::Pin<Box<dyn Future<Output = S3Result<SecretKey>> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        let found = if access_key == S3_ACCESS_KEY {
            Ok(SecretKey::from(S3_SECRET_KEY))
        } else {
            Err(s3_error!(InvalidAccessKeyId))
        };
        Box::pin(std::future::ready(found))
    }
}

impl Service {
    pub(super) fn new(folder: &Path, shared: Arc<Shared>) -> Self {
        let files = FileSystem::new(folder).unwrap_or_else(|error| panic!("no store: {error:?}"));
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(OneKey);
        builder.set_host(AnyHost);
        Self { s3: builder.build(), bucket: folder.join(S3_BUCKET), shared }
    }

    /// An error closes the connection.
    async fn answer(self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let call = S3Call::of(&request);
        let rule = lock(&self.shared.rule).clone();
        let fault = rule.and_then(|rule| rule.fault(&call));
        lock(&self.shared.calls).push(call.clone());
        let mut is_lost = false;
        match fault {
            None => {}
            Some(S3Fault::Error(status, code)) => return drained(request, error(status, code)).await,
            Some(S3Fault::Html(status, page)) => {
                return drained(request, page_of(status, "text/html", page.to_owned())).await;
            }
            Some(S3Fault::Redirect(to)) => {
                let mut answer = page_of(301, "text/html", "<html>moved</html>".to_owned());
                answer.headers_mut().insert(header::LOCATION, header::HeaderValue::from_static(to));
                return drained(request, answer).await;
            }
            Some(S3Fault::Pause) => match self.shared.releases.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
            },
            Some(S3Fault::Silence) => std::future::pending().await,
            Some(S3Fault::LoseAnswer) => is_lost = true,
            Some(S3Fault::HangUp) => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        let now = kernel::SystemClock.now() + *lock(&self.shared.ahead);
        if let Some((status, code)) = clock::refusal(&call, now) {
            return drained(request, error(status, code)).await;
        }
        if !is_of_bucket(&call) {
            return drained(request, error(404, "NoSuchBucket")).await;
        }
        let answered = hyper::service::Service::call(&self.s3, request).await;
        let answer = answered.map_err(|error: HttpError| io::Error::other(format!("{error:?}")))?;
        self.tidy(&call, answer.status());
        if is_lost { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(answer) }
    }

    /// `s3s-fs` stores an object before it compares the checksum, and S3 does not.
    fn tidy(&self, call: &S3Call, status: StatusCode) {
        let has_checksum = call.header("x-amz-checksum-sha256").is_some();
        if call.method != "PUT" || !has_checksum || status != StatusCode::BAD_REQUEST {
            return;
        }
        let path = call.path.trim_start_matches('/');
        let key = path.strip_prefix(S3_BUCKET).map_or(path, |key| key.trim_start_matches('/'));
        let file = self.bucket.join(key);
        if file.is_file() {
            fs::remove_file(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }
}

pub(super) async fn serve(listener: TcpListener, service: Service) {
    listener.set_nonblocking(true).unwrap_or_else(|error| panic!("the listener: {error}"));
    let listener = tokio::net::TcpListener::from_std(listener);
    let listener = listener.unwrap_or_else(|error| panic!("the listener: {error}"));
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, service.clone()));
    }
}

async fn connection(stream: TcpStream, service: Service) {
    let answer = service_fn(|request| service.clone().answer(request));
    // A client that leaves early is its own affair.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
}

/// `s3s-fs` would make the bucket. A request without one lists buckets.
fn is_of_bucket(call: &S3Call) -> bool {
    let in_path = call.path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let in_host = call.header("host").and_then(|host| host.split('.').next());
    in_path.is_empty() || in_path == S3_BUCKET || in_host == Some(S3_BUCKET)
}

/// Reads the body first: a client that still writes would see a closed connection instead of the answer.
async fn drained(request: Request<Incoming>, answer: Response<Body>) -> io::Result<Response<Body>> {
    request.into_body().collect().await.map_err(io::Error::other)?;
    Ok(answer)
}

fn error(status: u16, code: &str) -> Response<Body> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{code} of the test</Message></Error>"
    );
    page_of(status, "application/xml", body)
}

fn page_of(status: u16, content_type: &'static str, body: String) -> Response<Body> {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or_else(|error| panic!("{status}: {error}"));
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    answer
}
