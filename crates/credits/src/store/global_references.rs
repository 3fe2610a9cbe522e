//! Table `credits.global_references`: references that are unique among all users; and who was credited with one before.

use std::collections::{BTreeMap, BTreeSet};

use diesel::sql_types::{Array, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use kernel::{Actor, UserId};
use pg::DbError;
use time::OffsetDateTime;

use crate::{
    core::{AccountState, Claim, Known},
    model::Command,
    store::columns::{Shared, texts},
};

/// Owners of the references with the scope of all users in a batch, with those added since loading.
#[derive(Debug, Default)]
pub struct Uses {
    claimed: BTreeMap<String, UserId>,
    /// Users whom a service or an administrator credited with a reference: of each reference two that are stored, and all
    /// of the batch. What users gave themselves does not count, or they could block payments of others.
    credited: BTreeMap<String, BTreeSet<UserId>>,
}

impl Uses {
    /// Owner of the reference, as a user sees it; `None` if they may claim it.
    pub fn claim(&self, reference: &str, user_id: &UserId) -> Option<Claim> {
        if let Some(owner) = self.claimed.get(reference) {
            return Some(if owner == user_id { Claim::Ours } else { Claim::Theirs });
        }
        let credited = self.credited.get(reference)?;
        (!credited.is_empty() && !credited.contains(user_id)).then_some(Claim::Theirs)
    }

    /// Notes what is stored of a user of the batch.
    pub fn note_stored(&mut self, reference: &str, user_id: &UserId, known: &Known) {
        let actor = known.entry.as_ref().map(|entry| entry.actor);
        self.credit(reference, user_id, actor);
    }

    /// Notes what a command did.
    pub fn note_done(&mut self, command: &Command) {
        if let Some((reference, _)) = command.action.reference() {
            self.credit(reference, &command.user_id, Some(command.actor));
        }
        if let Some(reference) = command.action.global_reference() {
            let owner = self.claimed.entry(reference.to_owned());
            owner.or_insert_with(|| command.user_id.clone());
        }
    }

    /// Without an actor it is a grant that is still scheduled; users schedule none.
    fn credit(&mut self, reference: &str, user_id: &UserId, actor: Option<Actor>) {
        if let Some(users) = self.credited.get_mut(reference)
            && actor != Some(Actor::User)
        {
            users.insert(user_id.clone());
        }
    }
}

struct UseRow {
    reference_id: String,
    user_id: UserId,
    claimed: bool,
}
pg::read_columns! { UseRow: { reference_id, user_id, claimed } }

/// Reads the owners of those of `wanted` that are in use. No statement if `wanted` is empty.
///
/// Of the users who were credited two are enough, however many there are: one of them is not the user who asks.
pub async fn load(mut conn: Shared<'_>, wanted: &BTreeSet<String>) -> Result<Uses, DbError> {
    if wanted.is_empty() {
        return Ok(Uses::default());
    }
    let rows: Vec<UseRow> = pg::sql(
        "SELECT reference_id, user_id, true AS claimed FROM credits.global_references WHERE reference_id = ANY($1) \
         UNION ALL \
         SELECT w.reference_id, c.user_id, false FROM unnest($1) AS w (reference_id) CROSS JOIN LATERAL ( \
           SELECT g.user_id FROM credits.grants g \
           LEFT JOIN credits.entries e ON e.user_id = g.user_id AND e.seq = g.booked_seq \
           WHERE g.reference_id = w.reference_id AND g.kind IN ('purchase', 'plan', 'promo') \
             AND e.actor IS DISTINCT FROM 'user' LIMIT 2) AS c",
    )
    .bind::<Array<Text>, _>(wanted.iter().map(String::as_str).collect::<Vec<_>>())
    .load(&mut conn)
    .await?;
    let mut uses = Uses {
        credited: wanted.iter().map(|reference| (reference.clone(), BTreeSet::new())).collect(),
        ..Uses::default()
    };
    for row in rows {
        if row.claimed {
            uses.claimed.insert(row.reference_id, row.user_id);
        } else {
            uses.credited.entry(row.reference_id).or_default().insert(row.user_id);
        }
    }
    Ok(uses)
}

/// Inserts the references that accounts use since loading. The accounts of other users are not locked, so another
/// transaction may have inserted one of them since: then all of this one is done again ([`DbError::Contention`]), and
/// finds it. Rows are written in the order of their references, so that transactions wait in one direction only.
pub async fn insert(
    mut conn: Shared<'_>,
    states: &[&AccountState],
    now: OffsetDateTime,
) -> Result<(), DbError> {
    let new: BTreeMap<&str, &UserId> = states
        .iter()
        .flat_map(|state| state.new_claims().map(|reference| (reference, &state.user_id)))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let inserted = pg::sql(
        "INSERT INTO credits.global_references (reference_id, user_id, created_at) \
         SELECT reference_id, user_id, $3 FROM unnest($1::text[], $2::text[]) AS n (reference_id, user_id) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<Array<Text>, _>(new.keys().copied().collect::<Vec<_>>())
    .bind::<Array<Text>, _>(texts(new.values().copied()))
    .bind::<Timestamptz, _>(now)
    .execute(&mut conn)
    .await?;
    if inserted == new.len() { Ok(()) } else { Err(DbError::overtaken()) }
}
