//! `POST /api/v1/users/{user_id}/credits/holds`: sets credits aside (HTTP contract 6.5).

use actix_web::http::Method;
use credits::{Action, Fingerprint, HOLD_TTL_DEFAULT, HoldMode};
use kernel::{Credits, FreeForm};
use serde_json::json;
use time::Duration;
use utoipa::ToSchema;

use super::Order;
use crate::http::{
    call::Call,
    catalogue,
    doc::Doc,
    error::ApiError,
    fields::{Fields, Source, parse},
    idempotency,
    language::Text,
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
    wire::Hold,
};

const MODES: &[(&str, HoldMode)] = &[("exact", HoldMode::Exact), ("clamp", HoldMode::Clamp)];

/// Longest life of a hold, in seconds.
const TTL_MAX: i64 = 86_400;

/// Credits to set aside.
#[derive(Debug, ToSchema)]
pub struct CreateHold {
    /// Credits, above zero, at most 6 decimals.
    #[schema(value_type = f64, example = 70.0)]
    pub amount: Credits,
    /// exact: all or nothing; clamp: what there is, above zero. exact if absent.
    #[schema(value_type = Option<String>)]
    pub mode: Option<HoldMode>,
    /// How long it lives, 1 to 86400 seconds; 900 if absent.
    pub ttl_seconds: Option<i64>,
    /// What for.
    pub description: Option<String>,
    /// Anything to keep with it.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<FreeForm>,
}

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::POST,
        path: "/api/v1/users/{user_id}/credits/holds",
        access: Access::HiddenPathUser,
        body: BodyRule::Json,
        origin: Origin::Extension,
        operation: "create_hold",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    Doc::new("credits", "Hold credits")
        .description("Held credits stay in the balance and cannot be spent. A hold ends by capture, release or expiry.")
        .idempotent()
        .body::<CreateHold>(json!({"amount": 70.0, "mode": "exact", "ttl_seconds": 900}))
        .reply_envelope::<Hold>("Held 70.0 credits", super::hold_example())
        .errors(&[
            &catalogue::INSUFFICIENT_CREDITS,
            &catalogue::BUDGET_EXCEEDED,
            &catalogue::TOO_MANY_HOLDS,
        ])
}

impl CreateHold {
    fn read(fields: &mut Fields) -> Option<Self> {
        let amount = fields.required(Source::Body, "amount", parse::credits_to_move);
        Some(Self {
            mode: fields.optional(Source::Body, "mode", parse::one_of(MODES)),
            ttl_seconds: fields.optional(Source::Body, "ttl_seconds", parse::integer(1, TTL_MAX)),
            description: fields.optional(Source::Body, "description", parse::text(0, 255)),
            metadata: fields.optional(Source::Body, "metadata", parse::object),
            amount: amount?,
        })
    }

    /// What makes two requests the same.
    fn identify(&self, asked: Fingerprint) -> Fingerprint {
        let Self {
            amount,
            mode,
            ttl_seconds,
            description,
            metadata,
        } = self;
        asked
            .credits(Some(*amount))
            .maybe(mode.map(HoldMode::as_str))
            .number(*ttl_seconds)
            .maybe(description.as_deref())
            .object(metadata.as_ref())
    }
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let wish = call.input(CreateHold::read).await?;
    let (wish, key) = idempotency::key(&call, wish, CreateHold::identify).await?;
    let order = Order {
        action: Action::Hold {
            hold_id: call.app.ids.uuid(),
            amount: wish.amount,
            mode: wish.mode.unwrap_or_default(),
            ttl: wish.ttl_seconds.map_or(HOLD_TTL_DEFAULT, Duration::seconds),
        },
        description: wish.description,
        metadata: wish.metadata.unwrap_or_default(),
        key,
    };
    let answer = super::run(&call, order).await?;
    let hold = answer.hold()?;
    let message = Text::new(
        format!("Held {} credits", hold.amount),
        format!("已预留 {} 积分", hold.amount),
    );
    Ok(answer.mark(call.envelope_at(answer.at, &message, Hold::from(hold))?))
}
