//! Error codes: code, status, public text in both languages, and meaning. These are the mechanism's own; a service adds its
//! own ones and lists all in [`crate::Service::CATALOGUE`].
//!
//! Codes are a product surface: they are never renamed and never reused (HTTP contract 1.6).

use actix_web::http::StatusCode;

/// One error code.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Stable code.
    pub code: &'static str,
    /// Status of the answer.
    pub status: u16,
    /// English text; `{name}` is filled from the details.
    pub en: &'static str,
    /// Chinese text; the same gaps.
    pub zh: &'static str,
    /// Meaning and remedy, for the documentation.
    pub meaning: &'static str,
    /// Members of `error_details` beside `operation`, `timestamp` and `user_id`.
    pub details: &'static [&'static str],
}

impl Entry {
    /// The same code with another meaning.
    #[must_use]
    pub const fn meaning(&self, meaning: &'static str) -> Self {
        let Self { code, status, en, zh, details, .. } = *self;
        Self { code, status, en, zh, meaning, details }
    }

    /// The status of the answer.
    #[must_use]
    pub fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The entry of a code. An unknown code is a fault of ours and reads as `InternalServerException`.
#[must_use]
pub fn find(catalogue: &[&'static Entry], code: &str) -> &'static Entry {
    catalogue.iter().find(|entry| entry.code == code).copied().unwrap_or_else(|| {
        tracing::error!(code, "an error code is not in the catalogue");
        &INTERNAL
    })
}

/// The catalogue as a Markdown table.
#[must_use]
pub fn table(catalogue: &[&Entry]) -> String {
    use std::fmt::Write as _;
    let mut table =
        String::from("| Status | error_code | Text | Meaning | error_details |\n|---|---|---|---|---|\n");
    for entry in catalogue {
        let details = entry.details.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let _infallible = writeln!(
            table,
            "| {} | `{}` | {}<br>{} | {} | {details} |",
            entry.status, entry.code, entry.en, entry.zh, entry.meaning
        );
    }
    table
}

/// Declares entries, and `CATALOGUE` with all of them in their order.
///
/// An entry is `NAME = status "code", "English", "Chinese", "meaning", ["detail"];`, or one of this crate: `NAME;`, and
/// `NAME as "meaning";` where a service has more to say about it.
#[macro_export]
macro_rules! catalogue {
    ($(
        $name:ident
        $(= $status:literal $code:literal, $en:literal, $zh:literal, $meaning:literal, [$($detail:literal),*])?
        $(as $told:literal)?;
    )+) => {
        $($crate::catalogue!(@entry $name $(= $status $code, $en, $zh, $meaning, [$($detail),*])? $(as $told)?);)+

        /// Every code this version can answer, by status.
        pub static CATALOGUE: [&$crate::catalogue::Entry; [$(stringify!($name)),+].len()] = [$(&$name),+];
    };
    (@entry $name:ident) => {
        pub use $crate::catalogue::$name;
    };
    (@entry $name:ident as $meaning:literal) => {
        #[doc = $meaning]
        pub static $name: $crate::catalogue::Entry = $crate::catalogue::$name.meaning($meaning);
    };
    (@entry $name:ident = $status:literal $code:literal, $en:literal, $zh:literal, $meaning:literal, [$($detail:literal),*]) => {
        #[doc = $meaning]
        pub static $name: $crate::catalogue::Entry = $crate::catalogue::Entry {
            code: $code, status: $status, en: $en, zh: $zh, meaning: $meaning, details: &[$($detail),*],
        };
    };
}

catalogue! {
    AUTHENTICATION = 401 "AuthenticationException",
        "Could not validate credentials", "认证失败",
        "The credential is missing, malformed, or not valid: signature, issuer, audience or a claim.", [];
    INSUFFICIENT_SCOPE = 403 "InsufficientScopeException",
        "The key lacks the scope {required_scope}", "密钥缺少权限范围 {required_scope}",
        "The API key has no scope that the route needs: `service` to change something, `admin` to administrate.", ["required_scope"];
    PERMISSION_DENIED = 403 "PermissionDeniedException",
        "Permission denied", "没有权限",
        "The caller is known but may not do this: another user's data, or a route for services or administrators.", [];
    NOT_FOUND = 404 "NotFoundException",
        "Not found", "未找到",
        "No such path.", [];
    METHOD_NOT_ALLOWED = 405 "MethodNotAllowedException",
        "Method not allowed", "不支持该请求方法",
        "The path exists, but not with this method; `Allow` lists those that do.", [];
    REQUEST_TIMEOUT = 408 "RequestTimeoutException",
        "The request was not received in time", "请求未在规定时间内接收完毕",
        "The body of the request did not arrive in time. Nothing was done, and the connection is closed.", [];
    IDEMPOTENCY_IN_PROGRESS = 409 "IdempotencyInProgressException",
        "A request with this Idempotency-Key is still in progress", "使用该 Idempotency-Key 的请求仍在处理中",
        "The first request of this key, or another request of the user, was still at work after 2 seconds. This one was not \
         done; send it again after `Retry-After`.", ["key"];
    PAYLOAD_TOO_LARGE = 413 "PayloadTooLargeException",
        "Request body exceeds the maximum of {limit} bytes", "请求体超过最大限制 {limit} 字节",
        "The request body is too large.", ["limit"];
    UNSUPPORTED_MEDIA_TYPE = 415 "UnsupportedMediaTypeException",
        "Unsupported content type or encoding", "不支持的内容类型或编码",
        "The route reads JSON: no multipart body and no content encoding.", [];
    VALIDATION = 422 "ValidationException",
        "Validation failed", "请求参数校验失败",
        "The request does not have the right shape. `detail` lists every fault with its place. A JSON body has at most 32 levels \
         of nesting and 65,536 keys, no key twice in one object, and numbers between -1.8e308 and 1.8e308; the values of a \
         query are percent-encoded UTF-8.", [];
    IDEMPOTENCY_CONFLICT = 422 "IdempotencyConflictException",
        "The Idempotency-Key was used before with another request", "该 Idempotency-Key 已用于其他请求",
        "A key stands for one request: use a new one for another.", ["first_used_at"];
    RATE_LIMIT_EXCEEDED = 429 "RateLimitExceededException",
        "Rate limit exceeded, retry after {retry_after} s", "请求过于频繁，请在 {retry_after} 秒后重试",
        "The caller sent more than its limit allows, or holds too much of the service at once. `Retry-After` is the time to the next attempt.",
        ["limit", "window_seconds", "retry_after"];
    INTERNAL = 500 "InternalServerException",
        "Internal server error", "服务器内部错误",
        "A fault of the service. Include the `request_id` in a report.", [];
    SERVICE_UNAVAILABLE = 503 "ServiceUnavailableException",
        "Service temporarily unavailable", "服务暂时不可用",
        "The service cannot do it at this moment: something it needs is down, or it has too much to do. A write that was refused \
         with this code was not done; `Retry-After` is the time to the next attempt.", [];
    OUTCOME_UNKNOWN = 503 "OutcomeUnknownException",
        "The outcome of the request is unknown", "请求结果未知",
        "The answer took too long, or the service failed after it began the change: the change may or may not have been made. \
         Repeat the request with the same `Idempotency-Key`: it takes effect once at most, and the answer tells. Without \
         one, read the state first.", [];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_a_fault_of_ours() {
        assert_eq!(find(&CATALOGUE, "NoSuchException").code, "InternalServerException");
        assert_eq!(find(&CATALOGUE, "NotFoundException").status, 404);
    }
}
