//! `GET /api/v1/users/{user_id}/credits/holds`: holds, newest first (HTTP contract 6.5).

use credits::{HoldFilter, HoldStatus};

use crate::http::{prelude::*, routes::credits::bodies::Hold};

const LIMIT: i64 = 50;

const FILTERS: &[(&str, HoldFilter)] = &[
    ("open", HoldFilter::Open),
    ("captured", HoldFilter::Only(HoldStatus::Captured)),
    ("released", HoldFilter::Only(HoldStatus::Released)),
    ("expired", HoldFilter::Only(HoldStatus::Expired)),
    ("all", HoldFilter::All),
];

input! {
    /// Selection of holds.
    pub struct HoldsInput {
        /// Selection of holds.
        status: Option<HoldFilter> = optional(Query, parse::one_of(FILTERS)), default("open"), example("open");
    }
}

pub fn doc() -> Doc {
    Doc::new("credits", "Holds")
        .description("Newest first.")
        .query::<HoldsInput>()
        .paged(LIMIT)
        .reply_list::<Hold>("Retrieved 1 holds", super::bodies::hold_example())
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let (HoldsInput { status }, page) = call.fields.list(LIMIT, &scope)?;
    let filter = status.unwrap_or_default();
    let user_id = call.user().await?;
    let clock = &*call.app.clock;
    let slice = call.read(async |conn| credits::holds(conn, clock, &user_id, filter, &page).await).await?;
    call.list_reply(&scope, slice, |hold| Hold::new(user_id.clone(), hold), ("holds", "预留记录"))
}
