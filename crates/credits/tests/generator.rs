//! Random commands, small enough to collide and now and then far out of bounds.

use credits::{Action, BALANCE_MAX, Command, NewGrant, NewGrantKind};
use kernel::{Actor, Credits, FreeForm, UserId};
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
    ApplyDue,
}

/// Something that happens `wait` seconds after what came before.
#[derive(Debug, Clone)]
pub struct Step {
    pub wait: i64,
    pub op: Op,
}

pub fn steps(waits: std::ops::Range<i64>) -> impl Strategy<Value = Vec<Step>> {
    let step = (waits, op()).prop_map(|(wait, op)| Step { wait, op });
    (
        prop::option::weighted(0.95, open()),
        prop::collection::vec(step, 1..40),
    )
        .prop_map(|(first, mut steps)| {
            steps.splice(0..0, first.map(|op| Step { wait: 0, op }));
            steps
        })
}

pub fn op() -> impl Strategy<Value = Op> {
    let reference = || prop::option::weighted(0.4, 0..5_u8);
    let kind = prop_oneof![
        Just(NewGrantKind::Purchase),
        Just(NewGrantKind::Plan),
        Just(NewGrantKind::Promo)
    ];
    let priority = prop_oneof![4 => Just(100_u8), 1 => 98..103_u8, 1 => any::<u8>()];
    let begins = prop::option::weighted(0.4, -20..60_i64);
    let ends = prop::option::weighted(0.6, -3..90_i64);
    let give = (kind, amount(), priority, begins, ends, reference()).prop_map(
        |(kind, amount, priority, begins, ends, reference)| Op::Give {
            kind,
            amount,
            priority,
            begins,
            ends,
            reference,
        },
    );
    let recharge = (amount(), reference()).prop_map(|(amount, reference)| Op::Recharge { amount, reference });
    prop_oneof![
        1 => open(),
        5 => give,
        2 => recharge,
        8 => amount().prop_map(Op::Consume),
        1 => Just(Op::ApplyDue),
    ]
}

/// The word for a reference; number 0 is the one that comes with the account.
pub fn reference(number: u8) -> String {
    if number == 0 {
        "initial".to_owned()
    } else {
        format!("payment-{number}")
    }
}

/// The command that `op` means at `now`. `number` makes its transaction id.
pub fn command(user: &UserId, number: usize, now: OffsetDateTime, op: &Op) -> Command {
    let at = |seconds: i64| now + Duration::seconds(seconds);
    let action = match op {
        Op::Open(initial) => Action::Open {
            initial: Credits::from_micro(*initial),
        },
        Op::Give {
            kind,
            amount,
            priority,
            begins,
            ends,
            reference: used,
        } => Action::Grant(NewGrant {
            kind: *kind,
            amount: Credits::from_micro(*amount),
            priority: *priority,
            effective_at: begins.map(at),
            expires_at: ends.map(at),
            reference_id: used.map(reference),
        }),
        Op::Recharge {
            amount,
            reference: used,
        } => Action::Recharge {
            amount: Credits::from_micro(*amount),
            reference_id: used.map(reference),
        },
        Op::Consume(amount) => Action::Consume {
            amount: Credits::from_micro(*amount),
            usage_record_id: Some(7),
        },
        Op::ApplyDue => Action::ApplyDue,
    };
    Command {
        user_id: user.clone(),
        actor: Actor::User,
        transaction_id: transaction_id(number),
        description: Some(format!("step {number}")),
        metadata: FreeForm::of_texts([("step", number.to_string().as_str())]),
        action,
    }
}

pub fn transaction_id(number: usize) -> Uuid {
    Uuid::from_u128(u128::try_from(number).unwrap())
}

fn open() -> impl Strategy<Value = Op> {
    prop_oneof![6 => (0..80_i64).prop_map(Op::Open), 1 => amount().prop_map(Op::Open)]
}

fn amount() -> impl Strategy<Value = i64> {
    let max = BALANCE_MAX.micro();
    prop_oneof![30 => 1..60_i64, 2 => max - 80..max + 2, 1 => any::<i64>(), 1 => Just(0)]
}
