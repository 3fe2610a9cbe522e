//! `GET /api/v1/users/{user_id}/credits/grants`: grants in burn order (HTTP contract 6.5).

use credits::GrantFilter;

use crate::http::{prelude::*, routes::credits::bodies::Grant};

const LIMIT: i64 = 50;

const FILTERS: &[(&str, GrantFilter)] = &[
    ("open", GrantFilter::Open),
    ("used", GrantFilter::Used),
    ("expired", GrantFilter::Expired),
    ("all", GrantFilter::All),
];

input! {
    /// Selection of grants.
    pub struct GrantsInput {
        /// Selection of grants.
        status: Option<GrantFilter> = optional(Query, parse::one_of(FILTERS)), default("open"), example("open");
    }
}

pub fn doc() -> Doc {
    Doc::new("credits", "Grants")
        .description("In the order in which they are spent.")
        .query::<GrantsInput>()
        .paged(LIMIT)
        .reply_list::<Grant>("Retrieved 1 grants", super::bodies::grant_example())
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let (GrantsInput { status }, page) = call.fields.list(LIMIT, &scope)?;
    let filter = status.unwrap_or(GrantFilter::Open);
    let user_id = call.user().await?;
    let clock = &*call.app.clock;
    let slice = call.read(async |conn| credits::grants(conn, clock, &user_id, filter, &page).await).await?;
    call.list_reply(&scope, slice, Grant::from, ("grants", "积分批次"))
}
