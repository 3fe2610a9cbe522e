//! A batch does what its messages would do one by one, with the same few statements whatever its size.

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text},
};
use diesel_async::RunQueryDsl;
use kernel::{Ids, Scope, SeededIds, Usd};
use pg::Tx;
use sessions::{NewMessage, Session, SessionRefusal};
use testkit::user;
use time::Duration;

use crate::support::{House, foreign, not_found};

/// Two users, three sessions: the third belongs to the second user.
async fn sessions_of_two(house: &House) -> [Session; 3] {
    [
        house.session(&user("auth0|a")).await,
        house.session(&user("auth0|a")).await,
        house.session(&user("auth0|b")).await,
    ]
}

/// Messages to known, foreign and unknown sessions, by anyone, in an order that only `seed` knows.
fn mixture(house: &House, sessions: &[Session], seed: u64, count: usize) -> Vec<NewMessage> {
    let dice = SeededIds::new(seed);
    (0..count)
        .map(|_| {
            let [at, by, tokens, cost, ..] = dice.uuid().into_bytes();
            let session_id = match sessions.get(usize::from(at) % 4) {
                Some(session) => session.session_id,
                None => house.ids.uuid(),
            };
            let scope = match by % 3 {
                0 => Scope::Any,
                1 => Scope::Own(user("auth0|a")),
                _ => Scope::Own(user("auth0|b")),
            };
            NewMessage {
                tokens_used: tokens.into(),
                cost_usd: Usd::from_nano(cost.into()),
                ..house.message_to(session_id, scope)
            }
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_equals_its_messages_one_by_one() {
    let (batched, single) = (House::build().await, House::build().await);
    let sessions = sessions_of_two(&batched).await;
    assert_eq!(sessions_of_two(&single).await, sessions);
    for (seed, size) in [(1, 1), (2, 2), (3, 7), (4, 40), (5, 3), (6, 120)] {
        let minutes = if seed == 4 { -30 } else { 1 };
        batched.clock.advance(Duration::minutes(minutes));
        single.clock.advance(Duration::minutes(minutes));
        let new = mixture(&batched, &sessions, seed, size);
        let together = batched.add(&new).await;
        let mut alone = Vec::new();
        for message in new {
            alone.append(&mut single.add(&[message]).await);
        }
        assert_eq!(together, alone, "seed {seed}");
    }
    for session in &sessions {
        let id = session.session_id;
        let found = batched.find(id).await;
        assert!(found.as_ref().unwrap().message_count > 5);
        assert_eq!(found, single.find(id).await);
        assert_eq!(batched.messages(session).await, single.messages(session).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_stand_where_their_messages_stood() {
    let house = House::build().await;
    let [one, two, other] = sessions_of_two(&house).await;
    let unknown = house.ids.uuid();
    let new = [
        house.message(&one),
        house.message(&other),
        house.message(&one),
        house.message_to(unknown, Scope::Any),
        house.message_to(other.session_id, Scope::Own(user("auth0|a"))),
        house.message(&two),
        house.message(&one),
    ];
    let outcomes = house.add(&new).await;
    let seqs: Vec<Result<i64, SessionRefusal>> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().map(|message| message.seq).map_err(Clone::clone))
        .collect();
    assert_eq!(seqs, [Ok(1), Ok(1), Ok(2), Err(not_found(unknown)), Err(foreign(&other)), Ok(1), Ok(3)]);
    for (outcome, new) in outcomes.iter().zip(&new) {
        if let Ok(message) = outcome {
            assert_eq!((message.message_id, message.session_id), (new.message_id, new.session_id));
        }
    }
}

#[derive(QueryableByName, Debug)]
struct Executed {
    #[diesel(sql_type = Text)]
    statement: String,
    #[diesel(sql_type = BigInt)]
    times: i64,
}

#[tokio::test(flavor = "multi_thread")]
async fn three_statements_do_for_any_number_of_messages() {
    let house = House::build().await;
    let sessions = sessions_of_two(&house).await;
    let pool = house.db.pool_of(1);
    for (round, size) in (1_i64..).zip([1, 200]) {
        let new = mixture(&house, &sessions, 7, size);
        let mut tx = Tx::begin(&pool).await.unwrap();
        sessions::add_messages(&mut tx, &house.clock, &new).await.unwrap();
        let executed: Vec<Executed> = pg::sql(
            "SELECT statement, generic_plans + custom_plans AS times FROM pg_prepared_statements \
             WHERE statement LIKE '%sessions.%' AND statement NOT LIKE '%pg_prepared%'",
        )
        .load(tx.conn())
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let verbs = ["SELECT", "INSERT", "UPDATE"];
        for verb in verbs {
            let times: Vec<i64> = executed
                .iter()
                .filter(|found| found.statement.starts_with(verb))
                .map(|found| found.times)
                .collect();
            assert_eq!(times, [round], "{verb} {executed:?}");
        }
        assert_eq!(executed.len(), verbs.len(), "{executed:?}");
    }
}
