//! `POST /api/v1/users/{user_id}/usage/{id}/correct`: takes a record back, with its charge (HTTP contract 4.9).

use flows::{Correct, CorrectError, Replacement, Replay};
use kernel::fingerprint::v1;

use super::item::{self, RecordPlace, RecordUsage, refused};
use crate::http::{
    idempotency,
    prelude::*,
    routes::{credits::bodies::Transaction, usage::record_body::UsageBody},
};

input! {
    /// Correction of a record.
    pub keyed struct CorrectUsage {
        /// Reason; kept with the correction.
        reason: String = required(Body, parse::text(1, 255));
        /// The record in its place, at the same instant unless it states its own. With `charge` it takes what is available, as
        /// far as that goes.
        replacement: Option<RecordUsage> =
            object(RecordUsage, "ReplacementRecord", &RecordPlace::Replacement);
    }
}

/// Correction.
#[derive(Debug, Serialize, ToSchema)]
pub struct CorrectedUsage {
    /// The record that takes the other one back, with negative amounts.
    correction: UsageBody,
    /// Record in its place.
    replacement: Option<UsageBody>,
    /// Refund of the charge.
    refund: Option<Transaction>,
}

/// The fingerprint as version 1 made it, for keys that it stored. Nothing of it may change.
fn as_version_1(record_id: i64, input: &CorrectUsage, asked: v1::Fingerprint) -> v1::Fingerprint {
    let asked = asked.number(Some(record_id)).word(&input.reason);
    match &input.replacement {
        Some(replacement) => item::as_version_1(replacement, asked.word("replacement")),
        None => asked,
    }
}

pub fn doc() -> Doc {
    Doc::new("usage", "Take a record back")
        .idempotent()
        .description(
            "Once for each record, in one commit: a record with negative amounts, the refund of what was charged and not \
             refunded before, and another record in its place.",
        )
        .body::<CorrectUsage>(json!({
            "reason": "wrong model",
            "replacement": {"endpoint": "/api/chat/completion", "event_type": "ai_chat", "credits_charged": 2.5},
        }))
        .reply_envelope::<CorrectedUsage>(
            "Usage record corrected",
            json!({
                "correction": super::record_body::record_example(), "replacement": super::record_body::record_example(), "refund": null,
            }),
        )
        .errors(&[
            &catalogue::USAGE_RECORD_NOT_FOUND,
            &catalogue::ALREADY_CORRECTED,
            &catalogue::USAGE_CONFLICT,
            &catalogue::PRICE_NOT_FOUND,
            &catalogue::BALANCE_LIMIT_EXCEEDED,
            &catalogue::BUDGET_EXCEEDED,
        ])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<CorrectUsage>().await?;
    if let Some(item) = &input.replacement {
        call.agree_on_user(item.user_id.as_ref())?;
    }
    let record_id = call.id_of_path("id", &catalogue::USAGE_RECORD_NOT_FOUND)?;
    let former = move |input: &CorrectUsage, asked| as_version_1(record_id, input, asked);
    let (input, key) = idempotency::key_at(&call, Some(("id", record_id)), input, former).await?;
    let user_id = call.user().await?;
    let caller = call.principal()?.class_for(&user_id);
    let replacement = input.replacement.map(|item| Replacement {
        is_charged: item.charge == Some(true),
        input: item::input(item, user_id.clone(), caller),
    });
    let correct = Correct {
        user_id,
        record_id,
        reason: input.reason,
        replacement,
        actor: call.principal()?.actor(),
        caller,
        refund_nonce: call.app.ids.uuid(),
        charge_nonce: call.app.ids.uuid(),
        idempotency: key.clone(),
        audited: Some(call.audited()),
    };
    let outcome = call.app.writes.correct(&call.app.pool, correct).await.map_err(|error| match error {
        CorrectError::Rejected(rejected) => ApiError::of_rejected(rejected, key.as_ref()),
        CorrectError::Database(error) => ApiError::answered(error),
    })?;
    let is_repeat = outcome.replay == Replay::ByKey;
    let refused = |refusal| refused(&refusal, outcome.at).with_replay_header(is_repeat);
    let done = outcome.result.map_err(refused)?;
    let data = CorrectedUsage {
        correction: done.correction.into(),
        replacement: done.replacement.map(UsageBody::from),
        refund: done.refund.map(Transaction::from),
    };
    let message = Text::new("Usage record corrected", "使用记录已更正");
    let reply = call.envelope_at(outcome.at, &message, data)?;
    Ok(reply.with_replay_header(is_repeat))
}
