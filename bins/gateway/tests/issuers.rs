//! Tokens with the claims that a test wants, signed as their issuers sign them.

use std::sync::{
    LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use tokio::net::{TcpListener, TcpStream};

use crate::prelude::*;

const AUTH0_ISSUER: &str = "https://tenant.example.com/";
const AUTH0_AUDIENCE: &str = "https://api.example.com";
const KEY_ID: &str = "rsa-1";

/// A Supabase token of this user with further claims, signed with the shared secret.
pub fn supabase_token(app: &TestApp, user_id: &str, claims: Value) -> String {
    let secret = EncodingKey::from_secret(testkit::TOKEN_SECRET.as_bytes());
    let all = claims_of(app, "supabase", "authenticated", user_id, claims);
    encode(&Header::new(Algorithm::HS256), &all, &secret).unwrap()
}

/// An Auth0 tenant whose key set is served on a loopback port, until the runtime of the test ends.
pub struct Auth0 {
    jwks_url: String,
    fetches: Arc<AtomicUsize>,
}

impl Auth0 {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let jwks_url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let fetches = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&fetches);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(publish(stream));
            }
        });
        Self { jwks_url, fetches }
    }

    /// Number of fetches of the key set.
    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    /// A service that accepts the tokens of this tenant, with further environment variables.
    pub async fn app(&self, variables: &[(&str, &str)]) -> TestApp {
        let mut all = vec![
            ("AUTH0_DOMAIN", "tenant.example.com"),
            ("AUTH0_AUDIENCE", AUTH0_AUDIENCE),
            ("AUTH0_JWKS_URL", self.jwks_url.as_str()),
        ];
        all.extend(variables);
        TestApp::start_with(&all).await
    }

    /// A token of this user with further claims.
    pub fn token(&self, app: &TestApp, user_id: &str, claims: Value) -> String {
        self.token_of_key(app, KEY_ID, user_id, claims)
    }

    /// A token that names another key.
    pub fn token_of_key(&self, app: &TestApp, kid: &str, user_id: &str, claims: Value) -> String {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::RS256) };
        encode(&header, &claims_of(app, AUTH0_ISSUER, AUTH0_AUDIENCE, user_id, claims), &key()).unwrap()
    }
}

fn claims_of(app: &TestApp, iss: &str, aud: &str, user_id: &str, further: Value) -> Value {
    use kernel::Clock as _;
    let now = app.clock().now().unix_timestamp();
    let mut claims = json!({"iss": iss, "aud": aud, "sub": user_id, "iat": now, "exp": now + 3_600});
    claims.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    claims
}

fn key() -> EncodingKey {
    static PEM: LazyLock<String> = LazyLock::new(|| {
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap().serialize_pem()
    });
    EncodingKey::from_rsa_pem(PEM.as_bytes()).unwrap()
}

async fn publish(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let mut public = serde_json::to_value(Jwk::from_encoding_key(&key(), Algorithm::RS256).unwrap()).unwrap();
    public["kid"] = KEY_ID.into();
    let body = json!({"keys": [public]}).to_string();
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    if stream.write_all(answer.as_bytes()).await.is_ok() {
        stream.shutdown().await.unwrap_or_default();
    }
}
