//! `PUT /api/v1/users/{user_id}/credits/budgets`: replaces what the user may spend (HTTP contract 6.5).

use std::collections::BTreeSet;

use actix_web::http::Method;
use credits::{BudgetPeriod, BudgetView, BudgetsRefused, NewBudget};
use kernel::{Credits, UserId};
use pg::{DbError, Tx};
use serde_json::json;
use utoipa::ToSchema;

use super::budgets::{Budgets, example};
use crate::http::{
    call::Call,
    doc::Doc,
    error::ApiError,
    fault::{Fault, Place, Problem},
    fields::{Fields, Source, parse},
    language::Text,
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
};

/// The zone of a budget that names none.
const UTC: &str = "UTC";

const PERIODS: &[(&str, BudgetPeriod)] = &[
    ("day", BudgetPeriod::Day),
    ("month", BudgetPeriod::Month),
    ("lifetime", BudgetPeriod::Lifetime),
];

/// Budgets to set.
#[derive(Debug, ToSchema)]
pub struct SetBudgets {
    /// At most one of each period; none to lift all limits.
    pub budgets: Vec<SetBudget>,
}

/// A limit to set.
#[derive(Debug, ToSchema)]
pub struct SetBudget {
    /// day, month or lifetime.
    #[schema(value_type = String, example = "day")]
    pub period: BudgetPeriod,
    /// IANA name of the time zone whose days and months are meant; UTC if absent.
    #[schema(example = "Asia/Shanghai")]
    pub tz: Option<String>,
    /// Most credits that may be spent in a window, at most 6 decimals; 0 lets nothing be spent.
    #[schema(value_type = f64, example = 100.0)]
    pub limit: Credits,
}

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::PUT,
        path: "/api/v1/users/{user_id}/credits/budgets",
        access: Access::StaffForPathUser,
        body: BodyRule::Json,
        origin: Origin::Extension,
        operation: "set_budgets",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    Doc::new("credits", "Set budgets")
        .description(
            "Replaces all budgets of the user. What was spent in a window that goes on stays spent, also before it had a \
             budget; a lifetime counts everything.",
        )
        .body::<SetBudgets>(json!({"budgets": [{"period": "day", "tz": "Asia/Shanghai", "limit": 100.0}]}))
        .reply_envelope::<Budgets>("Budgets set successfully", example(12.5))
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let new = call.input(read_budgets).await?;
    let user_id = call.user().await?;
    let mut tx = Tx::begin(&call.app.pool).await?;
    let budgets = match replace(&mut tx, &call, &user_id, &new).await {
        Ok(Ok(budgets)) => budgets,
        Ok(Err(refusal)) => {
            tx.rollback().await;
            return Err(refused(&refusal, &user_id, &new));
        }
        Err(error) => {
            tx.give_up(&error).await;
            return Err(error.into());
        }
    };
    tx.commit().await?;
    let message = Text::new("Budgets set successfully", "预算设置成功");
    call.envelope(&message, Budgets::from(budgets))
}

/// Sets the budgets and reads them while the account is still locked.
async fn replace(
    tx: &mut Tx,
    call: &Call,
    user_id: &UserId,
    new: &[NewBudget],
) -> Result<Result<Vec<BudgetView>, BudgetsRefused>, DbError> {
    if let Err(refusal) = credits::set_budgets(tx, user_id, new).await? {
        return Ok(Err(refusal));
    }
    let budgets = credits::budgets(tx.conn(), &*call.app.clock, user_id).await?;
    Ok(budgets.ok_or(BudgetsRefused::NoAccount))
}

fn read_budgets(fields: &mut Fields) -> Option<Vec<NewBudget>> {
    let new = fields.objects("budgets", 0..=PERIODS.len(), read_budget)?;
    let mut periods = BTreeSet::new();
    for budget in &new {
        if !periods.insert(budget.period) {
            let problem = format!("there are two budgets of the period {}", budget.period);
            fields.fault("body", "budgets", Problem::value(&problem));
            return None;
        }
    }
    Some(new)
}

fn read_budget(fields: &mut Fields) -> Option<NewBudget> {
    let period = fields.required(Source::Body, "period", parse::one_of(PERIODS));
    let zone = fields.optional(Source::Body, "tz", parse::text(1, 255));
    let limit = fields.required(Source::Body, "limit", parse::credits_to_note);
    Some(NewBudget {
        period: period?,
        zone: zone.unwrap_or_else(|| UTC.to_owned()),
        limit: limit?,
    })
}

/// What was refused, told at the field that is to blame.
fn refused(refusal: &BudgetsRefused, user_id: &UserId, new: &[NewBudget]) -> ApiError {
    let place = match refusal {
        BudgetsRefused::NoAccount => return ApiError::user_not_found(user_id),
        BudgetsRefused::UnknownZone { zone } => {
            let place = new.iter().position(|budget| budget.zone == *zone);
            place.map(|place| vec![Place::Position(place), "tz".into()])
        }
        BudgetsRefused::Repeated { .. } | BudgetsRefused::InvalidLimit { .. } => None,
    };
    let mut fault = Fault::field("body", "budgets", Problem::value(&refusal.to_string()), None);
    fault.loc.extend(place.into_iter().flatten());
    ApiError::faults(vec![fault])
}
