//! `GET /api/v1/users/{user_id}/credits/budgets`: what the user may spend in a day, a month and ever (HTTP contract 6.5).

use credits::BudgetView;
use kernel::Credits;
use serde_json::{Value, json};

use crate::http::{prelude::*, wire::Timestamp};

words! {
    /// Length of a window.
    BudgetPeriodName = credits::BudgetPeriod::ALL.map(credits::BudgetPeriod::as_str);
}

/// The budgets of a user, shortest period first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Budgets {
    budgets: Vec<Budget>,
}

/// Limit of the spending in a window of time.
#[derive(Debug, Serialize, ToSchema)]
pub struct Budget {
    /// day, month or lifetime.
    #[schema(value_type = BudgetPeriodName, example = "day")]
    period: &'static str,
    /// IANA name of the time zone whose days and months are meant.
    #[schema(example = "Asia/Shanghai")]
    tz: String,
    /// Most that may be spent in a window.
    #[schema(value_type = f64)]
    limit: Credits,
    /// Charged in the present window, less what was refunded of that.
    #[schema(value_type = f64)]
    spent: Credits,
    /// Set aside by open holds; it counts against the present window.
    #[schema(value_type = f64)]
    held: Credits,
    /// Beginning of the next window; null for a lifetime.
    resets_at: Option<Timestamp>,
}

pub fn doc() -> Doc {
    Doc::new("credits", "Budgets")
        .description(
            "A charge or hold needs room in each of them: spent + held + amount is at most the limit. Empty if the user has none.",
        )
        .reply_envelope::<Budgets>("Budgets retrieved successfully", example(12.5))
}

/// The documented answer, with this much spent.
pub fn example(spent: f64) -> Value {
    json!({"budgets": [{
        "period": "day", "tz": "Asia/Shanghai", "limit": 100.0, "spent": spent, "held": 0.0,
        "resets_at": "2025-07-28T16:00:00.000000Z",
    }]})
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let user_id = call.user().await?;
    let clock = &*call.app.clock;
    let budgets = call.look_up(async |conn| credits::budgets(conn, clock, &user_id).await).await?;
    let budgets = budgets.ok_or_else(|| ApiError::user_not_found(&user_id))?;
    let message = Text::new("Budgets retrieved successfully", "预算查询成功");
    call.envelope(&message, Budgets::from(budgets))
}

impl From<Vec<BudgetView>> for Budgets {
    fn from(views: Vec<BudgetView>) -> Self {
        let budget = |view: BudgetView| Budget {
            period: view.period.as_str(),
            tz: view.zone,
            limit: view.limit,
            spent: view.spent,
            held: view.held,
            resets_at: view.resets_at.map(Timestamp),
        };
        Self { budgets: views.into_iter().map(budget).collect() }
    }
}
