//! Choice of the stored use of a key that counts for a request. Pure.

use kernel::{CallerClass, IdempotencyKey};

use crate::{
    KeyConflict,
    model::{KeyStatus, StoredAnswer},
};

/// Status of a request, by the stored uses of its key by callers of all classes.
///
/// A row of an earlier version, which had no classes, counts for callers of any class, but only for the same request: for
/// another one it leaves the key free.
pub fn status_among<'a>(
    uses: &'a [StoredAnswer],
    key: &IdempotencyKey,
    caller: CallerClass,
) -> KeyStatus<'a> {
    let of_any_class = |one: &&StoredAnswer| one.caller.is_none() && key.matches_formerly(&one.fingerprint);
    if let Some(answer) = uses.iter().find(of_any_class) {
        return KeyStatus::Answered(answer);
    }
    match uses.iter().find(|one| one.caller == Some(caller)) {
        None => KeyStatus::New,
        Some(answer) if key.matches(&answer.fingerprint) => KeyStatus::Answered(answer),
        Some(answer) => KeyStatus::Conflict(KeyConflict { first_used_at: answer.at }),
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};
    use uuid::Uuid;

    use super::*;
    use crate::model::{Content, Link};

    fn stored(caller: Option<CallerClass>, fingerprint: u8) -> StoredAnswer {
        StoredAnswer {
            caller,
            fingerprint: vec![fingerprint; 32],
            at: OffsetDateTime::UNIX_EPOCH + Duration::seconds(fingerprint.into()),
            content: Content::Pruned(Link { transaction_id: Uuid::nil(), usage_record_id: None }),
        }
    }

    fn conflict(seconds: i64) -> KeyStatus<'static> {
        let first_used_at = OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds);
        KeyStatus::Conflict(KeyConflict { first_used_at })
    }

    #[test]
    fn each_class_has_its_own_use_and_one_without_a_class_counts_for_the_same_request() {
        let key = |fingerprint: u8| IdempotencyKey::new("k", [fingerprint; 32]).unwrap();
        let (user, service) = (CallerClass::User, CallerClass::Service);
        let of_user = stored(Some(user), 1);
        let uses = [of_user.clone()];
        assert_eq!(status_among(&[], &key(1), user), KeyStatus::New);
        assert_eq!(status_among(&uses, &key(1), user), KeyStatus::Answered(&of_user));
        assert_eq!(status_among(&uses, &key(2), user), conflict(1));
        assert_eq!(status_among(&uses, &key(1), service), KeyStatus::New);
        let of_any = stored(None, 2);
        let uses = [of_any.clone(), of_user.clone()];
        for caller in [user, service] {
            assert_eq!(status_among(&uses, &key(2), caller), KeyStatus::Answered(&of_any));
        }
        assert_eq!(status_among(&uses, &key(1), user), KeyStatus::Answered(&of_user));
        assert_eq!(status_among(&uses, &key(3), user), conflict(1));
        assert_eq!(status_among(&uses, &key(3), service), KeyStatus::New);
    }
}
