//! `GET /api/v1/users`: users, newest first (HTTP contract 3.3).

use identity::{
    Plan, Role,
    users::{self, UserFilter},
};
use kernel::Slice;

use super::body::{ROLES, UserBody, example};
use crate::http::{
    fault::Problem,
    fields::{
        dates::{Dates, Days, End},
        time::{Moment, moment},
    },
    prelude::*,
};

const LIMIT: i64 = 50;

const PLANS: &[(&str, Plan)] = &[("free", Plan::Free), ("pro", Plan::Pro), ("enterprise", Plan::Enterprise)];

input! {
    /// Filter of the users.
    pub struct UsersInput {
        /// Beginning of an id or an e-mail address, or part of a name, without case.
        q: Option<String> = optional(Query, parse::text(1, 255)), example("test");
        /// Only those with this role.
        role: Option<Role> = optional(Query, parse::one_of(ROLES)), example("user");
        /// Only those with this plan.
        plan: Option<Plan> = optional(Query, parse::one_of(PLANS)), example("free");
        /// Only those who may use the service, or who may not.
        is_active: Option<bool> = optional(Query, parse::boolean());
        /// Only those made from this instant on, inclusive; a bare date is its midnight in UTC.
        created_from: Option<Moment> = optional(Query, moment());
        /// Only those made up to this instant, inclusive; a bare date is that whole day in UTC.
        created_to: Option<Moment> = optional(Query, moment()), check(|fields| {
            let dates = Dates::new(created_from, created_to, &Days::default());
            if dates.start.zip(dates.end.map(End::last)).is_some_and(|(start, end)| start > end) {
                fields.fault("query", "created_from", Problem::value("created_from is after created_to"));
            }
        });
    }
}

pub fn doc() -> Doc {
    Doc::new("users", "Users")
        .description(
            "Newest first. A page of a search may have fewer users than `limit`, even none, while more follow: go on with \
             `X-Next-Cursor`.",
        )
        .query::<UsersInput>()
        .paged(LIMIT)
        .reply_list::<UserBody>("Retrieved 1 users", example())
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let scope = call.list_scope();
    let (input, page) = call.fields.list::<UsersInput, _>(LIMIT, &scope)?;
    call.known()?;
    let dates = Dates::new(input.created_from, input.created_to, &Days::default());
    let filter = UserFilter {
        text: input.q,
        role: input.role,
        plan: input.plan,
        is_active: input.is_active,
        from: dates.start,
        to: dates.end.map(End::last),
    };
    let clock = &*call.app.clock;
    let slice = call
        .read(async |conn| {
            let Slice { items, next } = users::list(conn, &filter, &page).await?;
            let ids: Vec<_> = items.iter().map(|user| user.user_id.clone()).collect();
            let balances = credits::balances(conn, clock, &ids).await?;
            Ok(Slice { items: items.into_iter().zip(balances).collect(), next })
        })
        .await?;
    let body = |(user, balance): (_, Option<_>)| UserBody::new(user, balance.as_ref());
    call.list_reply(&scope, slice, body, ("users", "个用户"))
}
