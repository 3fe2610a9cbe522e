//! `POST /api/v1/users/{user_id}/credits/holds`: sets credits aside (HTTP contract 6.5).

use credits::{Action, HOLD_TTL_DEFAULT, HoldMode};
use kernel::{Credits, FreeForm, fingerprint::v1};
use time::Duration;

use super::order::{self, Order};
use crate::http::{fields::input::word_of, idempotency, prelude::*, routes::credits::bodies::Hold};

const MODES: &[(&str, HoldMode)] = &[("exact", HoldMode::Exact), ("clamp", HoldMode::Clamp)];

/// Longest life of a hold, in seconds.
const TTL_MAX: i64 = 86_400;

input! {
    /// Credits to set aside.
    pub keyed struct CreateHold {
        /// Credits, above zero, at most 6 decimals.
        amount: Credits = required(Body, parse::credits_to_move()), example(70.0);
        /// exact: all or nothing; clamp: what there is, above zero.
        mode: Option<HoldMode> = optional(Body, parse::one_of(MODES)), default("exact"), hashed(mode.map(word_of(MODES)));
        /// Lifetime in seconds.
        ttl_seconds: Option<i64> = optional(Body, parse::integer(1, TTL_MAX)), default(900);
        /// Purpose.
        description: Option<String> = optional(Body, parse::text(0, 255));
        /// Anything to keep with it.
        metadata: Option<FreeForm> = optional(Body, parse::object());
    }
}

/// The fingerprint as version 1 made it, for keys that it stored. Nothing of it may change.
fn as_version_1(input: &CreateHold, asked: v1::Fingerprint) -> v1::Fingerprint {
    asked
        .credits(Some(input.amount))
        .maybe(input.mode.map(HoldMode::as_str))
        .number(input.ttl_seconds)
        .maybe(input.description.as_deref())
        .object(input.metadata.as_ref())
}

pub fn doc() -> Doc {
    Doc::new("credits", "Hold credits")
        .description("Held credits stay in the balance and cannot be spent. A hold ends by capture, release or expiry.")
        .idempotent()
        .body::<CreateHold>(json!({"amount": 70.0, "mode": "exact", "ttl_seconds": 900}))
        .reply_envelope::<Hold>("Held 70.0 credits", super::bodies::hold_example())
        .errors(&[
            &catalogue::INSUFFICIENT_CREDITS,
            &catalogue::BUDGET_EXCEEDED,
            &catalogue::TOO_MANY_HOLDS,
        ])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<CreateHold>().await?;
    let (input, key) = idempotency::key(&call, input, as_version_1).await?;
    let order = Order {
        action: Action::Hold {
            hold_id: call.app.ids.uuid(),
            amount: input.amount,
            mode: input.mode.unwrap_or_default(),
            ttl: input.ttl_seconds.map_or(HOLD_TTL_DEFAULT, Duration::seconds),
        },
        description: input.description,
        metadata: input.metadata.unwrap_or_default(),
        key,
    };
    let answer = order::run(&call, order).await?;
    let hold = answer.hold()?;
    let message = Text::new(format!("Held {} credits", hold.amount), format!("已预留 {} 积分", hold.amount));
    Ok(answer.with_replay_header(call.envelope_at(answer.at, &message, hold)?))
}
