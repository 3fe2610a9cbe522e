//! The catalogue of error codes: those of this service, and those of crate `web`.
//!
//! Codes are a product surface: they are never renamed and never reused (HTTP contract 1.6). `docs/errors.md` and the
//! OpenAPI document are generated from this table.

use web::catalogue::Entry;

web::catalogue! {
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
        "The e-mail address is confirmed (by the token, a mailed link, a service or an administrator), and it belongs to another user; or it is the login name of another account. Upper and lower case are the same.", ["field"];
    REFUND_EXCEEDS_CHARGE = 400 "RefundExceedsChargeException",
        "Only {refundable} credits can be refunded", "最多可退还 {refundable} 积分",
        "The refund is more than what is left of the charge after earlier refunds.", ["refundable", "charged", "refunded"];
    QUOTA_EXCEEDED = 400 "QuotaExceededException",
        "The storage quota of {limit} {unit} would be exceeded", "将超出 {limit} {unit} 的存储配额",
        "The files of the user, with uploads that are not complete, leave less of the quota than was asked for. `unit` is `bytes` \
         (`FILE_QUOTA_BYTES`) or `files` (`FILE_QUOTA_FILES`).", ["unit", "used", "limit", "requested"];
    LINK_INVALID = 400 "LinkInvalidException",
        "The link is unknown, was used, or has expired", "链接无效、已使用或已过期",
        "The token of a mailed link works once, within 30 minutes, and for its purpose only. Ask for another mail.", [];
    WECHAT_CODE_INVALID = 400 "WechatCodeInvalidException",
        "The WeChat login code is unknown, was used, or has expired", "微信登录凭证无效、已使用或已过期",
        "WeChat does not accept the code: get another one with `wx.login`.", [];
    AUTHENTICATION;
    INVALID_CREDENTIALS = 401 "InvalidCredentialsException",
        "The e-mail address or the password is wrong", "邮箱或密码错误",
        "There is no account with this address, it has no password, or the password is another one: the answer is the same.", [];
    TOKEN_EXPIRED = 401 "TokenExpiredException",
        "Could not validate credentials", "认证失败",
        "The token has expired. Fetch a new one and repeat the request.", [];
    REFRESH_TOKEN_INVALID = 401 "RefreshTokenInvalidException",
        "The refresh token is not valid", "刷新令牌无效",
        "The refresh token is unknown, has expired or was replaced, or its login has ended. Log in again.", [];
    INSUFFICIENT_SCOPE;
    PERMISSION_DENIED;
    ACCOUNT_DISABLED = 403 "AccountDisabledException",
        "The account is disabled", "账户已被停用",
        "The user of the token has been deactivated. Services and administrators still act for them, on every route.", [];
    NOT_FOUND;
    USER_NOT_FOUND = 404 "UserNotFoundException",
        "User not found: {user_id}", "用户不存在: {user_id}",
        "The user was never ensured. Call `POST /api/v1/users/ensure` first.", ["user_id"];
    SESSION_NOT_FOUND = 404 "SessionNotFoundException",
        "Session not found: {session_id}", "会话不存在: {session_id}",
        "No such session, or it was deleted.", ["session_id"];
    MESSAGE_NOT_FOUND = 404 "MessageNotFoundException",
        "Message not found: {message_id}", "消息不存在: {message_id}",
        "The session has no such reply.", ["session_id", "message_id"];
    HOLD_NOT_FOUND = 404 "HoldNotFoundException",
        "Hold not found: {hold_id}", "预留不存在: {hold_id}",
        "The user has no such hold.", ["hold_id"];
    TRANSACTION_NOT_FOUND = 404 "TransactionNotFoundException",
        "Transaction not found: {transaction_id}", "交易不存在: {transaction_id}",
        "The user has no such charge.", ["transaction_id"];
    USAGE_RECORD_NOT_FOUND = 404 "UsageRecordNotFoundException",
        "Usage record not found: {id}", "使用记录不存在: {id}",
        "The user has no such usage record, or its month was dropped.", ["id"];
    API_KEY_NOT_FOUND = 404 "ApiKeyNotFoundException",
        "API key not found: {key_id}", "API 密钥不存在: {key_id}",
        "There is no API key with this id.", ["key_id"];
    FILE_NOT_FOUND = 404 "FileNotFoundException",
        "File not found", "文件不存在",
        "The user has no such file, or it was deleted.", [];
    UPLOAD_NOT_FOUND = 404 "UploadNotFoundException",
        "Upload not found", "上传不存在",
        "The user has no such direct upload, or it is over.", [];
    METHOD_NOT_ALLOWED;
    REQUEST_TIMEOUT as
        "The body of the request did not arrive within `REQUEST_TIMEOUT_SECONDS`. Nothing was done, and the connection is closed.";
    REFERENCE_CONFLICT = 409 "ReferenceConflictException",
        "reference_id was used before for another amount or kind of credit", "reference_id 已用于其他金额或类型",
        "This `reference_id` of the user belongs to a recharge or grant of another amount or kind; recharges and grants share them. With the `reference_scope` global it may also have credited another user.", ["transaction_id"];
    HOLD_NOT_OPEN = 409 "HoldNotOpenException",
        "The hold is {hold_status}", "该预留已为 {hold_status} 状态",
        "The hold was captured, released, or has expired.", ["hold_status", "resolved_at"];
    USAGE_CONFLICT = 409 "UsageConflictException",
        "event_id {event_id} was recorded before with another content", "event_id {event_id} 已记录过不同的内容",
        "The `event_id` stands for another usage record of the user. Nothing was recorded or deducted.", ["event_id"];
    REPLY_IN_PROGRESS = 409 "ReplyInProgressException",
        "A reply is in progress: {message_id}", "回复正在生成: {message_id}",
        "A session has one reply at a time. Nothing was stored or charged.", ["message_id"];
    REPLY_FINISHED = 409 "ReplyFinishedException",
        "The reply has ended: {message_id}", "回复已结束: {message_id}",
        "A reply that has ended cannot be cancelled.", ["message_id"];
    ALREADY_CORRECTED = 409 "AlreadyCorrectedException",
        "Usage record {id} was corrected before", "使用记录 {id} 已被更正",
        "A usage record is corrected once; a correction itself cannot be.", ["id"];
    UPLOAD_INCOMPLETE = 409 "UploadIncompleteException",
        "Nothing, or something else, was uploaded", "未上传内容或内容不符",
        "Nothing lies at the upload URL, or its size or hash is not the declared one. Something else is deleted, and the upload is over.", [];
    IDEMPOTENCY_IN_PROGRESS;
    PAYLOAD_TOO_LARGE;
    FILE_TOO_LARGE = 413 "FileTooLargeException",
        "File size exceeds maximum allowed size of {max_size}", "文件大小超过允许的最大值 {max_size}",
        "A file has at most `FILE_MAX_BYTES` (52,428,800), a direct upload the bytes that were declared. Nothing was kept.", ["limit", "max_size"];
    UNSUPPORTED_MEDIA_TYPE;
    UNSUPPORTED_FILE_TYPE = 415 "UnsupportedFileTypeException",
        "The type of the file is not supported, or name, declared type and content do not agree", "不支持的文件类型，或文件名、声明类型与内容不一致",
        "See the route for the types. Nothing was kept.", ["declared", "detected", "allowed"];
    RANGE_NOT_SATISFIABLE = 416 "RangeNotSatisfiableException",
        "The file has only {size} bytes", "文件只有 {size} 字节",
        "The range that was asked for lies beyond the end of the file.", ["size"];
    VALIDATION;
    PRICE_NOT_FOUND = 422 "PriceNotFoundException",
        "The charge cannot be priced", "无法确定该次使用的价格",
        "The use is to be charged, `credits_charged` is absent, and no price applies: `model_name` is absent too, or \
         there is no price for the model and provider, or none for a token class (`detail` shows which). An unknown price is \
         never a free one; nothing was recorded.",
        ["provider", "model_name", "token_class"];
    IDEMPOTENCY_CONFLICT;
    RATE_LIMIT_EXCEEDED;
    TOO_MANY_HOLDS = 429 "TooManyHoldsException",
        "There are already {limit} open holds", "未结预留数量已达上限 {limit}",
        "A user may have 1,000 open holds.", ["limit"];
    INTERNAL;
    UPSTREAM = 502 "UpstreamException",
        "The language model did not answer as it should", "语言模型未能正常响应",
        "The chat upstream failed, took too long, or answered something else than its protocol. A reply without text costs nothing.", [];
    PROVIDER_NOT_CONFIGURED = 503 "ProviderNotConfiguredException",
        "The {provider} provider is not configured", "未配置 {provider} 服务",
        "This installation lacks the configuration of the feature.", ["provider"];
    PROVIDER_UNAVAILABLE = 503 "ProviderUnavailableException",
        "The {provider} provider is not available", "{provider} 服务暂不可用",
        "An outside service does not answer at this moment; `Retry-After` is the time to the next attempt.", ["provider"];
    SERVICE_UNAVAILABLE as
        "The database is down, the queue is full, too many bytes of request bodies are in memory, the rows that the request needs \
         were locked for 2 seconds, or the request waited too long before anything was sent to the database. A write that was refused with this code was not done; `Retry-After` is the time to the next attempt.";
    OUTCOME_UNKNOWN as
        "The connection to the database was lost in the commit, the answer took too long, or the service failed after it \
         began the change: the change may or may not have been made. Repeat a request of the ledger with the same `Idempotency-Key`, or a recharge or grant with the same \
         `reference_id`: it takes effect once at most, and the answer shows the outcome. Without either, read the state first.";
}

/// The entry of a code. An unknown code is a fault of ours and reads as `InternalServerException`.
#[must_use]
pub fn find(code: &str) -> &'static Entry {
    web::catalogue::find(&CATALOGUE, code)
}

/// The catalogue as the page `docs/errors.md`.
#[must_use]
pub fn markdown() -> String {
    let introduction = "# Errors\n\n<!-- Generated by `just docs` from the error catalogue. Do not edit. -->\n\n\
         Every error is JSON with the members `success`, `status`, `message`, `error_code`, `error_details`, `timestamp`, \
         `detail` and `request_id`. There are two exceptions: a 503 of `/health` and `/readyz` has the members of their 200, \
         and what is not HTTP gets an empty 400, 408 or 431. `message` follows `Accept-Language` (English and \
         Chinese), `detail` is English, and a list of faults for every 422. Codes are never renamed.\n\n";
    [introduction, &web::catalogue::table(&CATALOGUE)].concat()
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
