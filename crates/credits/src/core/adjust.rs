//! Corrections by an administrator.

use kernel::Credits;

use crate::{
    core::{
        AccountState, Grant, Stop, burn,
        burn::Portion,
        consume,
        effect::Done,
        fault::negative,
        give::{self, Offer},
        journal::{self, Draft, EntryContext},
    },
    model::{Adjustment, EntryKind, GrantKind},
};

/// Corrects the balance by `amount`.
pub(super) fn adjust(
    state: &mut AccountState,
    amount: Credits,
    adjustment: Adjustment,
    context: EntryContext<'_>,
) -> Result<Done, Stop> {
    match adjustment {
        Adjustment::Up => give::give(state, Offer::lasting(GrantKind::Adjustment, amount, None), context),
        Adjustment::Down { grant_id } => down(state, amount, grant_id, context),
    }
}

/// Of a grant that is not there nothing is available.
fn down(
    state: &mut AccountState,
    amount: Credits,
    grant_id: Option<i64>,
    context: EntryContext<'_>,
) -> Result<Done, Stop> {
    let available = match grant_id {
        None => consume::available(state)?,
        Some(id) => state.grant(id).map_or(Credits::ZERO, Grant::free),
    };
    if amount > available {
        return Err(consume::insufficient(state, available, amount).into());
    }
    let portions = match grant_id {
        None => burn::plan(state.grants(), amount)?,
        Some(grant_id) => vec![Portion { grant_id, amount }],
    };
    let mut lines = Vec::new();
    for portion in portions {
        let part = negative(portion.amount)?;
        journal::add_line(&mut lines, portion.grant_id, part, Credits::ZERO)?;
    }
    let draft = Draft::new(EntryKind::Adjust, amount, lines);
    Ok(Done::wrote(journal::write(state, draft, context)?))
}
