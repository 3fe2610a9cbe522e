//! Administrators of the configuration, across restarts.

use std::path::Path;

use kernel::Clock as _;
use secrecy::SecretString;

use super::gateway_process::{Gateway, folder};

const SECRET: &str = "a shared secret of more than 32 bytes";

async fn start(folder: &Path, listed: Option<&str>) -> Gateway {
    let mut variables = vec![("SUPABASE_JWT_SECRET", SECRET)];
    variables.extend(listed.map(|ids| ("ADMIN_USER_IDS", ids)));
    Gateway::start(folder, &variables).await
}

fn stop(mut gateway: Gateway) {
    gateway.signal("-TERM");
    assert!(gateway.wait().success(), "{}", gateway.log());
}

/// The statuses that a route for services and administrators answers to these users.
async fn statuses(gateway: &Gateway, users: [&str; 3]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for user in users {
        let token = identity::dev_token(
            &SecretString::from(SECRET),
            &testkit::user(user),
            "someone@example.com",
            kernel::SystemClock.now(),
        );
        let url = format!("{}/api/v1/usage/summary", gateway.url);
        let reply = gateway.client.get(url).bearer_auth(token).send().await.unwrap();
        statuses.push(reply.status().as_u16());
    }
    statuses
}

#[tokio::test]
async fn who_leaves_the_list_is_demoted_at_the_next_start_and_the_log_says_so() {
    let (folder, users) = (folder(), ["first", "both", "second"]);
    let gateway = start(folder.path(), Some("first,both")).await;
    for user in ["first", "both"] {
        gateway.ensure(user).await;
    }
    assert_eq!(statuses(&gateway, users).await[..2], [200, 200]);
    stop(gateway);

    let gateway = start(folder.path(), Some("both,second")).await;
    // One who is listed before they exist has the role from their first login on.
    gateway.ensure("second").await;
    assert_eq!(statuses(&gateway, users).await, [403, 200, 200]);
    let log = gateway.log();
    let line = log
        .lines()
        .find(|line| line.contains("lost the role of administrator"))
        .unwrap();
    assert!(
        line.contains(r#""users.count":1"#) && line.contains(r#""users.ids":"first""#),
        "{line}"
    );
    assert!(line.contains("WARN"), "{line}");
    stop(gateway);

    let gateway = start(folder.path(), None).await;
    assert_eq!(statuses(&gateway, users).await, [403, 403, 403]);
    assert!(
        gateway.log().contains(r#""users.ids":"both, second""#),
        "{}",
        gateway.log()
    );
    stop(gateway);
}
