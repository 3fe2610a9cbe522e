//! What a request of the port asked for, as a hash.

use kernel::Actor;

use crate::{
    model::{Action, Adjustment, Fingerprint, GrantKind, ReferenceScope, idempotency::FINGERPRINT_BYTES},
    port::Request,
};

/// What was asked, but for what this program adds to it (ids). Kept with keys, so it must stay the same in later versions.
pub fn fingerprint(request: &Request, actor: Actor, action: &Action) -> [u8; FINGERPRINT_BYTES] {
    let asked = Fingerprint::v1()
        .word("ledger")
        .word(actor.as_str())
        .maybe(request.description.as_deref())
        .json(Some(&request.metadata));
    with_action(asked, action).finish()
}

fn with_action(asked: Fingerprint, action: &Action) -> Fingerprint {
    match action {
        Action::Open { initial } => asked.word("open").credits(Some(*initial)),
        Action::Grant(new) => scoped(asked, new.scope)
            .word("grant")
            .word(GrantKind::from(new.kind).as_str())
            .credits(Some(new.amount))
            .number(Some(new.priority.into()))
            .instant(new.effective_at)
            .instant(new.expires_at)
            .maybe(new.reference_id.as_deref()),
        Action::Recharge { amount, reference_id, scope } => {
            scoped(asked, *scope).word("recharge").credits(Some(*amount)).maybe(reference_id.as_deref())
        }
        Action::Consume { amount, usage_record_id } => {
            asked.word("consume").credits(Some(*amount)).number(*usage_record_id)
        }
        Action::ConsumeUncollected { amount, usage_record_id } => {
            asked.word("consume_uncollected").credits(Some(*amount)).number(*usage_record_id)
        }
        Action::Adjust { amount, adjustment, reason } => {
            let (way, grant_id) = match adjustment {
                Adjustment::Up => ("up", None),
                Adjustment::Down { grant_id } => ("down", *grant_id),
            };
            let asked = asked.word("adjust").credits(Some(*amount));
            asked.word(way).number(grant_id).word(reason)
        }
        Action::ApplyDue => asked.word("apply_due"),
        Action::Acknowledge { usage_record_id } => asked.word("acknowledge").number(Some(*usage_record_id)),
        Action::Refuse { refusal } => asked.word("refuse").word(&refusal.to_string()),
        Action::Hold { .. }
        | Action::Capture { .. }
        | Action::Meter(_)
        | Action::Release { .. }
        | Action::Refund { .. } => with_charge(asked, action),
    }
}

/// Nothing for the scope that came first: fingerprints of requests without another one stay as they were.
fn scoped(asked: Fingerprint, scope: ReferenceScope) -> Fingerprint {
    match scope {
        ReferenceScope::User => asked,
        ReferenceScope::Global => asked.word("global"),
    }
}

/// Of what was reserved for a charge, or was one.
fn with_charge(asked: Fingerprint, action: &Action) -> Fingerprint {
    match action {
        Action::Hold { amount, mode, ttl, .. } => {
            let micros = ttl.whole_microseconds().to_string();
            let asked = asked.word("hold").credits(Some(*amount));
            asked.word(mode.as_str()).word(&micros)
        }
        Action::Capture { hold_id, amount, usage_record_id } => {
            asked.word("capture").id(*hold_id).credits(*amount).number(*usage_record_id)
        }
        Action::Meter(metering) => asked
            .word("meter")
            .maybe(metering.from.hold_id().map(|id| id.hyphenated().to_string()).as_deref())
            .credits(Some(metering.amount))
            .number(Some(metering.usage_record_id)),
        Action::Release { hold_id } => asked.word("release").id(*hold_id),
        Action::Refund { transaction_id, amount, reason } => {
            asked.word("refund").id(*transaction_id).credits(*amount).word(reason)
        }
        _ => asked,
    }
}

#[cfg(test)]
mod tests {
    use kernel::{Credits, FreeForm};
    use time::{Duration, OffsetDateTime};
    use uuid::Uuid;

    use super::*;
    use crate::model::{HoldMode, NewGrant, NewGrantKind};

    fn hash(action: &Action) -> String {
        let request = Request {
            user_id: "someone".parse().unwrap(),
            idempotency_key: Some("not hashed".to_owned()),
            description: Some("what for".to_owned()),
            metadata: FreeForm::object(r#"{"b": 1.50, "a": ["\u0041"]}"#).unwrap(),
        };
        let bytes = fingerprint(&request, Actor::Service, action);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Fingerprints are kept for good: these never change.
    #[test]
    fn fingerprints_are_what_they_were() {
        let (id, amount) = (Uuid::from_u128(7), Credits::from_micro(1_500_000));
        let usage_record_id = Some(9);
        let reason = || "a reason".to_owned();
        let grant = NewGrant {
            effective_at: Some(OffsetDateTime::UNIX_EPOCH),
            expires_at: Some(OffsetDateTime::UNIX_EPOCH + Duration::DAY),
            reference_id: Some("gift".to_owned()),
            ..NewGrant::new(NewGrantKind::Plan, amount)
        };
        let actions = [
            Action::Open { initial: amount },
            Action::Grant(grant),
            Action::Recharge { amount, reference_id: Some("pi_1".to_owned()), scope: ReferenceScope::User },
            Action::Recharge { amount, reference_id: None, scope: ReferenceScope::User },
            Action::Consume { amount, usage_record_id },
            Action::ConsumeUncollected { amount, usage_record_id },
            Action::Adjust { amount, adjustment: Adjustment::Up, reason: reason() },
            Action::Adjust { amount, adjustment: Adjustment::Down { grant_id: Some(3) }, reason: reason() },
            Action::Hold { hold_id: id, amount, mode: HoldMode::Clamp, ttl: Duration::MINUTE },
            Action::Capture { hold_id: id, amount: None, usage_record_id },
            Action::Capture { hold_id: id, amount: Some(amount), usage_record_id: None },
            Action::Release { hold_id: id },
            Action::Refund { transaction_id: id, amount: Some(amount), reason: reason() },
            Action::ApplyDue,
        ];
        let hashes: Vec<String> = actions.iter().map(hash).collect();
        assert_eq!(hashes, GOLDEN);
    }

    const GOLDEN: [&str; 14] = [
        "d19d8516f9f7e91005be4f6f2c9b4f5ec6041df0b234a4ad7df153ab881daf3f",
        "e0c4114c7872ade580b1e1e0965df743be8f7c15953f8a6214ab8c149e77a92b",
        "9df0604d5b2b88415407ca9cb2e6e1cec3cd2c176f8894fba3132e6708f6932b",
        "9411f92ce99c67201756f29b211aec4424b781e67968a2fd3c4e8582950fcd11",
        "c851bd10dcd2647437770da4965b3ad6efff9caa6d5f331608c6a20ad8d6a185",
        "8635e1a7a93030a0e1ba589687e12d397aefec856ab407a39ceb3d85f3246746",
        "bfaf2240f957720faf4be2c6ba52d9125d1d7fd3708e3e7bef95cdaa74d7ee6e",
        "da2a8eff390fe33c206643b93c67ea9de15da001943f6397c25c73435268046f",
        "fa558fff1986ffe4a0e613964266050ec341a9fa808e94a5277b092f2a4442a1",
        "8497beaf0d55db4d46edee09499067082676b2d769e91d90d7f1e6bad84811b4",
        "6cbfcbdc60251073045da0dcde3d0dbd2d3f105ebc6ded87c022e6b1910d7a8a",
        "151274d7ba5e948efb455008e024b3b6eb979bc4e03e1d37751db4db27666f1a",
        "21e54570e1fd56c343441c6fda20dd67e15a9d66600444da85f9f5e1c38a3b8e",
        "ad54abdc1828d5b40444c3f5cdda7663e0f08f0905e6691241c438f6918ac9cd",
    ];
}
