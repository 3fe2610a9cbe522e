//! What a request asked for, as a hash.

use kernel::{Actor, Credits};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::{
    model::{Action, Adjustment, GrantKind, HoldMode, idempotency::FINGERPRINT_BYTES},
    port::Request,
};

/// The words of a request; an absent one differs from an empty one.
type Words = Vec<Option<String>>;

/// What was asked, but for what this program adds to it (ids). Kept with keys, so it must stay the same in later versions.
pub fn fingerprint(request: &Request, actor: Actor, action: &Action) -> [u8; FINGERPRINT_BYTES] {
    let mut words: Words = vec![
        word("v1"),
        word(actor.as_str()),
        request.description.clone(),
        word(request.metadata.as_json()),
    ];
    words.extend(asked(action));
    let mut hash = Sha256::new();
    for word in words {
        // With its length before it no word can pass for two.
        match word {
            None => hash.update([0]),
            Some(text) => {
                hash.update([1]);
                hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
                hash.update(text);
            }
        }
    }
    hash.finalize().into()
}

fn asked(action: &Action) -> Words {
    match action {
        Action::Open { initial } => vec![word("open"), credits(*initial)],
        Action::Grant(new) => vec![
            word("grant"),
            word(GrantKind::from(new.kind).as_str()),
            credits(new.amount),
            Some(new.priority.to_string()),
            new.effective_at.map(instant),
            new.expires_at.map(instant),
            new.reference_id.clone(),
        ],
        Action::Recharge { amount, reference_id } => {
            vec![word("recharge"), credits(*amount), reference_id.clone()]
        }
        Action::Consume {
            amount,
            usage_record_id,
        } => vec![word("consume"), credits(*amount), number(*usage_record_id)],
        Action::ConsumeUncollected {
            amount,
            usage_record_id,
        } => vec![
            word("consume_uncollected"),
            credits(*amount),
            number(*usage_record_id),
        ],
        Action::Adjust {
            amount,
            adjustment,
            reason,
        } => {
            let (way, grant_id) = match adjustment {
                Adjustment::Up => ("up", None),
                Adjustment::Down { grant_id } => ("down", *grant_id),
            };
            vec![
                word("adjust"),
                credits(*amount),
                word(way),
                number(grant_id),
                word(reason),
            ]
        }
        Action::ApplyDue => vec![word("apply_due")],
        Action::Hold { .. } | Action::Capture { .. } | Action::Release { .. } | Action::Refund { .. } => {
            asked_of_charge(action)
        }
    }
}

/// Of what was reserved for a charge, or was one.
fn asked_of_charge(action: &Action) -> Words {
    match action {
        Action::Hold {
            amount, mode, ttl, ..
        } => {
            let mode = match mode {
                HoldMode::Exact => "exact",
                HoldMode::Clamp => "clamp",
            };
            let ttl = ttl.whole_microseconds().to_string();
            vec![word("hold"), credits(*amount), word(mode), Some(ttl)]
        }
        Action::Capture {
            hold_id,
            amount,
            usage_record_id,
        } => vec![
            word("capture"),
            Some(hold_id.to_string()),
            amount.and_then(credits),
            number(*usage_record_id),
        ],
        Action::Release { hold_id } => vec![word("release"), Some(hold_id.to_string())],
        Action::Refund {
            transaction_id,
            amount,
            reason,
        } => vec![
            word("refund"),
            Some(transaction_id.to_string()),
            amount.and_then(credits),
            word(reason),
        ],
        _ => Vec::new(),
    }
}

fn word(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn credits(amount: Credits) -> Option<String> {
    Some(amount.micro().to_string())
}

fn number(id: Option<i64>) -> Option<String> {
    id.map(|id| id.to_string())
}

fn instant(at: OffsetDateTime) -> String {
    at.unix_timestamp_nanos().to_string()
}
