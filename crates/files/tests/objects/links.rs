//! Signed links, with a client that knows nothing else.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use files::objects::{Objects, S3Addressing, S3Settings, SignedPut};
use reqwest::{Client, Method, RequestBuilder};
use testkit::{S3_BUCKET, S3_SECRET_KEY, S3Server};
use url::Url;

use super::{content, get, open, put, settings};

const KEY: &str = "files/00/a";
const HOUR: Duration = Duration::from_secs(3600);
const DISPOSITION: &str =
    "attachment; filename=\"report 1.pdf\"; filename*=UTF-8''%E6%8A%A5%E5%91%8A%201.pdf";

fn client() -> Client {
    Client::builder().no_proxy().timeout(HOUR).build().unwrap()
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

async fn signed_get(objects: &Objects) -> Url {
    objects.signed_get(KEY, "application/pdf", DISPOSITION, HOUR).await.unwrap().unwrap()
}

/// The URL with one parameter changed.
fn with(url: &Url, name: &str, value: &str) -> Url {
    let mut changed = url.clone();
    let pairs =
        url.query_pairs().map(|(key, old)| if key == name { (key, value.into()) } else { (key, old) });
    changed.query_pairs_mut().clear().extend_pairs(pairs);
    assert_ne!(*url, changed, "{name}");
    changed
}

#[tokio::test]
async fn a_link_has_type_and_disposition_and_nothing_can_be_changed() {
    let server = S3Server::start();
    let objects = open(settings(&server));
    put(&objects, KEY, &content(1_000)).await.unwrap();
    put(&objects, "files/00/b", &content(5)).await.unwrap();
    let (url, client) = (signed_get(&objects).await, client());
    assert!(!url.as_str().contains(S3_SECRET_KEY));

    let answer = client.get(url.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/pdf");
    assert_eq!(answer.headers()["content-disposition"], DISPOSITION);
    assert_eq!(answer.bytes().await.unwrap(), content(1_000));
    let part = client.get(url.clone()).header("range", "bytes=10-19").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.bytes().await.unwrap(), content(20)[10..]);

    for (name, value) in [
        ("response-content-type", "text/html"),
        ("response-content-disposition", "inline"),
        ("X-Amz-Expires", "604800"),
        ("X-Amz-SignedHeaders", ""),
        ("X-Amz-Signature", "0"),
    ] {
        let status = status(client.get(with(&url, name, value))).await;
        assert!(status == 403 || status == 400, "{name}: {status}");
    }
    let mut unforced = url.clone();
    let others = url.query_pairs().filter(|(name, _)| !name.starts_with("response-"));
    unforced.query_pairs_mut().clear().extend_pairs(others);
    assert_eq!(status(client.get(unforced)).await, 403);
    let mut other = url.clone();
    other.set_path(&url.path().replace("00/a", "00/b"));
    assert_eq!(status(client.get(other)).await, 403);
    for method in [Method::PUT, Method::DELETE] {
        assert_eq!(status(client.request(method, url.clone()).body("x")).await, 403);
    }
    let mut bare = url.clone();
    bare.set_query(None);
    assert_eq!(status(client.get(bare)).await, 403);
    assert_eq!(server.keys(), [KEY, "files/00/b"]);
    assert_eq!(get(&objects, KEY).await.unwrap(), content(1_000));
}

#[tokio::test]
async fn a_link_ends_and_so_does_one_to_a_deleted_object() {
    let server = S3Server::start();
    let objects = open(settings(&server));
    put(&objects, KEY, &content(10)).await.unwrap();
    let (url, client) = (signed_get(&objects).await, client());
    server.set_clock_ahead(time::Duration::minutes(59));
    assert_eq!(status(client.get(url.clone())).await, 200);
    server.set_clock_ahead(time::Duration::minutes(61));
    assert_eq!(status(client.get(url.clone())).await, 403);
    server.set_clock_ahead(time::Duration::ZERO);
    objects.delete(KEY).await.unwrap();
    assert_eq!(status(client.get(url)).await, 404);
}

/// An upload by a link, with these headers besides those that the client makes.
fn upload(
    client: &Client,
    url: &Url,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> RequestBuilder {
    headers
        .iter()
        .fold(client.put(url.clone()), |request, (name, value)| request.header(*name, *value))
        .body(body)
}

fn headers(put: &SignedPut) -> Vec<(&str, &str)> {
    put.headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test]
async fn an_upload_is_bound_to_type_size_digest_key_and_time() {
    let server = S3Server::start();
    let (objects, client) = (open(settings(&server)), client());
    let whole = content(1_000);
    let digest = sha256(&whole);
    let signed = objects.signed_put(KEY, "text/csv", 1_000, Some(digest), HOUR).await.unwrap().unwrap();
    assert_eq!(
        signed.headers,
        [("content-type", "text/csv".to_owned()), ("x-amz-checksum-sha256", BASE64_STANDARD.encode(digest))]
    );
    assert!(!format!("{signed:?}").contains("X-Amz-Signature"));
    let (right, url) = (headers(&signed), &signed.url);
    let try_with = |headers: &[(&str, &str)], body: Bytes| status(upload(&client, url, headers, body));

    for body in [content(1_001), content(999), Bytes::new()] {
        assert_eq!(try_with(&right, body).await, 403);
    }
    assert_eq!(try_with(&[("content-type", "text/html"), right[1]], whole.clone()).await, 403);
    assert_eq!(try_with(&right[1..], whole.clone()).await, 403);
    assert_eq!(try_with(&right[..1], whole.clone()).await, 403);
    let wrong = BASE64_STANDARD.encode([7; 32]);
    assert_eq!(try_with(&[right[0], ("x-amz-checksum-sha256", &wrong)], whole.clone()).await, 403);
    // The right headers, and other bytes of the same number.
    assert_eq!(try_with(&right, Bytes::from(vec![7; 1_000])).await, 400);
    let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(whole.clone())]);
    let chunked = status(upload(&client, url, &right, reqwest::Body::wrap_stream(pieces))).await;
    assert!(chunked == 403 || chunked == 411, "{chunked}");
    let mut other = url.clone();
    other.set_path(&url.path().replace("00/a", "00/b"));
    assert_eq!(status(upload(&client, &other, &right, whole.clone())).await, 403);
    assert_eq!(status(client.get(url.clone())).await, 403);
    server.set_clock_ahead(time::Duration::minutes(61));
    assert_eq!(try_with(&right, whole.clone()).await, 403);
    server.set_clock_ahead(time::Duration::ZERO);
    assert_eq!(server.keys(), [""; 0], "a refused upload left something");

    assert_eq!(try_with(&right, whole.clone()).await, 200);
    assert_eq!(get(&objects, KEY).await.unwrap(), whole);
    assert_eq!(objects.size(KEY).await.unwrap(), Some(1_000));
}

#[tokio::test]
async fn an_upload_without_digest_is_bound_to_its_size() {
    let server = S3Server::start();
    let (objects, client) = (open(settings(&server)), client());
    let signed = objects.signed_put(KEY, "text/csv", 10, None, HOUR).await.unwrap().unwrap();
    let right = headers(&signed);
    assert_eq!(right, [("content-type", "text/csv")]);
    assert_eq!(status(upload(&client, &signed.url, &right, content(11))).await, 403);
    assert_eq!(status(upload(&client, &signed.url, &right, Bytes::from_static(b"any 10 by."))).await, 200);
    assert_eq!(server.keys(), [KEY]);
}

/// Clients find the store by another name than this service.
#[tokio::test]
async fn links_name_the_public_address_in_either_style() {
    let server = S3Server::start();
    let port = server.address().port();
    let public: Url = format!("http://s3.example.com:{port}").parse().unwrap();
    for (addressing, host, path) in [
        (S3Addressing::Path, "s3.example.com".to_owned(), format!("/{S3_BUCKET}/{KEY}")),
        (S3Addressing::VirtualHost, format!("{S3_BUCKET}.s3.example.com"), format!("/{KEY}")),
    ] {
        let inside = open(settings(&server));
        put(&inside, KEY, &content(10)).await.unwrap();
        let endpoint = match addressing {
            S3Addressing::Path => settings(&server).endpoint,
            S3Addressing::VirtualHost => Some(public.clone()),
        };
        let outside =
            S3Settings { endpoint, public_endpoint: Some(public.clone()), addressing, ..settings(&server) };
        let objects = open(outside);
        let client = Client::builder().no_proxy().resolve(&host, server.address()).build().unwrap();

        let url = signed_get(&objects).await;
        assert_eq!((url.host_str(), url.path()), (Some(host.as_str()), path.as_str()));
        assert_eq!(client.get(url.clone()).send().await.unwrap().bytes().await.unwrap(), content(10));
        let signed = objects.signed_put(KEY, "text/csv", 5, None, HOUR).await.unwrap().unwrap();
        assert_eq!(status(upload(&client, &signed.url, &headers(&signed), content(5))).await, 200);
        assert_eq!(get(&inside, KEY).await.unwrap(), content(5));

        // The host is part of the signature.
        let mut internal = url;
        internal.set_host(Some("127.0.0.1")).unwrap();
        internal.set_path(&format!("/{S3_BUCKET}/{KEY}"));
        assert_eq!(status(client.get(internal)).await, 403);
    }
}

/// The transfers of this service use the internal address, with the bucket where the style wants it.
#[tokio::test]
async fn transfers_use_the_internal_address() {
    let server = S3Server::start();
    let public_endpoint = Some("http://s3.example.com".parse().unwrap());
    let objects = open(S3Settings { public_endpoint, ..settings(&server) });
    put(&objects, KEY, &content(10)).await.unwrap();
    let call = server.calls().pop().unwrap();
    assert_eq!(call.path, format!("/{S3_BUCKET}/{KEY}"));
    assert_eq!(call.header("host"), Some(server.address().to_string().as_str()));
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}
