//! In which sequence credit is spent.

use std::cmp::Ordering;

use kernel::Credits;

use crate::core::{Fault, Grant, fault::minus};

/// Part of one grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// Id of the grant.
    pub grant_id: i64,
    /// Part of it, above zero.
    pub amount: Credits,
}

/// The burn order, total and on attributes that never change: priority, what expires sooner (never comes last), given
/// before bought, older first, id.
#[must_use]
pub fn order(a: &Grant, b: &Grant) -> Ordering {
    let key = |grant: &Grant| {
        let never = grant.expires_at.is_none();
        (grant.priority, never, grant.expires_at, grant.paid, grant.effective_at, grant.id)
    };
    key(a).cmp(&key(b))
}

/// Takes `amount` from what is free in `grants`, which are in burn order. Changes nothing yet.
///
/// # Errors
/// [`Fault`] when there is not enough: callers compare with what is available before.
pub fn plan(grants: &[Grant], amount: Credits) -> Result<Vec<Portion>, Fault> {
    let mut portions = Vec::new();
    let mut rest = amount;
    for grant in grants {
        if rest.is_zero() {
            break;
        }
        let part = grant.free().min(rest);
        if !part.is_zero() {
            portions.push(Portion { grant_id: grant.id, amount: part });
            rest = minus(rest, part)?;
        }
    }
    if rest.is_zero() {
        Ok(portions)
    } else {
        Err(Fault::new(format!("the grants are {rest} credits short of what is available")))
    }
}
