//! Lists: their order, and going through them while they grow.

use diesel_async::SimpleAsyncConnection;
use kernel::{FreeForm, Page, Slice, Start, TimePlace, page::LIMIT_MAX};
use sessions::{
    CONTENT_BYTES_MAX, Message, MessageFilter, NewMessage, NewSession, Role, Session, SessionFilter, Status,
};
use testkit::user;
use time::Duration;
use tokio::task::JoinHandle;

use crate::support::{House, add};

async fn sessions_page(house: &House, page: Page<TimePlace>) -> Slice<Session, TimePlace> {
    let mut conn = house.pool().get().await.unwrap();
    let (user, filter) = (user("auth0|a"), SessionFilter::default());
    sessions::list(&mut conn, &house.clock, &user, filter, &page).await.unwrap()
}

async fn messages_page(house: &House, session: &Session, page: Page<i64>) -> Slice<Message, i64> {
    let mut conn = house.pool().get().await.unwrap();
    sessions::messages(&mut conn, session, MessageFilter::default(), &page).await.unwrap()
}

/// Ten sessions, three of them created at each instant, and one of another user between.
async fn ten_sessions(house: &House) -> Vec<i64> {
    let mut ids = Vec::new();
    for nth in 0..10 {
        if nth % 3 == 0 {
            house.clock.advance(Duration::SECOND);
            house.session(&user("auth0|b")).await;
        }
        ids.push(house.session(&user("auth0|a")).await.id);
    }
    ids.reverse();
    ids
}

fn ids(sessions: &[Session]) -> Vec<i64> {
    sessions.iter().map(|session| session.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_newest_first_and_only_to_their_user() {
    let house = House::build().await;
    let expected = ten_sessions(&house).await;
    let all = sessions_page(&house, Page::first(50)).await;
    assert_eq!(ids(&all.items), expected);
    assert_eq!(all.next, None);
    for (limit, offset) in [(3, 0), (3, 3), (1, 9), (10, 0), (5, 8), (5, 10), (5, 99)] {
        let page = sessions_page(&house, Page::new(limit, Start::Offset(offset)).unwrap()).await;
        let from = usize::try_from(offset).unwrap().min(10);
        let to = usize::try_from(offset + limit).unwrap().min(10);
        assert_eq!(ids(&page.items), expected[from..to], "{limit} from {offset}");
        assert_eq!(page.next.is_some(), to < 10, "{limit} from {offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn going_through_sessions_meets_each_once_while_new_ones_are_created() {
    let house = House::build().await;
    let expected = ten_sessions(&house).await;
    for limit in [1, 2, 3, 4, 9, 10] {
        let mut met = Vec::new();
        let mut page = Page::first(limit);
        // Those of earlier rounds are newer than the ten and come first.
        loop {
            let slice = sessions_page(&house, page).await;
            met.extend(ids(&slice.items));
            house.session(&user("auth0|a")).await;
            house.clock.advance(Duration::milliseconds(1));
            match slice.next {
                Some(place) => page = Page::new(limit, Start::After(place)).unwrap(),
                None => break,
            }
        }
        let (newer, ten) = met.split_at(met.len() - 10);
        assert_eq!(ten, expected, "{limit}");
        assert!(newer.is_sorted_by(|a, b| a > b), "{limit}: {newer:?}");
        assert!(newer.iter().all(|id| !expected.contains(id)), "{limit}: {newer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filtered_pages_are_full() {
    let house = House::build().await;
    let all = ten_sessions(&house).await;
    let mut conn = house.pool().get().await.unwrap();
    let listed = sessions_page(&house, Page::first(50)).await.items;
    for session in listed.iter().step_by(2) {
        house.set_status(session.session_id, &kernel::Scope::Any, Status::Archived).await.unwrap();
    }
    let filter = SessionFilter { status: Some(Status::Active) };
    let first =
        sessions::list(&mut conn, &house.clock, &user("auth0|a"), filter, &Page::first(3)).await.unwrap();
    assert_eq!(ids(&first.items), [all[1], all[3], all[5]]);
    let rest = Page::new(3, Start::After(first.next.unwrap())).unwrap();
    let rest = sessions::list(&mut conn, &house.clock, &user("auth0|a"), filter, &rest).await.unwrap();
    assert_eq!(ids(&rest.items), [all[7], all[9]]);
    assert_eq!(rest.next, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_listed_oldest_first_by_offset_and_by_place() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    let other = house.session(&user("auth0|a")).await;
    let new: Vec<_> = (0..10).flat_map(|_| [house.message(&session), house.message(&other)]).collect();
    house.add(&new).await;
    let seqs = |slice: &Slice<Message, i64>| -> Vec<i64> {
        assert!(slice.items.iter().all(|one| one.session_id == session.session_id));
        slice.items.iter().map(|one| one.seq).collect()
    };
    for (limit, start, expected, next) in [
        (3, Start::Offset(0), vec![1, 2, 3], Some(3)),
        (3, Start::Offset(8), vec![9, 10], None),
        (2, Start::Offset(8), vec![9, 10], None),
        (5, Start::Offset(10), vec![], None),
        (4, Start::After(3), vec![4, 5, 6, 7], Some(7)),
        (500, Start::After(9), vec![10], None),
        (1, Start::After(10), vec![], None),
    ] {
        let slice = messages_page(&house, &session, Page::new(limit, start).unwrap()).await;
        assert_eq!((seqs(&slice), slice.next), (expected, next));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_speaker_are_paged_like_all() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    let roles = [Role::User, Role::Assistant, Role::Tool];
    let new: Vec<_> =
        (0..10).map(|nth| NewMessage { role: roles[nth % 3], ..house.message(&session) }).collect();
    house.add(&new).await;
    let mut conn = house.pool().get().await.unwrap();
    for (role, limit, start, expected, next) in [
        (Role::User, 3, Start::Offset(0), vec![1, 4, 7], Some(7)),
        (Role::User, 4, Start::Offset(0), vec![1, 4, 7, 10], None),
        (Role::User, 2, Start::After(4), vec![7, 10], None),
        (Role::Assistant, 2, Start::Offset(0), vec![2, 5], Some(5)),
        (Role::Assistant, 2, Start::Offset(1), vec![5, 8], None),
        (Role::Assistant, 2, Start::After(5), vec![8], None),
        // A place need not be that of a message the filter lets through.
        (Role::Assistant, 1, Start::After(3), vec![5], Some(5)),
        (Role::Tool, 9, Start::Offset(3), vec![], None),
        (Role::System, 9, Start::Offset(0), vec![], None),
    ] {
        let (filter, page) = (MessageFilter { role: Some(role) }, Page::new(limit, start).unwrap());
        let slice = sessions::messages(&mut conn, &session, filter, &page).await.unwrap();
        let seqs: Vec<i64> = slice.items.iter().map(|one| one.seq).collect();
        assert_eq!((seqs, slice.next), (expected, next), "{role:?} {page:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn going_through_messages_meets_each_once_while_writers_add() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let (pool, clock) = (house.pool().clone(), house.clock.clone());
            let batches: Vec<_> =
                (1..=10).map(|size| (0..size).map(|_| house.message(&session)).collect::<Vec<_>>()).collect();
            tokio::spawn(async move {
                for batch in batches {
                    for outcome in add(&pool, &clock, &batch).await {
                        outcome.unwrap();
                    }
                }
            })
        })
        .collect();
    let mut met: Vec<i64> = Vec::new();
    loop {
        let done = writers.iter().all(JoinHandle::is_finished);
        let start = met.last().map_or(Start::Offset(0), |seq| Start::After(*seq));
        let slice = messages_page(&house, &session, Page::new(7, start).unwrap()).await;
        met.extend(slice.items.iter().map(|one| one.seq));
        if done && slice.next.is_none() {
            break;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(met, (1..=220).collect::<Vec<i64>>());
}

/// A JSON object of about this many bytes, which compresses to next to nothing.
fn object_of(bytes: usize) -> FreeForm {
    FreeForm::object(&format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes))).unwrap()
}

/// The seqs of each page, going on by place until there is no more.
async fn pages_of_messages(house: &House, session: &Session) -> Vec<Vec<i64>> {
    let mut pages = Vec::new();
    let mut page = Page::first(LIMIT_MAX);
    loop {
        let slice = messages_page(house, session, page).await;
        pages.push(slice.items.iter().map(|one| one.seq).collect());
        match slice.next {
            Some(seq) => page = Page::new(LIMIT_MAX, Start::After(seq)).unwrap(),
            None => return pages,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_come_in_several_pages_without_gap_or_repeat() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    let large = || NewMessage { content: "x".repeat(CONTENT_BYTES_MAX), ..house.message(&session) };
    house.add(&(0..10).map(|_| large()).collect::<Vec<_>>()).await;
    // With its metadata, a message is a little over 1 MiB, so the fourth does not fit into 4 MiB.
    let pages = pages_of_messages(&house, &session).await;
    assert_eq!(pages, [vec![1, 2, 3], vec![4, 5, 6], vec![7, 8, 9], vec![10]]);

    let (mut by_offset, mut offset) = (Vec::new(), 0);
    loop {
        let slice = messages_page(&house, &session, Page::new(4, Start::Offset(offset)).unwrap()).await;
        by_offset.push(slice.items.iter().map(|one| one.seq).collect::<Vec<i64>>());
        offset += i64::try_from(slice.items.len()).unwrap();
        if slice.next.is_none() {
            break;
        }
    }
    assert_eq!(by_offset, pages);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_counts_by_its_text_and_not_by_what_compression_makes_of_it() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    let attached = || NewMessage {
        content: String::new(),
        tool_calls: Some(FreeForm::array(&format!("[{}]", object_of(250_000).as_json())).unwrap()),
        message_metadata: object_of(250_000),
        ..house.message(&session)
    };
    house.add(&(0..20).map(|_| attached()).collect::<Vec<_>>()).await;
    // Half a million bytes each: eight of them fit into 4 MiB.
    let pages = pages_of_messages(&house, &session).await;
    assert_eq!(pages, [(1..=8).collect::<Vec<i64>>(), (9..=16).collect(), (17..=20).collect()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_sessions_come_in_several_pages_and_the_first_always_comes() {
    let house = House::build().await;
    let mut expected = Vec::new();
    for _ in 0..20 {
        let new = NewSession {
            conversation_data: object_of(250_000),
            metadata: object_of(250_000),
            ..house.new_session(&user("auth0|a"))
        };
        expected.push(house.create(&new).await.id);
    }
    expected.reverse();
    let (mut met, mut sizes) = (Vec::new(), Vec::new());
    let mut page = Page::first(LIMIT_MAX);
    loop {
        let slice = sessions_page(&house, page).await;
        met.extend(ids(&slice.items));
        sizes.push(slice.items.len());
        match slice.next {
            Some(place) => page = Page::new(LIMIT_MAX, Start::After(place)).unwrap(),
            None => break,
        }
    }
    assert_eq!((met, sizes), (expected.clone(), vec![8, 8, 4]));

    // A summary has no limit of its own: one that is larger than a page still comes, alone.
    let mut conn = house.pool().get().await.unwrap();
    let grow = format!(
        "UPDATE sessions.sessions SET session_summary = repeat('x', 5000000) WHERE id = {}",
        expected[0]
    );
    conn.batch_execute(&grow).await.unwrap();
    let first = sessions_page(&house, Page::first(LIMIT_MAX)).await;
    assert_eq!(ids(&first.items), [expected[0]]);
    let rest = Page::new(LIMIT_MAX, Start::After(first.next.unwrap())).unwrap();
    assert_eq!(ids(&sessions_page(&house, rest).await.items), expected[1..9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn places_and_offsets_at_the_ends_of_their_range_are_served() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    house.add(&[house.message(&session)]).await.remove(0).unwrap();
    for (start, expected) in [
        (Start::After(i64::MIN), 1),
        (Start::After(-1), 1),
        (Start::After(i64::MAX), 0),
        (Start::Offset(i64::MAX), 0),
    ] {
        let slice = messages_page(&house, &session, Page::new(500, start).unwrap()).await;
        assert_eq!(slice.items.len(), expected);
    }
    let (first, last) = ("-62135596800000000000:-1", "253402300799999999000:9223372036854775807");
    for (start, expected) in [
        (Start::After(first.parse().unwrap()), 0),
        (Start::After(last.parse().unwrap()), 1),
        (Start::Offset(i64::MAX), 0),
    ] {
        let slice = sessions_page(&house, Page::new(500, start).unwrap()).await;
        assert_eq!(slice.items.len(), expected);
    }
}
