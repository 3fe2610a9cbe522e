//! Transaction ids carry their place, and transactions of all kinds of ids are found.

use credits::{
    Action, Balance, Command, NewGrant, NewGrantKind, Refusal, TransactionName,
    core::{AccountState, EntryRef, apply, place},
};
use diesel_async::AsyncPgConnection;
use kernel::{Actor, UserId};
use testkit::ask_texts;
use time::Duration;
use uuid::Uuid;

use crate::support::{
    capture, command, consume, credits, database, done, hold, open, recharge, refund, run, transaction_id,
};

#[test]
fn an_effect_names_the_transaction_of_its_entries() {
    let (now, user) = (testkit::instant(), testkit::user("someone"));
    let mut state = AccountState::fresh(user.clone(), now);
    apply(&mut state, &open(&user, credits(10)), now).unwrap();
    let paid = recharge(&user, credits(1), Some("pi_1"));
    let first = apply(&mut state, &paid, now).unwrap();
    assert_eq!(first.transaction_id, transaction_id(2, &paid));
    // The first transaction, also when it is not stored yet.
    let again = apply(&mut state, &recharge(&user, credits(1), Some("pi_1")), now).unwrap();
    assert_eq!((again.replayed, again.transaction_id), (true, first.transaction_id));
    let begin = now + Duration::HOUR;
    let gift = NewGrant { effective_at: Some(begin), ..NewGrant::new(NewGrantKind::Promo, credits(1)) };
    let gift = apply(&mut state, &command(&user, Action::Grant(gift)), now).unwrap();
    let (hold_id, held) = hold(&user, credits(2));
    apply(&mut state, &held, now).unwrap();
    // A capture of nothing has no entry to show, and the release is of its transaction.
    let nothing = capture(&user, hold_id, Some(credits(0)));
    let freed = apply(&mut state, &nothing, now).unwrap();
    assert_eq!((freed.entry, freed.transaction_id), (EntryRef::Nothing, transaction_id(4, &nothing)));
    let late = consume(&user, credits(1));
    let charged = apply(&mut state, &late, begin).unwrap();
    assert_eq!(charged.transaction_id, transaction_id(6, &late));
    let ids: Vec<Uuid> = state.journal().iter().map(|entry| entry.transaction_id).collect();
    assert_eq!(ids[3..], [freed.transaction_id, gift.transaction_id, charged.transaction_id]);
    assert_eq!(gift.grant.unwrap().transaction_id, Some(gift.transaction_id));
}

/// The transaction ids of all entries, in the order of the journal.
async fn all_ids(conn: &mut AsyncPgConnection) -> Vec<Uuid> {
    let ids = "SELECT transaction_id::text FROM credits.entries ORDER BY seq";
    ask_texts(conn, ids).await.unwrap().iter().map(|id| id.parse().unwrap()).collect()
}

async fn found(conn: &mut AsyncPgConnection, user: &UserId, id: Uuid) -> Option<i64> {
    let name = TransactionName::Transaction(id);
    credits::find_transaction(conn, user, name).await.unwrap().map(|entry| entry.seq)
}

/// Posted and held credit that a transaction left, in whole credits; 99 if it is not found.
async fn left(conn: &AsyncPgConnection, user: &UserId, id: Uuid) -> [i64; 2] {
    let wanted = [(user.clone(), id)].into();
    let (unknown, nothing) = (credits(99), credits(0));
    let present = Balance { posted: unknown, held: unknown, lifetime_granted: nothing };
    let traces = credits::trace(conn, &wanted).await.unwrap();
    let balance = traces[&(user.clone(), id)].balance(present);
    [balance.posted, balance.held].map(|amount| amount.micro() / 1_000_000)
}

#[tokio::test]
async fn transactions_are_found_by_ids_of_all_kinds() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    let (pool, at) = (db.pool(), |minutes| Some(testkit::instant() + Duration::minutes(minutes)));
    let (hold_id, held) = hold(&user, credits(2));
    let gift =
        NewGrant { effective_at: at(1), expires_at: at(2), ..NewGrant::new(NewGrantKind::Promo, credits(4)) };
    let capture = capture(&user, hold_id, Some(credits(1)));
    let commands = [open(&user, credits(20)), consume(&user, credits(3)), held, capture];
    run(pool, &clock, &commands).await;
    done(pool, &clock, command(&user, Action::Grant(gift))).await;
    clock.advance(Duration::minutes(3));
    // A charge of the system itself: its id has a place, and the index has it, too.
    done(pool, &clock, Command { actor: Actor::System, ..consume(&user, credits(1)) }).await;
    let mut conn = db.connect().await;
    let made = all_ids(&mut conn).await;
    // Entry 6 books the gift, and entry 7 is its end; the release has the id of the capture before it.
    let places: Vec<_> = made.iter().map(|id| place(*id)).collect();
    assert_eq!(places[..5], [1, 2, 3, 4, 4].map(Some));
    assert_eq!((places[7], made[3] == made[4]), (Some(8), true));
    assert!(made[5..7].iter().all(|id| place(*id).unwrap() > 8), "{made:?}");
    // An id of an earlier version; and of due items, as unlucky as a digest can be: of its own place, and of that of another.
    db.run_as_superuser(
        "ALTER TABLE credits.entries DISABLE TRIGGER USER;
         UPDATE credits.entries SET transaction_id = CASE seq WHEN 2 THEN 'ffffffff-ffff-4fff-bfff-ffffffffffff'::uuid
           WHEN 6 THEN '00000000-0006-8fff-bfff-ffffffffffff' ELSE '00000000-0008-8fff-bfff-ffffffffffff' END
         WHERE seq IN (2, 6, 7);
         ALTER TABLE credits.entries ENABLE TRIGGER USER",
    )
    .await;
    let ids = all_ids(&mut conn).await;
    let mut seqs = Vec::new();
    let mut balances = Vec::new();
    for id in &ids {
        seqs.push(found(&mut conn, &user, *id).await);
        balances.push(left(&conn, &user, *id).await);
    }
    assert_eq!(seqs, [Some(1), Some(2), None, Some(4), Some(4), Some(6), Some(7), Some(8)]);
    let left_by = [[20, 0], [17, 0], [17, 2], [16, 0], [16, 0], [20, 0], [16, 0], [15, 0]];
    assert_eq!(balances, left_by);
    let unknown = credits::core::transaction_id(8, Uuid::nil()).unwrap();
    for (id, owner) in [(unknown, &user), (Uuid::nil(), &user), (ids[7], &testkit::user("other"))] {
        assert_eq!(found(&mut conn, owner, id).await, None, "{id}");
    }
    for (number, id) in ids.iter().enumerate() {
        let result = run(pool, &clock, &[refund(&user, *id, Some(credits(1)))]).await.remove(0);
        match number + 1 {
            2 | 4 | 8 => assert!(result.is_ok(), "{id}"),
            // All was given back.
            5 => assert!(matches!(result, Err(Refusal::RefundExceedsCharge { .. }))),
            _ => assert_eq!(result, Err(Refusal::TransactionNotFound { transaction_id: *id })),
        }
    }
}

#[tokio::test]
async fn the_repeated_answer_to_a_grant_shows_what_remains_of_it_now() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    let expires_at = Some(testkit::instant() + Duration::DAY);
    let gift = NewGrant { expires_at, ..NewGrant::new(NewGrantKind::Promo, credits(4)) };
    let gift = command(&user, Action::Grant(gift));
    run(db.pool(), &clock, &[open(&user, credits(20)), gift.clone()]).await;
    // A batch of its own, which writes nothing but the account.
    let spent = done(db.pool(), &clock, consume(&user, credits(1))).await;
    let wanted = (user, transaction_id(2, &gift));
    let conn = db.connect().await;
    let traces = credits::trace(&conn, &[wanted.clone()].into()).await.unwrap();
    let again = traces[&wanted].applied(&gift.action, spent.balance, testkit::instant());
    assert_eq!(again.grant.unwrap().remaining, credits(3));
}
