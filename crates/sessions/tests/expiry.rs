//! Sessions that expire, by moving the clock.

use kernel::{Page, Scope};
use sessions::{NewSession, Session, SessionFilter, Status};
use testkit::{instant, user};
use time::Duration;

use crate::support::House;

async fn expiring(house: &House, after: Duration) -> Session {
    let new = NewSession { expires_at: Some(instant() + after), ..house.new_session(&user("auth0|a")) };
    house.create(&new).await
}

async fn listed(house: &House, status: Option<Status>) -> Vec<Session> {
    let mut conn = house.pool().get().await.unwrap();
    let filter = SessionFilter { status };
    sessions::list(&mut conn, &house.clock, &user("auth0|a"), filter, &Page::first(500)).await.unwrap().items
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_expires_at_its_instant() {
    let house = House::build().await;
    let session = expiring(&house, Duration::HOUR).await;
    house.clock.advance(Duration::HOUR - Duration::microseconds(1));
    assert_eq!(house.find(session.session_id).await.unwrap().status, Status::Active);
    assert_eq!(listed(&house, Some(Status::Active)).await.len(), 1);

    house.clock.advance(Duration::microseconds(1));
    let expired = house.find(session.session_id).await.unwrap();
    assert_eq!((expired.status, expired.is_active()), (Status::Expired, false));
    assert_eq!(expired.updated_at, session.updated_at);
    assert_eq!(listed(&house, Some(Status::Active)).await, []);
    assert_eq!(listed(&house, Some(Status::Expired)).await, [expired]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_may_be_born_expired() {
    let house = House::build().await;
    let session = expiring(&house, -Duration::HOUR).await;
    assert_eq!(session.status, Status::Expired);
    assert_eq!(house.find(session.session_id).await, Some(session));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_set_before_expiry_ends_with_it_and_one_set_after_stands() {
    let house = House::build().await;
    let session = expiring(&house, Duration::HOUR).await;
    let id = session.session_id;
    house.set_status(id, &Scope::Any, Status::Completed).await.unwrap();
    house.clock.advance(Duration::HOUR);
    assert_eq!(house.find(id).await.unwrap().status, Status::Expired);

    let set = house.set_status(id, &Scope::Any, Status::Active).await.unwrap();
    assert_eq!((set.status, set.is_active()), (Status::Active, true));
    house.clock.advance(Duration::days(1));
    assert_eq!(house.find(id).await.unwrap().status, Status::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_still_takes_messages() {
    let house = House::build().await;
    let session = expiring(&house, Duration::HOUR).await;
    house.clock.advance(Duration::HOUR);
    house.add(&[house.message(&session)]).await.remove(0).unwrap();
    let after = house.find(session.session_id).await.unwrap();
    assert_eq!((after.status, after.message_count), (Status::Expired, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_filters_by_the_status_it_shows() {
    let house = House::build().await;
    let lives = [-1, 0, 1, 2, 3].map(|hours| Some(Duration::hours(hours)));
    for life in lives.into_iter().chain([None]) {
        let new = || NewSession {
            expires_at: life.map(|life| instant() + life),
            ..house.new_session(&user("auth0|a"))
        };
        house.create(&new()).await;
        for status in Status::ALL {
            let session = house.create(&new()).await;
            house.set_status(session.session_id, &Scope::Any, *status).await.unwrap();
        }
    }
    for _ in 0..8 {
        let all = listed(&house, None).await;
        assert_eq!(all.len(), 36);
        for status in Status::ALL {
            let expected: Vec<Session> = all.iter().filter(|one| one.status == *status).cloned().collect();
            assert_eq!(listed(&house, Some(*status)).await, expected, "{status}");
        }
        house.clock.advance(Duration::minutes(30));
    }
}
