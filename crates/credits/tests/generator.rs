//! Random commands, small enough to collide and now and then far out of bounds.

use std::collections::BTreeMap;

use credits::{Action, Adjustment, BALANCE_MAX, Command, HoldMode, NewGrant, NewGrantKind, ReferenceScope};
use kernel::{Actor, CallerClass, Credits, FreeForm, UserId};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// A requested change in plain numbers: micro-credits, and seconds relative to the present.
#[derive(Debug, Clone)]
pub enum Op {
    Open(i64),
    Give {
        kind: NewGrantKind,
        amount: i64,
        priority: u8,
        begins: Option<i64>,
        ends: Option<i64>,
        reference: Option<u8>,
    },
    Recharge {
        amount: i64,
        reference: Option<u8>,
    },
    Consume(i64),
    TakeWhatIsThere(i64),
    Hold {
        amount: i64,
        clamp: bool,
        seconds: i64,
        by_user: bool,
    },
    /// Of the hold that was asked for this many holds ago.
    Capture {
        back: u8,
        amount: Option<i64>,
        by_user: bool,
    },
    Release {
        back: u8,
        by_user: bool,
    },
    /// Of the charge that was asked for this many charges ago.
    Refund {
        back: u8,
        amount: Option<i64>,
    },
    Add(i64),
    Remove {
        amount: i64,
        lot: Option<u8>,
    },
    BookScheduled,
    ApplyDue,
}

/// Something that happens `wait` seconds after what came before.
#[derive(Debug, Clone)]
pub struct Step {
    pub wait: i64,
    pub op: Op,
}

/// What earlier commands of an account are called, by their numbers.
#[derive(Debug, Clone, Default)]
pub struct Names {
    holds: Vec<usize>,
    charges: Vec<usize>,
    /// Transactions of charges that were made.
    transactions: BTreeMap<usize, Uuid>,
}

/// The number of a hold or charge that nobody asked for.
pub const UNKNOWN: usize = 999_999;

/// That many holds or charges ago is never.
const NOBODY: u8 = 9;

pub fn steps(waits: std::ops::Range<i64>) -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![2 => Just(0), 2 => 1..4_i64, 1 => waits];
    let step = (wait, op()).prop_map(|(wait, op)| Step { wait, op });
    (prop::option::weighted(0.97, open()), prop::collection::vec(step, 1..40)).prop_map(
        |(first, mut steps)| {
            steps.splice(0..0, first.map(|op| Step { wait: 0, op }));
            steps
        },
    )
}

pub fn op() -> impl Strategy<Value = Op> {
    let reference = || prop::option::weighted(0.4, 0..5_u8);
    let recharge = (amount(), reference()).prop_map(|(amount, reference)| Op::Recharge { amount, reference });
    let remove =
        (amount(), prop::option::weighted(0.5, 0..6_u8)).prop_map(|(amount, lot)| Op::Remove { amount, lot });
    let capture = (back(), prop::option::weighted(0.8, captured()), by_user())
        .prop_map(|(back, amount, by_user)| Op::Capture { back, amount, by_user });
    let release = (back(), by_user()).prop_map(|(back, by_user)| Op::Release { back, by_user });
    let refund = (back(), prop::option::weighted(0.7, amount()))
        .prop_map(|(back, amount)| Op::Refund { back, amount });
    prop_oneof![
        1 => open(),
        5 => give(),
        2 => recharge,
        6 => amount().prop_map(Op::Consume),
        2 => amount().prop_map(Op::TakeWhatIsThere),
        6 => hold(),
        5 => capture,
        2 => release,
        5 => refund,
        1 => amount().prop_map(Op::Add),
        1 => remove,
        1 => Just(Op::BookScheduled),
        1 => Just(Op::ApplyDue),
    ]
}

/// The word for a reference; number 0 is the one that came with accounts of earlier versions.
pub fn reference(number: u8) -> String {
    if number == 0 { "initial".to_owned() } else { format!("payment-{number}") }
}

impl Names {
    /// Notes what a command asks for.
    pub fn note(&mut self, number: usize, op: &Op) {
        match op {
            Op::Hold { .. } => self.holds.push(number),
            Op::Consume(_) | Op::TakeWhatIsThere(_) | Op::Capture { .. } => self.charges.push(number),
            _ => {}
        }
    }

    /// Notes which transaction a command has made.
    pub fn note_transaction(&mut self, number: usize, transaction_id: Uuid) {
        self.transactions.insert(number, transaction_id);
    }

    /// The number of the command that asked for a hold this many holds ago.
    pub fn hold(&self, back: u8) -> usize {
        nth(&self.holds, back)
    }

    /// The number of the command that asked for a charge this many charges ago.
    pub fn charge(&self, back: u8) -> usize {
        nth(&self.charges, back)
    }

    /// Its transaction; an id that nothing has, if it made none.
    fn transaction(&self, back: u8) -> Uuid {
        let number = self.charge(back);
        self.transactions.get(&number).copied().unwrap_or_else(|| id(number))
    }
}

/// The oldest one where there are not so many.
fn nth(numbers: &[usize], back: u8) -> usize {
    let place = numbers.len().saturating_sub(usize::from(back) + 1);
    let named = numbers.get(place).filter(|_| back < NOBODY);
    named.copied().unwrap_or(UNKNOWN)
}

/// The command that `op` means at `now`. `number` makes its ids.
pub fn command(user: &UserId, names: &Names, number: usize, now: OffsetDateTime, op: &Op) -> Command {
    let by_user = match op {
        Op::Hold { by_user, .. } | Op::Capture { by_user, .. } | Op::Release { by_user, .. } => *by_user,
        _ => true,
    };
    let (actor, caller) = match by_user {
        true => (Actor::User, CallerClass::User),
        false => (Actor::Service, CallerClass::Service),
    };
    Command {
        user_id: user.clone(),
        actor,
        caller,
        nonce: id(number),
        description: Some(format!("step {number}")),
        metadata: FreeForm::of_texts([("step", number.to_string().as_str())]),
        action: action(names, number, now, op),
    }
}

/// The id of a hold, and the random bits of a transaction.
pub fn id(number: usize) -> Uuid {
    Uuid::from_u128(u128::try_from(number).unwrap())
}

/// The number of the command that made this transaction.
pub fn number_of(transaction_id: Uuid) -> usize {
    usize::try_from(transaction_id.as_u128() & (u128::MAX >> 66)).unwrap()
}

fn action(names: &Names, number: usize, now: OffsetDateTime, op: &Op) -> Action {
    let at = |seconds: i64| now + Duration::seconds(seconds);
    let credits = Credits::from_micro;
    match op {
        Op::Open(initial) => Action::Open { initial: credits(*initial) },
        Op::Give { kind, amount, priority, begins, ends, reference: used } => Action::Grant(NewGrant {
            kind: *kind,
            amount: credits(*amount),
            priority: *priority,
            effective_at: begins.map(at),
            expires_at: ends.map(at),
            reference_id: used.map(reference),
            scope: ReferenceScope::User,
        }),
        Op::Recharge { amount, reference: used } => Action::Recharge {
            amount: credits(*amount),
            reference_id: used.map(reference),
            scope: ReferenceScope::User,
        },
        Op::Consume(amount) => Action::Consume { amount: credits(*amount), usage_record_id: Some(7) },
        Op::TakeWhatIsThere(amount) => {
            Action::ConsumeUncollected { amount: credits(*amount), usage_record_id: None }
        }
        Op::Hold { amount, clamp, seconds, by_user: _ } => Action::Hold {
            hold_id: id(number),
            amount: credits(*amount),
            mode: if *clamp { HoldMode::Clamp } else { HoldMode::Exact },
            ttl: Duration::seconds(*seconds),
        },
        Op::Capture { back, amount, .. } => Action::Capture {
            hold_id: id(names.hold(*back)),
            amount: amount.map(credits),
            usage_record_id: Some(8),
        },
        Op::Release { back, .. } => Action::Release { hold_id: id(names.hold(*back)) },
        Op::Refund { back, amount } => Action::Refund {
            transaction_id: names.transaction(*back),
            amount: amount.map(credits),
            reason: "so it was".to_owned(),
        },
        Op::Add(amount) => adjust(*amount, Adjustment::Up),
        Op::Remove { amount, lot } => {
            let grant_id = lot.map(|lot| i64::from(lot) + 1);
            adjust(*amount, Adjustment::Down { grant_id })
        }
        Op::BookScheduled => Action::BookScheduled,
        Op::ApplyDue => Action::ApplyDue,
    }
}

fn adjust(amount: i64, adjustment: Adjustment) -> Action {
    Action::Adjust { amount: Credits::from_micro(amount), adjustment, reason: "so it is".to_owned() }
}

fn open() -> impl Strategy<Value = Op> {
    prop_oneof![6 => (0..80_i64).prop_map(Op::Open), 1 => amount().prop_map(Op::Open)]
}

fn give() -> impl Strategy<Value = Op> {
    let reference = prop::option::weighted(0.4, 0..5_u8);
    let kind = prop_oneof![Just(NewGrantKind::Purchase), Just(NewGrantKind::Plan), Just(NewGrantKind::Promo)];
    let priority = prop_oneof![4 => Just(100_u8), 1 => 98..103_u8, 1 => any::<u8>()];
    let begins = prop::option::weighted(0.4, -20..60_i64);
    let ends = prop::option::weighted(0.6, prop_oneof![2 => -3..30_i64, 1 => 20..90_i64]);
    (kind, amount(), priority, begins, ends, reference).prop_map(
        |(kind, amount, priority, begins, ends, reference)| Op::Give {
            kind,
            amount,
            priority,
            begins,
            ends,
            reference,
        },
    )
}

fn hold() -> impl Strategy<Value = Op> {
    let seconds =
        prop_oneof![20 => 1..60_i64, 1 => Just(0), 1 => Just(86_400), 1 => Just(86_401), 1 => any::<i64>()];
    (amount(), any::<bool>(), seconds, by_user()).prop_map(|(amount, clamp, seconds, by_user)| Op::Hold {
        amount,
        clamp,
        seconds,
        by_user,
    })
}

/// Whether the user themselves ask, and not a service.
fn by_user() -> impl Strategy<Value = bool> {
    prop_oneof![1 => Just(true), 1 => Just(false)]
}

/// Limits of budgets: of a day, of a month, and of a lifetime.
pub type Limits = [Option<i64>; 3];

/// Budgets that are felt, or, mostly for other tests, none.
pub fn limits() -> impl Strategy<Value = Limits> {
    let limit = || {
        prop::option::weighted(
            0.5,
            prop_oneof![8 => 1..120_i64, 1 => Just(0), 1 => Just(BALANCE_MAX.micro())],
        )
    };
    prop_oneof![1 => Just([None; 3]), 2 => [limit(), limit(), limit()]]
}

fn back() -> impl Strategy<Value = u8> {
    prop_oneof![8 => Just(0_u8), 4 => Just(1), 2 => Just(2), 1 => Just(5), 1 => Just(NOBODY)]
}

fn captured() -> impl Strategy<Value = i64> {
    prop_oneof![1 => Just(0), 8 => amount()]
}

fn amount() -> impl Strategy<Value = i64> {
    let max = BALANCE_MAX.micro();
    prop_oneof![30 => 1..60_i64, 2 => max - 80..max + 2, 1 => any::<i64>(), 1 => Just(0)]
}
