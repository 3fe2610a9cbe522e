//! `POST /api/v1/users/{user_id}/credits/grants`: gives credits that are not bought (HTTP contract 6.5).

use actix_web::http::Method;
use credits::{Action, Fingerprint, GrantKind, NewGrant, NewGrantKind, ReferenceScope};
use kernel::{Credits, FreeForm};
use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::Order;
use crate::http::{
    call::Call,
    catalogue,
    doc::Doc,
    error::ApiError,
    fields::{Fields, Source, parse, time::instant},
    idempotency,
    language::Text,
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
    wire::{Grant, Transaction},
};

const KINDS: &[(&str, NewGrantKind)] = &[
    ("promo", NewGrantKind::Promo),
    ("plan", NewGrantKind::Plan),
    ("purchase", NewGrantKind::Purchase),
];

/// Credits to give.
#[derive(Debug, ToSchema)]
pub struct CreateGrant {
    /// Credits, above zero, at most 6 decimals.
    #[schema(value_type = f64, example = 100.0)]
    pub amount: Credits,
    /// promo, plan or purchase; promo if absent.
    #[schema(value_type = Option<String>)]
    pub kind: Option<NewGrantKind>,
    /// 0 to 255, low burns first; 100 if absent.
    pub priority: Option<u8>,
    /// From when on it counts; now if absent. A date without a time is the first instant of that day in UTC.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub effective_at: Option<OffsetDateTime>,
    /// When what is left of it is lost; never if absent. A date without a time is the first instant of that day in UTC, so the
    /// credits cannot be spent on that day: for a grant until the end of a day, give the day after.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<OffsetDateTime>,
    /// One grant per user and reference.
    pub reference_id: Option<String>,
    /// user or global (with a reference): among whom the reference is unique; user if absent. A global one is refused if a
    /// service or administrator credited another user with it before, in whichever scope.
    #[schema(value_type = Option<String>)]
    pub reference_scope: Option<ReferenceScope>,
    /// What for.
    pub description: Option<String>,
    /// Anything to keep with it.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<FreeForm>,
}

/// The grant, and the transaction that booked it.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedGrant {
    grant: Grant,
    /// Null while the grant is scheduled.
    transaction: Option<Transaction>,
}

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::POST,
        path: "/api/v1/users/{user_id}/credits/grants",
        access: Access::StaffForPathUser,
        body: BodyRule::Json,
        origin: Origin::Extension,
        operation: "create_grant",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    Doc::new("credits", "Give credits")
        .idempotent()
        .body::<CreateGrant>(json!({"amount": 100.0, "kind": "promo", "description": "Welcome back"}))
        .reply_envelope::<CreatedGrant>(
            "Granted 100.0 credits successfully",
            json!({"grant": super::grant_example(), "transaction": super::transaction_example()}),
        )
        .errors(&[&catalogue::BALANCE_LIMIT_EXCEEDED, &catalogue::REFERENCE_CONFLICT])
}

impl CreateGrant {
    fn read(fields: &mut Fields) -> Option<Self> {
        let amount = fields.required(Source::Body, "amount", parse::credits_to_move);
        let (reference_id, reference_scope) = super::read_reference(fields, Source::Body);
        let priority = fields.optional(Source::Body, "priority", parse::integer(0, 255));
        Some(Self {
            kind: fields.optional(Source::Body, "kind", parse::one_of(KINDS)),
            priority: priority.and_then(|priority| u8::try_from(priority).ok()),
            effective_at: fields.optional(Source::Body, "effective_at", instant),
            expires_at: fields.optional(Source::Body, "expires_at", instant),
            reference_id,
            reference_scope,
            description: fields.optional(Source::Body, "description", parse::text(0, 255)),
            metadata: fields.optional(Source::Body, "metadata", parse::object),
            amount: amount?,
        })
    }

    /// What makes two requests the same.
    fn identify(&self, asked: Fingerprint) -> Fingerprint {
        let Self {
            amount,
            kind,
            priority,
            effective_at,
            expires_at,
            reference_id,
            reference_scope,
            description,
            metadata,
        } = self;
        super::scoped(asked, *reference_scope)
            .credits(Some(*amount))
            .maybe(kind.map(|kind| GrantKind::from(kind).as_str()))
            .number(priority.map(i64::from))
            .instant(*effective_at)
            .instant(*expires_at)
            .maybe(reference_id.as_deref())
            .maybe(description.as_deref())
            .object(metadata.as_ref())
    }
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let wish = call.input(CreateGrant::read).await?;
    let scope = super::permitted(&call, wish.reference_scope)?;
    let (wish, key) = idempotency::key(&call, wish, CreateGrant::identify).await?;
    let amount = wish.amount;
    let plain = NewGrant::new(wish.kind.unwrap_or(NewGrantKind::Promo), amount);
    let order = Order {
        action: Action::Grant(NewGrant {
            priority: wish.priority.unwrap_or(plain.priority),
            effective_at: wish.effective_at,
            expires_at: wish.expires_at,
            reference_id: wish.reference_id,
            scope,
            ..plain
        }),
        description: wish.description,
        metadata: wish.metadata.unwrap_or_default(),
        key,
    };
    let answer = super::run(&call, order).await?;
    let grant = answer
        .applied
        .grant
        .clone()
        .ok_or_else(|| super::broken("a grant made no grant"))?;
    let data = CreatedGrant {
        grant: grant.into(),
        transaction: answer.applied.entry.clone().map(Transaction::from),
    };
    let message = Text::new(
        format!("Granted {amount} credits successfully"),
        format!("成功发放 {amount} 积分"),
    );
    Ok(answer.mark(call.envelope_at(answer.at, &message, data)?))
}
