//! Charges that commands want to give back, with the grants they took from.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use kernel::{Credits, UserId};
use pg::DbError;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    core::{Charge, Grant, burn::Portion, fault::negative},
    store::{
        columns::{Shared, texts},
        grants::{GrantRow, grant_columns},
    },
};

/// Charges with the grants they took from, by account and transaction.
pub type Charges = BTreeMap<(UserId, Uuid), (Charge, Vec<Grant>)>;

/// A charge with one of the grants it took from.
#[derive(QueryableByName)]
struct ChargeRow {
    #[diesel(sql_type = SqlUuid)]
    charge_transaction_id: Uuid,
    #[diesel(sql_type = BigInt)]
    charge_seq: i64,
    #[diesel(sql_type = BigInt)]
    charge_amount: i64,
    #[diesel(sql_type = BigInt)]
    charge_refunded: i64,
    #[diesel(sql_type = Timestamptz)]
    charge_created_at: OffsetDateTime,
    #[diesel(sql_type = BigInt)]
    line_delta: i64,
    #[diesel(embed)]
    grant: GrantRow,
}

/// Those of `wanted` that are charges. Asks nothing if nothing is wanted.
pub async fn load(mut conn: Shared<'_>, wanted: &BTreeSet<(UserId, Uuid)>) -> Result<Charges, DbError> {
    if wanted.is_empty() {
        return Ok(Charges::new());
    }
    let rows: Vec<ChargeRow> = pg::sql(concat!(
        "SELECT e.transaction_id AS charge_transaction_id, e.seq AS charge_seq, e.amount AS charge_amount, \
         (SELECT coalesce(sum(r.amount), 0)::bigint FROM credits.entries r \
           WHERE r.user_id = e.user_id AND r.refunds_seq = e.seq) AS charge_refunded, e.created_at AS charge_created_at, l.delta AS line_delta, ",
        grant_columns!(),
        " FROM unnest($1::text[], $2::uuid[]) AS w (user_id, transaction_id) \
         JOIN credits.entries e ON e.user_id = w.user_id AND e.transaction_id = w.transaction_id \
         AND e.type IN ('consume', 'capture') \
         JOIN credits.entry_grants l ON l.user_id = e.user_id AND l.seq = e.seq \
         JOIN credits.grants g ON g.user_id = l.user_id AND g.id = l.grant_id"
    ))
    .bind::<Array<Text>, _>(texts(wanted.iter().map(|(user, _)| user)))
    .bind::<Array<SqlUuid>, _>(wanted.iter().map(|(_, id)| *id).collect::<Vec<_>>())
    .load(&mut conn)
    .await?;
    let mut charges = Charges::new();
    for row in rows {
        let (user, grant) = row.grant.into_grant()?;
        let charge = Charge {
            seq: row.charge_seq,
            amount: Credits::from_micro(row.charge_amount),
            refunded: Credits::from_micro(row.charge_refunded),
            created_at: row.charge_created_at,
            portions: Vec::new(),
        };
        let name = (user, row.charge_transaction_id);
        let (charge, grants) = charges.entry(name).or_insert((charge, Vec::new()));
        charge.portions.push(Portion {
            grant_id: grant.id,
            amount: negative(Credits::from_micro(row.line_delta))
                .map_err(|fault| DbError::Inconsistent(fault.to_string()))?,
        });
        grants.push(grant);
    }
    Ok(charges)
}
