//! Requests of tests and their answers.

use std::{borrow::Borrow, future::IntoFuture, panic::Location, pin::Pin};

use kernel::UserId;
use reqwest::{RequestBuilder, header::HeaderMap};
use serde_json::Value;

/// API key that a [`TestApp`](crate::TestApp) accepts.
pub const SERVICE_KEY: &str = "usk_test_4d1f9a7c2be850634d97e1ca8f2b3605";

/// The content type of a [`form`].
pub const FORM: &str = "multipart/form-data; boundary=border-of-the-test";

/// The body of a form with one file. The name is written as it is.
#[must_use]
pub fn form(name: &str, content_type: &str, bytes: &[u8]) -> Vec<u8> {
    let mut form = format!(
        "--border-of-the-test\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n"
    );
    if !content_type.is_empty() {
        form += &format!("Content-Type: {content_type}\r\n");
    }
    [format!("{form}\r\n").as_bytes(), bytes, b"\r\n--border-of-the-test--\r\n"].concat()
}

/// A user that exists, with a token.
#[derive(Debug, Clone)]
pub struct TestUser {
    /// External id.
    pub id: UserId,
    /// A token that is valid at the time of the clock.
    pub token: String,
}

/// A request that is being put together. Awaited, it is sent and its whole answer is read.
#[must_use]
pub struct TestRequest(RequestBuilder);

impl TestRequest {
    /// A request to any server.
    pub fn new(request: RequestBuilder) -> Self {
        Self(request)
    }

    /// Sends this token.
    pub fn token(self, token: &str) -> Self {
        Self(self.0.bearer_auth(token))
    }

    /// Sends the token of this user.
    pub fn by(self, user: &TestUser) -> Self {
        self.token(&user.token)
    }

    /// Sends the API key of services.
    pub fn service(self) -> Self {
        self.header("X-API-Key", SERVICE_KEY)
    }

    /// Sends an idempotency key, if there is one.
    pub fn key<'a>(self, key: impl Into<Option<&'a str>>) -> Self {
        match key.into() {
            Some(key) => self.header("Idempotency-Key", key),
            None => self,
        }
    }

    /// Sends a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    /// Sends a further query parameter.
    ///
    /// # Panics
    /// When the request cannot be built.
    pub fn query(self, name: &str, value: &str) -> Self {
        let (client, request) = self.0.build_split();
        let mut request = request.unwrap_or_else(|error| panic!("no request: {error}"));
        request.url_mut().query_pairs_mut().append_pair(name, value);
        Self(RequestBuilder::from_parts(client, request))
    }

    /// Sends HEAD instead.
    ///
    /// # Panics
    /// When the request cannot be built.
    pub fn head(self) -> Self {
        let (client, request) = self.0.build_split();
        let mut request = request.unwrap_or_else(|error| panic!("no request: {error}"));
        *request.method_mut() = reqwest::Method::HEAD;
        Self(RequestBuilder::from_parts(client, request))
    }

    /// Sends a JSON body, or none for `null`.
    pub fn json(self, body: impl Borrow<Value>) -> Self {
        if body.borrow().is_null() { self } else { Self(self.0.json(body.borrow())) }
    }

    /// Sends a body as it is, without a content type.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self(self.0.body(body.into()))
    }

    /// Sends a form with one file, in the field `file`. A type that is empty is not declared.
    pub fn file(self, name: &str, content_type: &str, bytes: &[u8]) -> Self {
        self.header("Content-Type", FORM).body(form(name, content_type, bytes))
    }

    /// Sends the request and reads the whole answer.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(self) -> TestReply {
        self.try_send().await.unwrap_or_else(|error| panic!("no whole answer: {error}"))
    }

    /// Like [`send`](Self::send), where the answer may fail to come.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub async fn try_send(self) -> Result<TestReply, reqwest::Error> {
        let response = self.0.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(TestReply { status, headers, text: response.text().await? })
    }

    /// Sends it and asserts the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> impl Future<Output = TestReply> {
        let place = Location::caller();
        async move {
            let reply = self.send().await;
            assert_eq!(reply.status, status, "{place}: {}", reply.text);
            reply
        }
    }

    /// The body of an answer with status 200.
    #[track_caller]
    pub fn ok(self) -> impl Future<Output = Value> {
        let reply = self.expect(200);
        async move { reply.await.json() }
    }

    /// The member `data` of an answer with status 200.
    #[track_caller]
    pub fn data(self) -> impl Future<Output = Value> {
        let body = self.ok();
        async move { body.await["data"].take() }
    }

    /// The items of `data` of an answer with status 200.
    #[track_caller]
    pub fn rows(self) -> impl Future<Output = Vec<Value>> {
        let reply = self.expect(200);
        async move { reply.await.rows() }
    }

    /// One member of each item of `data`.
    #[track_caller]
    pub fn column(self, name: &str) -> impl Future<Output = Vec<Value>> {
        let rows = self.rows();
        async move { rows.await.iter().map(|row| row[name].clone()).collect() }
    }

    /// Sends it and asserts status and error code of the refusal.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> impl Future<Output = TestReply> {
        let (place, reply) = (Location::caller(), self.expect(status));
        async move {
            let reply = reply.await;
            assert_eq!(reply.error_code(), code, "{place}: {}", reply.text);
            reply
        }
    }

    /// Sends it and asserts that it is refused with 422 and where its first fault is, as in `body.amount`. Returns the fault.
    #[track_caller]
    pub fn fault(self, at: &str) -> impl Future<Output = Value> {
        let (place, reply) = (Location::caller(), self.expect(422));
        async move {
            let reply = reply.await;
            let fault = reply.json()["detail"][0].take();
            let steps = fault["loc"].as_array().into_iter().flatten();
            let steps: Vec<_> =
                steps.map(|step| step.as_str().map_or(step.to_string(), str::to_owned)).collect();
            assert_eq!(steps.join("."), at, "{place}: {}", reply.text);
            fault
        }
    }
}

impl IntoFuture for TestRequest {
    type Output = TestReply;
    type IntoFuture = Pin<Box<dyn Future<Output = TestReply> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct TestReply {
    /// Status.
    pub status: u16,
    /// Body as text; amounts can be compared to the digit.
    pub text: String,
    headers: HeaderMap,
}

impl TestReply {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text))
    }

    /// The member `data` of the body.
    #[must_use]
    pub fn data(&self) -> Value {
        self.json()["data"].take()
    }

    /// The items of `data`.
    ///
    /// # Panics
    /// When it is no list.
    #[must_use]
    pub fn rows(&self) -> Vec<Value> {
        match self.data() {
            Value::Array(rows) => rows,
            _ => panic!("no list: {}", self.text),
        }
    }

    /// Asserts members of the body: [`Members::has`].
    #[track_caller]
    pub fn has(&self, expected: Value) {
        self.json().has(expected);
    }

    /// A header of the answer; empty if it has none of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns whether it is the stored answer of an idempotency key.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.header("idempotency-replayed") == "true"
    }

    /// Asserts the status and hands the answer on.
    ///
    /// # Panics
    /// When it is another one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The error code of a refused request.
    #[must_use]
    pub fn error_code(&self) -> String {
        self.json()["error_code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Checks of JSON values.
pub trait Members {
    /// Asserts that members are exactly as expected. A name with dots is a path: `data.0.amount`.
    fn has(&self, expected: Value);

    /// The items of a list.
    fn list(&self) -> &[Value];

    /// One member of each item of a list.
    fn column(&self, name: &str) -> Vec<&Value>;

    /// A text.
    fn text(&self) -> &str;
}

impl Members for Value {
    #[track_caller]
    fn has(&self, expected: Value) {
        let Value::Object(expected) = expected else { panic!("no members are expected: {expected}") };
        for (path, expected) in expected {
            let found = self.pointer(&format!("/{}", path.replace('.', "/")));
            assert_eq!(found, Some(&expected), "{path} of {self}");
        }
    }

    #[track_caller]
    fn list(&self) -> &[Value] {
        self.as_array().unwrap_or_else(|| panic!("no list: {self}"))
    }

    #[track_caller]
    fn column(&self, name: &str) -> Vec<&Value> {
        self.list().iter().map(|item| &item[name]).collect()
    }

    #[track_caller]
    fn text(&self) -> &str {
        self.as_str().unwrap_or_else(|| panic!("no text: {self}"))
    }
}
