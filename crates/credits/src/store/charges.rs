//! Charges that commands want to give back, with the grants they took from.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use kernel::{Credits, UserId};
use pg::{DbError, columns::Read};
use uuid::Uuid;

use crate::{
    core::{Charge, Grant, burn::Portion, fault::negative},
    store::{
        columns::{Shared, texts},
        grants::GrantRow,
        transactions::{self, places},
    },
};

/// Charges with the grants they took from, by account and transaction.
pub type Charges = BTreeMap<(UserId, Uuid), (Charge, Vec<Grant>)>;

/// A charge with one of the grants it took from.
struct ChargeRow {
    transaction_id: Uuid,
    charge: Charge,
    delta: Credits,
    grant: GrantRow,
}

pg::read_columns! {
    Charge, "charge_": {
        seq = "e.seq", amount = "e.amount", created_at = "e.created_at",
        refunded = "(SELECT coalesce(sum(r.amount), 0)::bigint FROM credits.entries r
           WHERE r.user_id = e.user_id AND r.refunds_seq = e.seq)"
    } made { portions: Vec::new() }
}
pg::read_columns! {
    ChargeRow, "charge_": { transaction_id = "e.transaction_id", delta = "l.delta" } with { charge: Charge, grant: GrantRow }
}

/// Those of `wanted` that are charges. Asks nothing if nothing is wanted.
pub async fn load(mut conn: Shared<'_>, wanted: &BTreeSet<(UserId, Uuid)>) -> Result<Charges, DbError> {
    if wanted.is_empty() {
        return Ok(Charges::new());
    }
    let rows: Vec<ChargeRow> = pg::sql(&LOAD)
        .bind::<Array<Text>, _>(texts(wanted.iter().map(|(user, _)| user)))
        .bind::<Array<SqlUuid>, _>(wanted.iter().map(|(_, id)| *id).collect::<Vec<_>>())
        .bind::<Array<Nullable<BigInt>>, _>(places(wanted.iter().map(|(_, id)| *id)))
        .load(&mut conn)
        .await?;
    let mut charges = Charges::new();
    for row in rows {
        let GrantRow { user_id, grant } = row.grant;
        let name = (user_id, row.transaction_id);
        let (charge, grants) = charges.entry(name).or_insert((row.charge, Vec::new()));
        charge.portions.push(Portion {
            grant_id: grant.id,
            amount: negative(row.delta).map_err(|fault| DbError::Inconsistent(fault.to_string()))?,
        });
        grants.push(grant);
    }
    Ok(charges)
}

pub(super) static LOAD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "
SELECT {}
FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS w (user_id, transaction_id, place)
JOIN LATERAL ({}
) AS e ON e.type IN ('consume', 'capture')
JOIN credits.entry_grants l ON l.user_id = e.user_id AND l.seq = e.seq
JOIN credits.current_grants g ON g.user_id = l.user_id AND g.id = l.grant_id",
        ChargeRow::list("g"),
        transactions::ENTRIES
    )
});
