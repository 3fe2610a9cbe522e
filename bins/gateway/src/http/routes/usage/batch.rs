//! `POST /api/v1/usage/batch`: up to 1,000 usage records, each with its own outcome (HTTP contract 4.4).

use std::cell::Cell;

use flows::{CallerCheck, Replay, Writes};
use futures_util::future::join_all;
use identity::identities;
use kernel::{Credits, IdempotencyKey, Principal, UserId};
use time::OffsetDateTime;
use web::openapi::ErrorDetail;

use super::item::{self, RecordPlace, RecordUsage, recorded};
use crate::{
    config::SelfMetering,
    http::{
        access::{foreign, own_id},
        call::rejected_caller,
        fault::Problem,
        fields::{
            Fields, Source, Value,
            input::{Input, Keyed as _, list_of},
            json,
            parser::{Parse, parser},
        },
        idempotency::{self, Begun},
        isolation::isolate,
        language::Language,
        prelude::*,
        routes::credits::bodies::transaction_id,
    },
};

words! {
    /// Status of a stored record.
    RecordedStatus = ["recorded", "replayed"];
    /// Always `failed`.
    FailedStatus = ["failed"];
}

/// Most records of a batch.
const RECORDS_MAX: usize = 1_000;

/// Number of them in the queue of the writes at once: a batch leaves room for others, and the writes do them in one or
/// two commits.
const AT_ONCE: usize = 250;

input! {
    /// Usage records, recorded in their order.
    pub struct UsageBatch {
        /// 1 to 1,000 records.
        records: Vec<String> =
            custom(|fields| fields.required(Source::Body, "records", records()), true, record_list());
    }
}

/// The schema of the list.
fn record_list() -> (serde_json::Value, Vec<(String, serde_json::Value)>) {
    list_of::<RecordUsage>("BatchRecord", &RecordPlace::Item, &(1..=RECORDS_MAX))
}

/// Outcome of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchOutcome {
    /// Records that were stored now.
    recorded: usize,
    /// Records whose event was stored before.
    replayed: usize,
    /// Records that were not stored.
    failed: usize,
    /// One for each record, in their order.
    results: Vec<ItemOutcome>,
}

/// Outcome of a record of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum ItemOutcome {
    Recorded(RecordedItem),
    Failed(FailedItem),
}

/// A record that is stored.
#[derive(Debug, Serialize, ToSchema)]
struct RecordedItem {
    /// Place in the batch, from 0.
    index: usize,
    /// `recorded` or `replayed`.
    #[schema(value_type = RecordedStatus)]
    status: &'static str,
    /// Id of the record.
    id: i64,
    /// Owner.
    #[schema(value_type = String)]
    user_id: UserId,
    /// Value in credits.
    #[schema(value_type = f64)]
    credits_charged: Credits,
    /// Transaction that took the credits.
    transaction_id: Option<String>,
    /// The balance behind it; with `charge` only.
    #[schema(value_type = Option<f64>)]
    remaining_credits: Option<Credits>,
}

/// A record that was refused; the others are not affected.
#[derive(Debug, Serialize, ToSchema)]
struct FailedItem {
    /// Place in the batch, from 0.
    index: usize,
    /// `failed`.
    #[schema(value_type = FailedStatus)]
    status: &'static str,
    /// User, if it can be read.
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
    /// Code that a call of its own would get.
    error_code: &'static str,
    /// A sentence in the caller's language.
    message: String,
    /// `detail` that a call of its own would get.
    #[schema(value_type = ErrorDetail)]
    detail: serde_json::Value,
}

pub fn doc() -> Doc {
    Doc::new("usage", "Record many uses")
        .idempotent()
        .description(
            "As recording one by one, in order. An item that is refused fails alone; the answer is 200 whenever the list has \
             the right shape. With `SELF_METERING=denied` every item of a user is refused. With an `Idempotency-Key` item i has the key `{key}#{i}`.",
        )
        .body::<UsageBatch>(json!({"records": [
            {"user_id": "auth0|test123", "event_type": "ai_chat", "credits_charged": 1.0, "event_id": "call-1001"},
            {"user_id": "auth0|test456", "event_type": "ai_chat", "credits_charged": 1.0},
        ]}))
        .reply_envelope::<BatchOutcome>(
            "Recorded 1 of 2 usage records",
            json!({"recorded": 1, "replayed": 0, "failed": 1, "results": [
                {"index": 0, "status": "recorded", "id": 1002, "user_id": "auth0|test123", "credits_charged": 1.0,
                 "transaction_id": null, "remaining_credits": null},
                {"index": 1, "status": "failed", "user_id": "auth0|test456",
                 "error_code": "PermissionDeniedException",
                 "message": "Access denied: users may act only for themselves",
                 "detail": "Access denied: users may act only for themselves"},
            ]}),
        )
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let begun = idempotency::begun(&call)?;
    let read = move |fields: &mut Fields| {
        let items = UsageBatch::read(fields, &())?.records.into_iter().enumerate();
        let read: Vec<_> = items.map(|(index, text)| ReadItem::new(index, text, begun.as_ref())).collect();
        Some((read, begun))
    };
    let (items, begun) = call.input_with(read).await?;
    call.known()?;
    if let Some(begun) = begun {
        // A header that cannot be a key is the fault of the request, not of its items.
        begun.check()?;
    }
    let items = with_own_ids(&call, items).await?;
    let mut outcomes = Vec::with_capacity(items.len());
    let mut items = items.into_iter().enumerate();
    while items.len() > 0 {
        let begun =
            items.by_ref().take(AT_ONCE).map(|(place, item)| record(&call, &call.app.bulk, place, item));
        // Polled in their order, so that they are done in their order.
        outcomes.extend(join_all(begun).await);
    }
    answer(&call, outcomes)
}

/// The same items with the users that their ids name, which are others where identities were linked.
async fn with_own_ids(call: &Call, mut items: Vec<ReadItem>) -> Result<Vec<ReadItem>, ApiError> {
    let principal = call.principal()?;
    if !principal.is_staff() {
        for named in items.iter_mut().filter_map(|item| item.named.as_mut()) {
            *named = own_id(principal, &call.caller().facts, named).clone();
        }
        return Ok(items);
    }
    let ids: Vec<UserId> = items.iter().filter_map(|item| item.named.clone()).collect();
    let users = call.look_up(async |conn| identities::users_of(conn, &ids).await).await?;
    for (named, user) in items.iter_mut().filter_map(|item| item.named.as_mut()).zip(users) {
        *named = user;
    }
    Ok(items)
}

/// The items, each as it was written.
fn records() -> impl Parse<Output = Vec<String>> {
    parser(
        || record_list().0,
        |value| {
            let not_a_list = || Problem::new("list_type", "Input should be a valid list");
            let Value::Json(literal) = value else {
                return Err(not_a_list());
            };
            let items = json::items(literal, RECORDS_MAX).ok_or_else(not_a_list)?;
            match items.len() {
                0 => Err(Problem::new("too_short", "List should have at least 1 item")),
                1..=RECORDS_MAX => Ok(items.into_iter().map(str::to_owned).collect()),
                _ => Err(Problem::new("too_long", format!("List should have at most {RECORDS_MAX} items"))),
            }
        },
    )
}

/// An item that was read, wherever large bodies are read.
struct ReadItem {
    /// The user it names, if that could be read.
    named: Option<UserId>,
    item: Result<RecordUsage, ApiError>,
    key: Option<IdempotencyKey>,
}

impl ReadItem {
    fn new(index: usize, text: String, begun: Option<&Begun>) -> Self {
        let mut fields = Fields::parse("", text.into_bytes());
        let item = fields.read(|fields| RecordUsage::read(fields, &RecordPlace::Item));
        let named = match &item {
            Ok(item) => item.user_id.clone(),
            Err(_) => fields.optional(Source::Body, "user_id", parse::user_id()),
        };
        let key = begun.and_then(|begun| {
            let (item, named) = (item.as_ref().ok()?, named.as_ref()?);
            let key = begun.key(
                |bound| item.fingerprint(bound.word("user_id").word(named.as_str())),
                |bound| item::as_version_1(item, bound.word(named.as_str())),
            );
            Some(key.ok()?.of_item(index))
        });
        Self { named, item, key }
    }
}

/// The outcome of an item, and when it was decided, if it was; and whether a repeat under its key was answered.
struct Done {
    outcome: ItemOutcome,
    at: Option<OffsetDateTime>,
    replay: Replay,
}

/// State of an item while it is recorded.
#[derive(Default)]
struct Progress {
    /// It may be recorded, whatever happens from here on.
    handed_over: Cell<bool>,
    is_repeat: Cell<bool>,
}

/// Records an item. A panic in it fails this item alone.
async fn record(call: &Call, writes: &Writes, index: usize, item: ReadItem) -> Done {
    let progress = Progress::default();
    let named = item.named.clone();
    let work = try_record(call, writes, index, item, &progress);
    let result = isolate(work, || match progress.handed_over.get() {
        true => ApiError::outcome_unknown(),
        false => ApiError::new(&catalogue::INTERNAL),
    });
    let (outcome, at) = match result.await {
        Ok((outcome, at)) => (ItemOutcome::Recorded(outcome), Some(at)),
        Err(error) => {
            let failed = FailedItem::new(index, named, &error, call.language);
            (ItemOutcome::Failed(failed), error.decided_at())
        }
    };
    let replay = match progress.is_repeat.get() {
        true => Replay::ByKey,
        false => Replay::First,
    };
    Done { outcome, at, replay }
}

async fn try_record(
    call: &Call,
    writes: &Writes,
    index: usize,
    item: ReadItem,
    progress: &Progress,
) -> Result<(RecordedItem, OffsetDateTime), ApiError> {
    let ReadItem { named, item, key } = item;
    let item = item?;
    let principal = call.principal()?;
    let user_id = named.ok_or_else(|| ApiError::new(&catalogue::INTERNAL))?;
    if !principal.may_act_for(&user_id) {
        return Err(foreign());
    }
    if !may_record(call, principal) {
        return Err(ApiError::new(&catalogue::PERMISSION_DENIED));
    }
    let metered = item::metered(item, user_id.clone(), principal, call.app.ids.uuid(), key.clone())?;
    progress.handed_over.set(true);
    let done = writes.usage(metered, CallerCheck::Exists).await;
    let done = done.map_err(|rejected| ApiError::of_rejected(rejected, key.as_ref()))?;
    let outcome = done.map_err(|why| rejected_caller(why, &user_id))?;
    progress.is_repeat.set(outcome.replay == Replay::ByKey);
    let (recorded, at) = recorded(&call.app, outcome)?;
    let item = RecordedItem {
        index,
        status: match recorded.replay {
            usage::Replay::First => "recorded",
            usage::Replay::ByEvent => "replayed",
        },
        id: recorded.record.id,
        user_id,
        credits_charged: recorded.record.credits_charged,
        transaction_id: recorded.record.charge.map(|charge| transaction_id(charge.transaction_id)),
        remaining_credits: recorded.balance.map(|balance| balance.posted),
    };
    Ok((item, at))
}

/// Returns true if callers of this class may record usage at all.
fn may_record(call: &Call, principal: &Principal) -> bool {
    principal.is_staff() || call.app.config.usage.self_metering == SelfMetering::Allowed
}

impl FailedItem {
    fn new(index: usize, user_id: Option<UserId>, error: &ApiError, language: Language) -> Self {
        let (error_code, message, detail) = error.of_item(language);
        Self { index, status: "failed", user_id, error_code, message, detail }
    }
}

fn answer(call: &Call, outcomes: Vec<Done>) -> Result<Reply, ApiError> {
    let all = outcomes.len();
    // A batch whose every item is a repeat is one; then it has the instant of the first answer.
    let is_repeat = outcomes.iter().all(|done| done.replay == Replay::ByKey);
    let decided = outcomes.iter().filter_map(|done| done.at).max();
    let results: Vec<ItemOutcome> = outcomes.into_iter().map(|done| done.outcome).collect();
    let count = |status: &str| {
        let stored = results.iter().filter(|outcome| match outcome {
            ItemOutcome::Recorded(item) => item.status == status,
            ItemOutcome::Failed(item) => item.status == status,
        });
        stored.count()
    };
    let (recorded, replayed, failed) = (count("recorded"), count("replayed"), count("failed"));
    let data = BatchOutcome { recorded, replayed, failed, results };
    let message = Text::new(
        format!("Recorded {recorded} of {all} usage records"),
        format!("已记录 {recorded}/{all} 条使用记录"),
    );
    let reply = call.envelope_at(decided.unwrap_or(call.now), &message, data)?;
    Ok(reply.with_replay_header(is_repeat))
}
