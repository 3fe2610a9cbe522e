//! The catalogue of error codes: one table of code, status, public text in both languages, and meaning.
//!
//! Codes are a product surface: they are never renamed and never reused (HTTP contract 1.6). `docs/errors.md` and the
//! OpenAPI document are generated from this table.

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
    /// What it means and what to do, for the documentation.
    pub meaning: &'static str,
    /// Members of `error_details` beside `operation`, `timestamp` and `user_id`.
    pub details: &'static [&'static str],
}

impl Entry {
    /// The status of the answer.
    #[must_use]
    pub fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The entry of a code. An unknown code is a fault of ours and reads as `InternalServerException`.
#[must_use]
pub fn find(code: &str) -> &'static Entry {
    CATALOGUE.into_iter().find(|entry| entry.code == code).unwrap_or_else(|| {
        tracing::error!(code, "an error code is not in the catalogue");
        &INTERNAL
    })
}

macro_rules! entries {
    ($($name:ident = $status:literal $code:literal, $en:literal, $zh:literal, $meaning:literal, [$($detail:literal),*];)+) => {
        $(
            #[doc = $meaning]
            pub static $name: Entry = Entry {
                code: $code, status: $status, en: $en, zh: $zh, meaning: $meaning, details: &[$($detail),*],
            };
        )+

        /// Every code this version can answer, by status.
        pub static CATALOGUE: [&Entry; [$($code),+].len()] = [$(&$name),+];
    };
}

entries! {
    INSUFFICIENT_CREDITS = 400 "InsufficientCreditsException",
        "Insufficient credits. Available: {available}, Required: {required}", "积分不足。可用: {available}, 需要: {required}",
        "The amount is more than the user can spend now: the balance less what is held. Nothing was deducted.",
        ["available", "required", "balance", "held"];
    BUDGET_EXCEEDED = 400 "BudgetExceededException",
        "The budget of {limit} credits ({period}) would be exceeded", "将超出 {limit} 积分的预算 ({period})",
        "A budget of the user has less left than the amount: the limit less what was spent and what is held. Nothing was \
         deducted. `resets_at` is when its next window begins; a lifetime has none.",
        ["period", "limit", "spent", "held", "resets_at"];
    BALANCE_LIMIT_EXCEEDED = 400 "BalanceLimitExceededException",
        "The balance would exceed {limit} credits", "余额将超过 {limit} 积分",
        "A balance, with what is scheduled to be added, is at most 1,000,000,000 credits.", ["limit"];
    USER_ID_MISMATCH = 400 "UserIdMismatchException",
        "user_id in body must match URL parameter", "请求体中的 user_id 必须与 URL 参数一致",
        "`user_id` in the body differs from the user in the path.", [];
    DUPLICATE_ENTRY = 400 "DuplicateEntryException",
        "The {field} is already in use", "该 {field} 已被使用",
        "The e-mail address is confirmed (by the token, a service or an administrator), and it belongs to another user. Upper and lower case are the same.", ["field"];
    REFUND_EXCEEDS_CHARGE = 400 "RefundExceedsChargeException",
        "Only {refundable} credits can be refunded", "最多可退还 {refundable} 积分",
        "The refund is more than what is left of the charge after earlier refunds.", ["refundable", "charged", "refunded"];
    AUTHENTICATION = 401 "AuthenticationException",
        "Could not validate credentials", "认证失败",
        "The credential is missing, malformed, or not valid: signature, issuer, audience or a claim.", [];
    TOKEN_EXPIRED = 401 "TokenExpiredException",
        "Could not validate credentials", "认证失败",
        "The token has expired. Fetch a new one and repeat the request.", [];
    INSUFFICIENT_SCOPE = 403 "InsufficientScopeException",
        "The key lacks the scope {required_scope}", "密钥缺少权限范围 {required_scope}",
        "The API key may only read; the route changes something.", ["required_scope"];
    PERMISSION_DENIED = 403 "PermissionDeniedException",
        "Permission denied", "没有权限",
        "The caller is known but may not do this: another user's data, or a route for services or administrators.", [];
    ACCOUNT_DISABLED = 403 "AccountDisabledException",
        "The account is disabled", "账户已被停用",
        "The user of the token has been deactivated. Services and administrators still act for them, on every route.", [];
    NOT_FOUND = 404 "NotFoundException",
        "Not found", "未找到",
        "No such path.", [];
    USER_NOT_FOUND = 404 "UserNotFoundException",
        "User not found: {user_id}", "用户不存在: {user_id}",
        "The user was never ensured. Call `POST /api/v1/users/ensure` first.", ["user_id"];
    SESSION_NOT_FOUND = 404 "SessionNotFoundException",
        "Session not found: {session_id}", "会话不存在: {session_id}",
        "No such session, or it was deleted.", ["session_id"];
    HOLD_NOT_FOUND = 404 "HoldNotFoundException",
        "Hold not found: {hold_id}", "预留不存在: {hold_id}",
        "The user has no such hold.", ["hold_id"];
    TRANSACTION_NOT_FOUND = 404 "TransactionNotFoundException",
        "Transaction not found: {transaction_id}", "交易不存在: {transaction_id}",
        "The user has no such charge.", ["transaction_id"];
    USAGE_RECORD_NOT_FOUND = 404 "UsageRecordNotFoundException",
        "Usage record not found: {id}", "使用记录不存在: {id}",
        "The user has no such usage record, or its month was dropped.", ["id"];
    METHOD_NOT_ALLOWED = 405 "MethodNotAllowedException",
        "Method not allowed", "不支持该请求方法",
        "The path exists, but not with this method; `Allow` lists those that do.", [];
    REQUEST_TIMEOUT = 408 "RequestTimeoutException",
        "The request was not received in time", "请求未在规定时间内接收完毕",
        "The body of the request did not arrive within `REQUEST_TIMEOUT_SECONDS`. Nothing was done, and the connection is closed.", [];
    REFERENCE_CONFLICT = 409 "ReferenceConflictException",
        "reference_id was used before for another amount or kind of credit", "reference_id 已用于其他金额或类型",
        "This `reference_id` of the user belongs to a recharge or grant of another amount or kind; recharges and grants share them. With the `reference_scope` global it may also have credited another user.", ["transaction_id"];
    HOLD_NOT_OPEN = 409 "HoldNotOpenException",
        "The hold is {hold_status}", "该预留已为 {hold_status} 状态",
        "The hold was captured, released, or has expired.", ["hold_status", "resolved_at"];
    USAGE_CONFLICT = 409 "UsageConflictException",
        "event_id {event_id} was recorded before with another content", "event_id {event_id} 已记录过不同的内容",
        "The `event_id` stands for another usage record of the user. Nothing was recorded or deducted.", ["event_id"];
    ALREADY_CORRECTED = 409 "AlreadyCorrectedException",
        "Usage record {id} was corrected before", "使用记录 {id} 已被更正",
        "A usage record is corrected once; a correction itself cannot be.", ["id"];
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
    PRICE_NOT_FOUND = 422 "PriceNotFoundException",
        "The charge cannot be priced", "无法确定该次使用的价格",
        "The use is to be charged, `credits_charged` is absent, and no price says what it costs: `model_name` is absent too, or \
         there is no price for the model and provider, or none for a token class; `detail` says which. An unknown price is \
         never a free one; nothing was recorded.",
        ["provider", "model_name", "token_class"];
    IDEMPOTENCY_CONFLICT = 422 "IdempotencyConflictException",
        "The Idempotency-Key was used before with another request", "该 Idempotency-Key 已用于其他请求",
        "A key stands for one request: use a new one for another.", ["first_used_at"];
    RATE_LIMIT_EXCEEDED = 429 "RateLimitExceededException",
        "Rate limit exceeded, retry after {retry_after} s", "请求过于频繁，请在 {retry_after} 秒后重试",
        "The caller sent more than its limit allows, or holds too much of the service at once. `Retry-After` says when to try again.",
        ["limit", "window_seconds", "retry_after"];
    TOO_MANY_HOLDS = 429 "TooManyHoldsException",
        "There are already {limit} open holds", "未结预留数量已达上限 {limit}",
        "A user may have 1,000 open holds.", ["limit"];
    INTERNAL = 500 "InternalServerException",
        "Internal server error", "服务器内部错误",
        "A fault of ours. Quote the `request_id` when you report it.", [];
    PROVIDER_UNAVAILABLE = 503 "ProviderUnavailableException",
        "The {provider} provider is not available", "{provider} 服务暂不可用",
        "An outside service does not answer at this moment; `Retry-After` says when to try again.", ["provider"];
    SERVICE_UNAVAILABLE = 503 "ServiceUnavailableException",
        "Service temporarily unavailable", "服务暂时不可用",
        "The database is down, the queue is full, too many bytes of request bodies are in memory, the rows that the request needs \
         were locked for 2 seconds, or the request waited too long before anything was sent to the database. A write that was refused with this code was not done; `Retry-After` says when to try again.", [];
    OUTCOME_UNKNOWN = 503 "OutcomeUnknownException",
        "The outcome of the request is unknown", "请求结果未知",
        "The connection to the database was lost in the commit, the answer took too long, or the service failed after it \
         began the change: the change may or may not have been made. Repeat a request of the ledger with the same `Idempotency-Key`, or a recharge or grant with the same \
         `reference_id`: it takes effect once at most, and the answer tells. Without either, read the state first.", [];
}

/// The catalogue as the page `docs/errors.md`.
#[must_use]
pub fn markdown() -> String {
    use std::fmt::Write as _;
    let mut page = String::from(
        "# Errors\n\n<!-- Generated by `just docs` from the error catalogue. Do not edit. -->\n\n\
         Every error is JSON with the members `success`, `status`, `message`, `error_code`, `error_details`, `timestamp`, \
         `detail` and `request_id`. There are two exceptions: a 503 of `/health` and `/readyz` has the members of their 200, \
         and what is not HTTP gets an empty 400, 408 or 431. `message` follows `Accept-Language` (English and \
         Chinese), `detail` is English, and a list of faults for every 422. Codes are never renamed.\n\n\
         | Status | error_code | Text | Meaning | error_details |\n|---|---|---|---|---|\n",
    );
    for entry in CATALOGUE {
        let details = entry.details.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let _infallible = writeln!(
            page,
            "| {} | `{}` | {}<br>{} | {} | {details} |",
            entry.status, entry.code, entry.en, entry.zh, entry.meaning
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_well_formed() {
        let codes: HashSet<_> = CATALOGUE.iter().map(|entry| entry.code).collect();
        assert_eq!(codes.len(), CATALOGUE.len());
        for entry in CATALOGUE {
            assert!(entry.code.ends_with("Exception"), "{}", entry.code);
            assert!(entry.code.chars().all(|letter| letter.is_ascii_alphabetic()), "{}", entry.code);
            assert!((400..=599).contains(&entry.status));
        }
    }

    #[test]
    fn every_gap_of_a_text_is_a_documented_detail() {
        for entry in CATALOGUE {
            for text in [entry.en, entry.zh] {
                for gap in text.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
                    assert!(entry.details.contains(&gap), "{}: {gap}", entry.code);
                }
            }
        }
    }

    #[test]
    fn an_unknown_outcome_names_what_makes_a_repeat_safe() {
        for remedy in ["`Idempotency-Key`", "`reference_id`"] {
            assert!(OUTCOME_UNKNOWN.meaning.contains(remedy), "{remedy}");
        }
    }

    #[test]
    fn an_unknown_code_is_a_fault_of_ours() {
        assert_eq!(find("NoSuchException").code, "InternalServerException");
        assert_eq!(find("UserNotFoundException").status, 404);
    }
}
