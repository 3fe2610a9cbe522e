//! `POST /api/v1/users/{user_id}/usage/{id}/correct`: takes a record back, with its charge (HTTP contract 4.9).

use actix_web::http::Method;
use credits::{Fingerprint, Replay};
use flows::correction::{Correct, Replacement};
use serde::Serialize;
use serde_json::json;
use usage::UsageInput;
use utoipa::ToSchema;

use super::{
    item::{Form, Item, refused},
    record::RecordUsage,
};
use crate::http::{
    call::Call,
    catalogue,
    doc::Doc,
    error::ApiError,
    fault::Problem,
    fields::{Fields, Source, parse},
    idempotency::{self, IDEMPOTENCY_REPLAYED},
    language::Text,
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
    wire::{Transaction, UsageBody},
};

/// Why a record is taken back.
#[derive(Debug, ToSchema)]
pub struct CorrectUsage {
    /// Why; kept with the correction.
    pub reason: String,
    /// What is recorded in its stead, at the same instant unless it states its own. With `charge` it takes what is available,
    /// as far as that goes; a hold cannot pay for it.
    pub replacement: Option<RecordUsage>,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct CorrectedUsage {
    /// The record that takes the other one back, with negative amounts.
    correction: UsageBody,
    /// What stands in its stead.
    replacement: Option<UsageBody>,
    /// What was given back of the charge.
    refund: Option<Transaction>,
}

struct Wish {
    reason: String,
    replacement: Option<Item>,
}

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::POST,
        path: "/api/v1/users/{user_id}/usage/{id}/correct",
        access: Access::StaffForPathUser,
        body: BodyRule::Json,
        origin: Origin::Extension,
        operation: "correct_usage",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    Doc::new("usage", "Take a record back")
        .idempotent()
        .description(
            "Once for each record, in one commit: a record with negative amounts, the refund of what was charged and not \
             refunded before, and another record in its stead.",
        )
        .body::<CorrectUsage>(json!({
            "reason": "wrong model",
            "replacement": {"endpoint": "/api/chat/completion", "event_type": "ai_chat", "credits_charged": 2.5},
        }))
        .reply_envelope::<CorrectedUsage>(
            "Usage record corrected",
            json!({
                "correction": super::record_example(), "replacement": super::record_example(), "refund": null,
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

fn read(fields: &mut Fields) -> Option<Wish> {
    let reason = fields.required(Source::Body, "reason", parse::text(1, 255));
    let replacement = fields.object("replacement", |inner| {
        let item = Item::read(inner, Form::Replacement);
        if item.as_ref().is_some_and(|item| item.hold_id.is_some()) {
            inner.fault(
                "body",
                "hold_id",
                Problem::value("a hold cannot pay for a replacement"),
            );
        }
        item
    });
    Some(Wish {
        replacement: replacement?,
        reason: reason?,
    })
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let wish = call.input(read).await?;
    if let Some(item) = &wish.replacement {
        call.agree_on_user(item.named.as_ref())?;
    }
    let record_id = super::record_id(&call)?;
    let identify = move |wish: &Wish, asked: Fingerprint| {
        let asked = asked.number(Some(record_id)).word(&wish.reason);
        match &wish.replacement {
            Some(item) => item.identify(asked.word("replacement")),
            None => asked,
        }
    };
    let (wish, key) = idempotency::key(&call, wish, identify).await?;
    let user_id = call.user().await?;
    let caller = call.principal()?.class_for(&user_id);
    let replacement = wish.replacement.map(|item| Replacement {
        is_charged: item.charge,
        input: UsageInput {
            recorded_by: caller,
            user_id: user_id.clone(),
            ..item.input
        },
    });
    let outcome = call
        .app
        .corrections
        .correct(&Correct {
            user_id,
            record_id,
            reason: wish.reason,
            replacement,
            actor: call.principal()?.actor(),
            caller,
            idempotency: key,
        })
        .await?;
    let done = match (outcome.result, outcome.replay) {
        (Ok(done), _) => done,
        (Err(refusal), Replay::First) => return Err(refused(&refusal, outcome.at)),
        (Err(refusal), Replay::ByKey) => return Err(refused(&refusal, outcome.at).replayed()),
    };
    let data = CorrectedUsage {
        correction: done.correction.into(),
        replacement: done.replacement.map(UsageBody::from),
        refund: done.refund.map(Transaction::from),
    };
    let message = Text::new("Usage record corrected", "使用记录已更正");
    let reply = call.envelope_at(outcome.at, &message, data)?;
    Ok(match outcome.replay {
        Replay::First => reply,
        Replay::ByKey => reply.header(IDEMPOTENCY_REPLAYED, "true"),
    })
}
