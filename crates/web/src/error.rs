//! Errors on their way to the client: a refusal becomes the documented body, in one place.

use std::{error::Error, iter::successors};

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderName, HeaderValue},
};
use kernel::{Detail, Failure, IdempotencyKey, Kind, UserId, rfc3339};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use super::{
    catalogue::{self, Entry},
    fault::{Fault, Step},
    language::{Language, Text},
};

/// Header of an answer that was given before.
pub(super) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An error that is about to be answered.
#[derive(Debug)]
pub struct ApiError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    entry: &'static Entry,
    text: Option<Text>,
    details: Vec<(&'static str, Detail)>,
    faults: Vec<Fault>,
    headers: Vec<(HeaderName, HeaderValue)>,
    at: Option<OffsetDateTime>,
}

/// The request of an error.
#[derive(Debug)]
pub struct ErrorContext<'a> {
    /// `operationId` of the route.
    pub operation: &'a str,
    /// The user the path names.
    pub user_id: Option<&'a UserId>,
    /// Id of the request.
    pub request_id: &'a str,
    /// Language of `message`.
    pub language: Language,
    /// Language of `detail`, if that is a sentence.
    pub detail_language: Language,
    /// The present instant.
    pub now: OffsetDateTime,
}

/// The request of an error that is written into an answer, for later than the call.
#[derive(Debug, Clone)]
pub struct ErrorBody {
    /// As [`ErrorContext::operation`].
    pub operation: &'static str,
    /// As [`ErrorContext::request_id`].
    pub request_id: String,
    /// As [`ErrorContext::language`].
    pub language: Language,
    /// As [`ErrorContext::detail_language`].
    pub detail_language: Language,
}

impl ErrorBody {
    /// The documented body of an error, as JSON in one line.
    #[must_use]
    pub fn of(&self, error: &ApiError, now: OffsetDateTime) -> String {
        let Self { operation, request_id, language, detail_language } = self;
        let context = ErrorContext {
            operation,
            user_id: None,
            request_id,
            language: *language,
            detail_language: *detail_language,
            now,
        };
        error.with_body(&context, |body| serde_json::to_string(body).unwrap_or_default())
    }
}

impl ApiError {
    /// An error with its documented text.
    #[must_use]
    pub fn new(entry: &'static Entry) -> Self {
        Self(Box::new(Inner {
            entry,
            text: None,
            details: Vec::new(),
            faults: Vec::new(),
            headers: Vec::new(),
            at: None,
        }))
    }

    /// The same code with another text.
    #[must_use]
    pub fn text(mut self, text: Text) -> Self {
        self.0.text = Some(text);
        self
    }

    /// A fact for `error_details`, which also fills the gap of that name in the text.
    #[must_use]
    pub fn detail(mut self, name: &'static str, detail: Detail) -> Self {
        self.0.details.push((name, detail));
        self
    }

    /// Another value for a fact that was told already.
    #[must_use]
    pub fn replace(mut self, name: &'static str, detail: Detail) -> Self {
        self.0.details.retain(|(other, _)| *other != name);
        self.detail(name, detail)
    }

    /// The instant of the refusal, so that a repeat of the request is told the same one.
    #[must_use]
    pub fn at(mut self, instant: OffsetDateTime) -> Self {
        self.0.at = Some(instant);
        self
    }

    /// A header of the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// 422 with these faults.
    #[must_use]
    pub fn faults(faults: Vec<Fault>) -> Self {
        Self::new(&catalogue::VALIDATION).with_faults(faults)
    }

    /// The same code with these faults instead of its own.
    #[must_use]
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.0.faults = faults;
        self
    }

    /// 401 without a credential: `Not authenticated`.
    #[must_use]
    pub fn not_authenticated() -> Self {
        Self::unauthorized(&catalogue::AUTHENTICATION).text(Text::new("Not authenticated", "未提供认证信息"))
    }

    /// 401 for a credential that is not valid.
    #[must_use]
    pub fn unauthorized(entry: &'static Entry) -> Self {
        Self::new(entry).header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403 for a key that lacks a scope.
    #[must_use]
    pub fn insufficient_scope(required: &str) -> Self {
        Self::new(&catalogue::INSUFFICIENT_SCOPE).detail("required_scope", Detail::Text(required.to_owned()))
    }

    /// 503: surely not done, try again soon.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(&catalogue::SERVICE_UNAVAILABLE).retry_after()
    }

    /// 503: the change may or may not have been made.
    #[must_use]
    pub fn outcome_unknown() -> Self {
        Self::new(&catalogue::OUTCOME_UNKNOWN).retry_after()
    }

    /// 409: something else is done with the account, and it may be the first request with this key. Surely not done.
    #[must_use]
    pub fn in_progress(key: &IdempotencyKey) -> Self {
        Self::new(&catalogue::IDEMPOTENCY_IN_PROGRESS)
            .detail("key", Detail::Text(key.key().to_owned()))
            .retry_after()
    }

    /// The error, marked as the answer to a repeat under the same key if it is one.
    #[must_use]
    pub fn with_replay_header(self, is_repeat: bool) -> Self {
        if is_repeat { self.header(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true")) } else { self }
    }

    /// The instant it was decided at, where that is part of the answer.
    #[must_use]
    pub fn decided_at(&self) -> Option<OffsetDateTime> {
        self.0.at
    }

    fn retry_after(self) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.entry.code
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.entry.status
    }

    /// The refusal of a domain, with its entry and its facts. Faults of ours are logged here, once, with their causes.
    #[must_use]
    pub fn of_failure(entry: &'static Entry, failure: &dyn Failure) -> Self {
        let error = match failure.kind() {
            Kind::Internal => {
                tracing::error!(error = %chain(failure), "an operation failed");
                return Self::new(&catalogue::INTERNAL);
            }
            Kind::Invalid => Self::new(entry).with_faults(vec![invalid(failure)]),
            Kind::Unauthenticated => Self::unauthorized(entry),
            Kind::Unavailable => Self::new(entry).retry_after(),
            _ => Self::new(entry),
        };
        failure.details().into_iter().fold(error, |error, (name, detail)| error.detail(name, detail))
    }

    /// The answer.
    #[must_use]
    pub fn respond(self, context: &ErrorContext<'_>) -> HttpResponse {
        let mut response = HttpResponse::build(self.0.entry.status_code());
        for (name, value) in &self.0.headers {
            response.insert_header((name, value));
        }
        response.insert_header((header::CONTENT_LANGUAGE, context.language.tag()));
        response.append_header((header::VARY, "Accept-Language"));
        self.with_body(context, |body| response.json(body))
    }

    fn with_body<T>(&self, context: &ErrorContext<'_>, write: impl FnOnce(&Body<'_>) -> T) -> T {
        let text = self.0.text.clone().unwrap_or_else(|| self.filled());
        let timestamp = rfc3339(self.0.at.unwrap_or(context.now));
        let plain = text.in_language(context.detail_language);
        write(&Body {
            success: false,
            status: "error",
            message: text.in_language(context.language),
            error_code: self.0.entry.code,
            error_details: self.details(context, &timestamp),
            timestamp: &timestamp,
            detail: if self.0.entry.status == 422 {
                MemberValue::Faults(&self.0.faults)
            } else {
                MemberValue::Text(plain)
            },
            request_id: context.request_id,
        })
    }

    /// The error of one item in an answer about several: code, sentence, and `detail` as a call of its own
    /// would have it.
    #[must_use]
    pub fn of_item(&self, language: Language) -> (&'static str, String, serde_json::Value) {
        let text = self.0.text.clone().unwrap_or_else(|| self.filled());
        let detail = match self.0.entry.status {
            422 => serde_json::to_value(&self.0.faults).unwrap_or_default(),
            _ => text.en.clone().into(),
        };
        (self.0.entry.code, text.in_language(language).to_owned(), detail)
    }

    fn filled(&self) -> Text {
        if self.0.entry.status == 422 && !self.0.faults.is_empty() {
            let summary = self.0.faults.iter().map(Fault::summary).collect::<Vec<_>>().join("; ");
            return Text::new(
                format!("{}: {summary}", self.0.entry.en),
                format!("{}: {summary}", self.0.entry.zh),
            );
        }
        let fill = |template: &str| {
            self.0.details.iter().fold(template.to_owned(), |text, (name, detail)| {
                text.replace(&format!("{{{name}}}"), &detail_text(detail))
            })
        };
        Text::new(fill(self.0.entry.en), fill(self.0.entry.zh))
    }

    fn details<'a>(&'a self, context: &'a ErrorContext<'_>, timestamp: &'a str) -> Details<'a> {
        let mut details = vec![("operation", MemberValue::Text(context.operation))];
        if let Some(user_id) = context.user_id {
            details.push(("user_id", MemberValue::Text(user_id.as_str())));
        }
        for (name, detail) in &self.0.details {
            details.retain(|(other, _)| other != name);
            details.push((name, MemberValue::Detail(detail)));
        }
        details.push(("timestamp", MemberValue::Text(timestamp)));
        Details(details)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    success: bool,
    status: &'static str,
    message: &'a str,
    error_code: &'static str,
    error_details: Details<'a>,
    timestamp: &'a str,
    detail: MemberValue<'a>,
    request_id: &'a str,
}

/// The value of a member of the body. Amounts are written by their own type, to the digit.
enum MemberValue<'a> {
    Text(&'a str),
    Faults(&'a [Fault]),
    Detail(&'a Detail),
}

impl Serialize for MemberValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Faults(faults) => faults.serialize(serializer),
            Self::Detail(Detail::Text(text)) => serializer.serialize_str(text),
            Self::Detail(Detail::Integer(number)) => serializer.serialize_i64(*number),
            Self::Detail(Detail::Credits(credits)) => credits.serialize(serializer),
            Self::Detail(Detail::Usd(usd)) => usd.serialize(serializer),
            Self::Detail(Detail::Time(instant)) => serializer.serialize_str(&rfc3339(*instant)),
        }
    }
}

/// The members of `error_details`, in order.
struct Details<'a>(Vec<(&'a str, MemberValue<'a>)>);

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, told)| (name, told)))
    }
}

/// A rule that only the stored state can judge, told like a fault of shape.
fn invalid(failure: &dyn Failure) -> Fault {
    if failure.code() == catalogue::IDEMPOTENCY_CONFLICT.code {
        return Fault {
            kind: "idempotency_conflict",
            loc: vec![Step::from("header"), Step::from("idempotency-key")],
            msg: catalogue::IDEMPOTENCY_CONFLICT.en.to_owned(),
            input: None,
        };
    }
    let field = failure.details().into_iter().find_map(|(name, detail)| match detail {
        Detail::Text(field) if name == "field" => Some(field),
        _ => None,
    });
    let mut loc = vec![Step::from("body")];
    loc.extend(field.map(Step::Name));
    Fault { kind: "value_error", loc, msg: format!("Value error, {failure}"), input: None }
}

fn detail_text(detail: &Detail) -> String {
    match detail {
        Detail::Text(text) => text.clone(),
        Detail::Integer(number) => number.to_string(),
        Detail::Credits(credits) => credits.to_string(),
        Detail::Usd(usd) => usd.to_string(),
        Detail::Time(instant) => rfc3339(*instant),
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let one_line = |error: &dyn Error| error.to_string().lines().collect::<Vec<_>>().join("; ");
    let causes = successors(Some(error), |error| (*error).source());
    causes.map(one_line).collect::<Vec<_>>().join(": ")
}
