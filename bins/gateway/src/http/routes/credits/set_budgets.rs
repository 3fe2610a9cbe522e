//! `PUT /api/v1/users/{user_id}/credits/budgets`: replaces what the user may spend (HTTP contract 6.5).

use std::collections::BTreeSet;

use credits::{BudgetPeriod, BudgetsRefused, NewBudget};
use identity::audit::{self, Action};
use kernel::{Credits, UserId};

use super::budgets::{Budgets, example};
use crate::http::{
    fault::{Fault, Problem, Step},
    prelude::*,
};

/// The zone of a budget that names none.
const UTC: &str = "UTC";

const PERIODS: &[(&str, BudgetPeriod)] =
    &[("day", BudgetPeriod::Day), ("month", BudgetPeriod::Month), ("lifetime", BudgetPeriod::Lifetime)];

input! {
    /// Budgets to set.
    pub struct SetBudgets {
        /// At most one of each period; none to lift all limits.
        budgets: Vec<SetBudget> = objects(0..=PERIODS.len(), SetBudget), check(|fields| {
            let mut periods = BTreeSet::new();
            let mut all = budgets.iter().flatten();
            if let Some(budget) = all.find(|budget| !periods.insert(budget.period)) {
                let problem = format!("there are two budgets of the period {}", budget.period);
                fields.fault("body", "budgets", Problem::value(&problem));
            }
        });
    }
}

input! {
    /// A limit to set.
    pub struct SetBudget {
        /// The length of a window.
        period: BudgetPeriod = required(Body, parse::one_of(PERIODS)), example("day");
        /// IANA name of the time zone whose days and months are meant.
        tz: Option<String> = optional(Body, parse::text(1, 255)), default("UTC"), example("Asia/Shanghai");
        /// Most credits that may be spent in a window, at most 6 decimals; 0 lets nothing be spent.
        limit: Credits = required(Body, parse::credits_to_note()), example(100.0);
    }
}

pub fn doc() -> Doc {
    Doc::new("credits", "Set budgets")
        .description(
            "Replaces all budgets of the user. What was spent in a window that goes on stays spent, also before it had a \
             budget; a lifetime counts everything.",
        )
        .body::<SetBudgets>(json!({"budgets": [{"period": "day", "tz": "Asia/Shanghai", "limit": 100.0}]}))
        .reply_envelope::<Budgets>("Budgets set successfully", example(12.5))
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let budgets = call.input::<SetBudgets>().await?.budgets;
    let new: Vec<NewBudget> = budgets.into_iter().map(NewBudget::from).collect();
    let user_id = call.user().await?;
    let clock = &*call.app.clock;
    let event =
        call.audit_event(Action::BudgetsSet).of_user(user_id.clone()).with(&json!({"budgets": facts(&new)}));
    let budgets = call
        .decide(async |tx| {
            if !identity::users::hold(tx.conn(), &user_id).await? {
                return Ok(Err(BudgetsRefused::NoAccount));
            }
            let budgets = credits::replace_budgets(tx, clock, &user_id, &new).await?;
            if budgets.is_ok() {
                audit::record(tx.conn(), std::slice::from_ref(&event)).await?;
            }
            Ok(budgets)
        })
        .await?;
    let budgets = budgets.map_err(|refusal| refused(&refusal, &user_id, &new))?;
    let message = Text::new("Budgets set successfully", "预算设置成功");
    call.envelope(&message, Budgets::from(budgets))
}

/// Budgets in the audit log.
fn facts(budgets: &[NewBudget]) -> Vec<serde_json::Value> {
    let facts = |budget: &NewBudget| json!({"period": budget.period.as_str(), "tz": budget.zone, "limit": budget.limit.to_string()});
    budgets.iter().map(facts).collect()
}

impl From<SetBudget> for NewBudget {
    fn from(SetBudget { period, tz, limit }: SetBudget) -> Self {
        Self { period, zone: tz.unwrap_or_else(|| UTC.to_owned()), limit }
    }
}

/// Refusal, reported at the field that caused it.
fn refused(refusal: &BudgetsRefused, user_id: &UserId, new: &[NewBudget]) -> ApiError {
    let place = match refusal {
        BudgetsRefused::NoAccount => return ApiError::user_not_found(user_id),
        BudgetsRefused::UnknownZone { zone } => {
            let place = new.iter().position(|budget| budget.zone == *zone);
            place.map(|place| vec![Step::Position(place), "tz".into()])
        }
        BudgetsRefused::Repeated { .. } | BudgetsRefused::InvalidLimit { .. } => None,
    };
    let mut fault = Fault::field("body", "budgets", Problem::value(&refusal.to_string()), None);
    fault.loc.extend(place.into_iter().flatten());
    ApiError::faults(vec![fault])
}
