//! Setting the status of a session.

use kernel::{Ids, Scope};
use sessions::{Session, Status};
use testkit::{instant, user};
use time::Duration;

use crate::support::{House, foreign, not_found};

#[tokio::test(flavor = "multi_thread")]
async fn every_status_may_follow_every_other() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    for from in Status::ALL {
        for to in Status::ALL {
            for status in [*from, *to] {
                house.clock.advance(Duration::SECOND);
                let set = house.set_status(session.session_id, &Scope::Any, status).await;
                let is_active = matches!(status, Status::Active | Status::Completed);
                let set = set.unwrap();
                assert_eq!((set.status, set.is_active()), (status, is_active), "{from} to {to}");
                assert_eq!(house.find(session.session_id).await, Some(set));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_a_status_changes_the_status_and_the_time_of_change_only() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    house.clock.advance(Duration::MINUTE);
    let set =
        house.set_status(session.session_id, &Scope::Own(user("auth0|a")), Status::Completed).await.unwrap();
    assert_eq!(
        set,
        Session { status: Status::Completed, updated_at: instant() + Duration::MINUTE, ..session }
    );
    house.clock.advance(-Duration::HOUR);
    let again = house.set_status(set.session_id, &Scope::Any, Status::Ended).await.unwrap();
    assert_eq!(again.updated_at, set.updated_at, "a clock that goes back moves nothing back");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_settings_change_nothing() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    house.clock.advance(Duration::MINUTE);
    let outsider = Scope::Own(user("auth0|b"));
    assert_eq!(house.set_status(session.session_id, &outsider, Status::Ended).await, Err(foreign(&session)));
    let unknown = house.ids.uuid();
    assert_eq!(house.set_status(unknown, &Scope::Any, Status::Ended).await, Err(not_found(unknown)));
    assert_eq!(house.find(session.session_id).await, Some(session));
}
