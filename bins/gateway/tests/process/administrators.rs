//! Administrators of the configuration, across restarts.

use std::{path::Path, sync::Arc, time::Duration};

use gateway::administrators;
use identity::{EmailVoucher, NewUser, Role, StatusQuery, users};
use pg::{Pool, Tx};

use super::gateway_process::{Gateway, folder};
use crate::prelude::*;

const SECRET: &str = "a shared secret of more than 32 bytes";

async fn start(folder: &Path, listed: Option<&str>) -> Gateway {
    let mut variables = vec![("SUPABASE_JWT_SECRET", SECRET)];
    variables.extend(listed.map(|ids| ("ADMIN_USER_IDS", ids)));
    Gateway::start(folder, &variables).await
}

/// The statuses that a route for services and administrators answers to these users.
async fn statuses(gateway: &Gateway, users: [&str; 3]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for user in users {
        let now = kernel::SystemClock.now();
        let token = identity::dev_token(&SECRET.into(), &testkit::user(user), "someone@example.com", now);
        statuses.push(gateway.request("GET", "/api/v1/usage/summary").token(&token).await.status);
    }
    statuses
}

#[tokio::test]
async fn who_leaves_the_list_is_demoted_at_the_next_start_and_the_log_says_so() {
    let (folder, users) = (folder(), ["first", "both", "second"]);
    let mut gateway = start(folder.path(), Some("first,both")).await;
    for user in ["first", "both"] {
        gateway.ensure(user).await;
    }
    assert_eq!(statuses(&gateway, users).await[..2], [200, 200]);
    gateway.stop();

    let mut gateway = start(folder.path(), Some("both,second")).await;
    // One who is listed before they exist has the role from their first login on.
    gateway.ensure("second").await;
    assert_eq!(statuses(&gateway, users).await, [403, 200, 200]);
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("lost the role of administrator")).unwrap();
    assert!(line.contains(r#""users.count":1"#) && line.contains(r#""users.ids":"first""#), "{line}");
    assert!(line.contains("WARN"), "{line}");
    gateway.stop();

    let mut gateway = start(folder.path(), None).await;
    assert_eq!(statuses(&gateway, users).await, [403, 403, 403]);
    assert!(gateway.log().contains(r#""users.ids":"both, second""#), "{}", gateway.log());
    gateway.stop();
}

/// Signs a user up with the role that the list of the process gives.
async fn sign_up(pool: &Pool, user: &str, role: Role) {
    let new = NewUser {
        user_id: testkit::user(user),
        email: Some(format!("{user}@example.com")),
        email_voucher: EmailVoucher::Staff,
        name: Some(user.to_owned()),
        role,
        brought_by: None,
    };
    let mut tx = Tx::begin(pool).await.unwrap();
    users::ensure(&mut tx, &testkit::clock(), &new).await.unwrap().unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn who_signs_up_at_a_process_with_the_former_list_is_demoted_when_the_list_is_applied_again() {
    let db = TestDb::create(flows::MIGRATIONS, flows::AUDITS).await;
    let (clock, listed) = (testkit::clock(), vec![testkit::user("listed")]);
    administrators::apply(db.pool(), &clock, &listed).await.unwrap();
    sign_up(db.pool(), "former", Role::Admin).await;
    sign_up(db.pool(), "listed", Role::Admin).await;
    let clock: Arc<dyn kernel::Clock> = Arc::new(clock);
    let job = administrators::job(db.pool(), &clock, &listed).first_after(Duration::ZERO);
    flows::jobs::JobRunner::start([job], &clock).ended().await;
    let asked = ["former", "listed"].map(|id| StatusQuery::user(&testkit::user(id)));
    let statuses = users::statuses(&*db.connect().await, &asked).await.unwrap();
    let roles: Vec<Role> = statuses.into_iter().map(|standing| standing.user.unwrap().role).collect();
    assert_eq!(roles, [Role::User, Role::Admin]);
}
