//! The form of stored answers, which never changes: later versions read what this one wrote.

use credits::{
    Balance, BudgetPeriod, Effect, GrantKind, GrantStatus, GrantView, HoldStatus, HoldView, Refusal,
};
use kernel::{CallerClass, Credits, FreeForm};
use time::{Duration, macros::datetime};
use usage::{UsageRefusal, rating::TokenClass};

use super::*;
use crate::{
    operations::metering::{MeterRefusal, RecordedEffect},
    session_keys::Made,
};

const AT: OffsetDateTime = datetime!(2026-01-02 03:04:05.678901 UTC);

fn micro(number: i64) -> Credits {
    Credits::from_micro(number)
}

fn effect() -> Effect {
    let hold = HoldView {
        hold_id: Uuid::from_u128(7),
        made_by: CallerClass::User,
        requested: micro(1),
        amount: micro(2),
        captured: micro(3),
        released: micro(4),
        uncollected: micro(5),
        status: HoldStatus::Captured,
        expires_at: AT + Duration::SECOND,
        description: None,
        metadata: FreeForm::object(r#"{"b":1.50,"a":[1e2]}"#).unwrap(),
        created_at: AT,
        resolved_at: Some(AT + Duration::MICROSECOND),
        entry_seq: 6,
    };
    let grant = GrantView {
        grant_id: 8,
        kind: GrantKind::Purchase,
        paid: true,
        amount: micro(9),
        remaining: micro(10),
        held: micro(11),
        priority: 100,
        effective_at: AT,
        expires_at: None,
        status: GrantStatus::Scheduled,
        reference_id: Some("pi_1".to_owned()),
        transaction_id: Some(Uuid::from_u128(12)),
        description: Some("a gift".to_owned()),
        metadata: FreeForm::empty(),
        created_at: AT,
    };
    Effect {
        transaction_id: Uuid::nil(),
        entry: credits::core::EntryRef::Nothing,
        balance: Balance { posted: micro(13), held: micro(14), lifetime_granted: micro(15) },
        hold: Some(Box::new(hold)),
        grant: Some(Box::new(grant)),
        uncollected: micro(16),
        replayed: true,
    }
}

fn stored(answer: NewAnswer) -> (serde_json::Value, idempotency::Content) {
    let json = serde_json::from_str(&answer.json).unwrap();
    (json, idempotency::Content::Whole { json: answer.json, link: answer.link })
}

fn link() -> Link {
    Link { transaction_id: Uuid::from_u128(1), usage_record_id: Some(2) }
}

/// Answers are read by later versions: what this form says never changes.
#[test]
fn effects_are_written_as_they_always_were() {
    let (json, _) = stored(applied(AT, Some(17), link(), &effect()).unwrap());
    let golden = r#"{"v":1,"at":1767323045678901,"entry_seq":17,"result":{"applied":{
        "posted":13,"held":14,"lifetime_granted":15,"uncollected":16,"replayed":true,
        "hold":{"hold_id":"00000000-0000-0000-0000-000000000007","made_by":"user","requested":1,"amount":2,"captured":3,
            "released":4,"uncollected":5,"status":"captured","expires_at":1767323046678901,"description":null,
            "metadata":{"b":1.50,"a":[1e2]},"created_at":1767323045678901,"resolved_at":1767323045678902,"entry_seq":6},
        "grant":{"grant_id":8,"kind":"purchase","paid":true,"amount":9,"remaining":10,"held":11,"priority":100,
            "effective_at":1767323045678901,"expires_at":null,"status":"scheduled","reference_id":"pi_1",
            "transaction_id":"00000000-0000-0000-0000-00000000000c","description":"a gift","metadata":{},
            "created_at":1767323045678901}}}}"#;
    assert_eq!(json, serde_json::from_str::<serde_json::Value>(golden).unwrap());
    let form: Form<Effect, Refusal> = serde_json::from_str(golden).unwrap();
    let FormResult::Applied(read) = form.result else { panic!() };
    assert_eq!((read, form.at, form.entry_seq), (effect(), AT, Some(17)));
    let bare = r#"{"v":1,"at":0,"entry_seq":null,"result":{"applied":{"posted":1,"held":0,"lifetime_granted":1,
        "uncollected":0,"replayed":false,"hold":null,"grant":null}}}"#;
    let form: Form<Effect, Refusal> = serde_json::from_str(bare).unwrap();
    let FormResult::Applied(read) = form.result else { panic!() };
    assert_eq!((read.balance.posted, read.hold, read.grant), (micro(1), None, None));
}

/// Refusals of the ledger that are remembered, with what is stored of them.
fn ledger_refusals() -> Vec<(Refusal, &'static str)> {
    let resets_at = Some(AT);
    let (period, hold_id) = (BudgetPeriod::Lifetime, Uuid::from_u128(7));
    vec![
        (
            Refusal::InsufficientCredits {
                available: micro(1),
                required: micro(2),
                balance: micro(3),
                held: micro(4),
            },
            r#"{"insufficient_credits":{"available":1,"required":2,"balance":3,"held":4}}"#,
        ),
        (
            Refusal::BudgetExceeded { period, limit: micro(1), spent: micro(2), held: micro(3), resets_at },
            r#"{"budget_exceeded":{"period":"lifetime","limit":1,"spent":2,"held":3,"resets_at":1767323045678901}}"#,
        ),
        (
            Refusal::BudgetExceeded {
                period: BudgetPeriod::Day,
                limit: micro(1),
                spent: micro(2),
                held: micro(3),
                resets_at: None,
            },
            r#"{"budget_exceeded":{"period":"day","limit":1,"spent":2,"held":3,"resets_at":null}}"#,
        ),
        (Refusal::BalanceLimit, r#""balance_limit""#),
        (
            Refusal::ReferenceConflict { transaction_id: hold_id },
            r#"{"reference_conflict":{"transaction_id":"00000000-0000-0000-0000-000000000007"}}"#,
        ),
        (Refusal::ReferenceTaken, r#""reference_taken""#),
        (
            Refusal::HoldNotFound { hold_id },
            r#"{"hold_not_found":{"hold_id":"00000000-0000-0000-0000-000000000007"}}"#,
        ),
        (
            Refusal::HoldNotOpen { hold_status: HoldStatus::Expired, resolved_at: AT },
            r#"{"hold_not_open":{"hold_status":"expired","resolved_at":1767323045678901}}"#,
        ),
        (
            Refusal::TransactionNotFound { transaction_id: hold_id },
            r#"{"transaction_not_found":{"transaction_id":"00000000-0000-0000-0000-000000000007"}}"#,
        ),
        (
            Refusal::RefundExceedsCharge { refundable: micro(1), charged: micro(2), refunded: micro(3) },
            r#"{"refund_exceeds_charge":{"refundable":1,"charged":2,"refunded":3}}"#,
        ),
    ]
}

/// The same of usage.
fn usage_refusals() -> Vec<(UsageRefusal, &'static str)> {
    vec![
        (
            UsageRefusal::UsageConflict { event_id: "e \"1\"".to_owned() },
            r#"{"refusal":"usage_conflict","event_id":"e \"1\""}"#,
        ),
        (
            UsageRefusal::PriceNotFound {
                provider: None,
                model_name: Some("gpt-4".to_owned()),
                token_class: Some(TokenClass::CacheWrite5m),
            },
            r#"{"refusal":"price_not_found","model_name":"gpt-4","token_class":"cache_write_5m"}"#,
        ),
        (
            UsageRefusal::PriceNotFound {
                provider: Some("p".to_owned()),
                model_name: None,
                token_class: None,
            },
            r#"{"refusal":"price_not_found","provider":"p"}"#,
        ),
        (UsageRefusal::UsageRecordNotFound { id: 7 }, r#"{"refusal":"usage_record_not_found","id":"7"}"#),
        (
            UsageRefusal::AlreadyCorrected { id: i64::MAX },
            r#"{"refusal":"already_corrected","id":"9223372036854775807"}"#,
        ),
    ]
}

#[test]
fn refusals_are_written_as_they_always_were() {
    let golden = |refusal: &str| {
        let text =
            format!(r#"{{"v":1,"at":1767323045678901,"entry_seq":null,"result":{{"refused":{refusal}}}}}"#);
        (serde_json::from_str::<serde_json::Value>(&text).unwrap(), text)
    };
    let read = |text: &str| -> MeterRefusal {
        let form: Form<RecordedEffect, MeterRefusal> = serde_json::from_str(text).unwrap();
        let FormResult::Refused(refusal) = form.result else { panic!("{text}") };
        refusal
    };
    for (refusal, said) in ledger_refusals() {
        let (value, text) = golden(said);
        assert!(refusal.is_remembered());
        assert_eq!(stored(refused(AT, &refusal).unwrap()).0, value);
        let form: Form<Effect, Refusal> = serde_json::from_str(&text).unwrap();
        assert!(matches!(form.result, FormResult::Refused(read) if read == refusal));
        let metered = MeterRefusal::Ledger(refusal);
        assert_eq!(stored(refused(AT, &metered).unwrap()).0, value);
        assert_eq!(read(&text), metered);
    }
    for (refusal, said) in usage_refusals() {
        let (value, text) = golden(&format!(r#"{{"outside":{{"reason":{said}}}}}"#));
        let refusal = MeterRefusal::Usage(refusal);
        assert!(refusal.is_remembered());
        assert_eq!(stored(refused(AT, &refusal).unwrap()).0, value);
        assert_eq!(read(&text), refusal);
    }
}

#[test]
fn what_is_not_remembered_cannot_be_written() {
    let user_id = || "a".parse().unwrap();
    for refusal in [
        Refusal::UserNotFound { user_id: user_id() },
        Refusal::ReservedReference,
        Refusal::HoldOfService { hold_id: Uuid::nil() },
        Refusal::InvalidAmount { amount: micro(0), limit: micro(1) },
        Refusal::InvalidPeriod(credits::PeriodFault::Expiry),
        Refusal::MissingReason,
        Refusal::TooManyHolds { limit: 1 },
    ] {
        assert!(!refusal.is_remembered() && refused(AT, &refusal).is_err(), "{refusal:?}");
    }
    let refusal = MeterRefusal::Usage(UsageRefusal::PartExceedsWhole);
    assert!(!refusal.is_remembered() && refused(AT, &refusal).is_err());
}

/// The form in which the version before reads every answer: it knows no other.
#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "what is read is not looked at, only that it can be")]
struct FormerEffect {
    posted: i64,
    held: i64,
    lifetime_granted: i64,
    uncollected: i64,
    replayed: bool,
    hold: Option<serde_json::Value>,
    grant: Option<serde_json::Value>,
}

#[test]
fn what_usage_stores_is_read_by_the_version_before() {
    let (json, content) = stored(applied(AT, None, link(), &RecordedEffect::uncharged()).unwrap());
    let effect = &json["result"]["applied"];
    let zeros = serde_json::json!({"posted": 0, "held": 0, "lifetime_granted": 0, "uncollected": 0, "replayed": false,
        "uncharged": true});
    assert_eq!(*effect, zeros);
    assert!(serde_json::from_value::<FormerEffect>(effect.clone()).is_ok());
    let idempotency::Content::Whole { json, .. } = content else { panic!() };
    assert!(serde_json::from_str::<Form<RecordedEffect, MeterRefusal>>(&json).is_ok());
    // That version stored what only the ledger has, also a number that no double holds.
    let earlier = r#"{"v":1,"at":0,"entry_seq":null,"result":{"applied":{"posted":5,"held":0,"lifetime_granted":7,
        "uncollected":2,"replayed":true,"hold":{"metadata":{"n":1e400}},"grant":null}}}"#;
    let form: Form<RecordedEffect, MeterRefusal> = serde_json::from_str(earlier).unwrap();
    let FormResult::Applied(effect) = form.result else { panic!() };
    let expected = serde_json::json!({"posted": 5, "held": 0, "lifetime_granted": 7, "uncollected": 2, "replayed": true});
    assert_eq!(serde_json::to_value(&effect).unwrap(), expected);
}

#[test]
fn what_was_made_of_sessions_is_written_as_it_always_was() {
    let made = Made { id: Some(736), seq: Some(3) };
    let (json, content) = stored(applied(AT, None, link(), &made).unwrap());
    let golden = r#"{"v":1,"at":1767323045678901,"entry_seq":null,"result":{"applied":{"id":736,"seq":3}}}"#;
    assert_eq!(json, serde_json::from_str::<serde_json::Value>(golden).unwrap());
    // Earlier versions noted nothing.
    let old = r#"{"v":1,"at":1767323045678901,"entry_seq":null,"result":{"applied":{}}}"#.to_owned();
    for (content, expected) in [
        (content, (Some(736), Some(3))),
        (idempotency::Content::Whole { json: old, link: Some(link()) }, (None, None)),
    ] {
        let idempotency::Content::Whole { json, .. } = content else { panic!() };
        let form: Form<Made, ()> = serde_json::from_str(&json).unwrap();
        let FormResult::Applied(made) = form.result else { panic!() };
        assert_eq!((made.id, made.seq), expected);
    }
}
