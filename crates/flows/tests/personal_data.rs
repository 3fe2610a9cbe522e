//! Every table with data of users is declared, with what an erase and an export do with it (HTTP contract 3.4 and 3.5).

use std::collections::{BTreeMap, BTreeSet};

use flows::erasure::PERSONAL_DATA;
use pg::{Erase, Export, PersonalTable};
use testkit::{TestDb, ask_texts};

/// Parts of an export.
const PARTS: &[&str] = &[
    "credits.account",
    "credits.grants",
    "credits.holds",
    "credits.transactions",
    "files",
    "identities",
    "sessions",
    "sessions.messages",
    "usage",
    "user",
];

/// Tables that hold nothing of a user, each with the reason.
const OF_NOBODY: &[(&str, &str)] = &[
    ("files.removals", "keys of objects, which name nobody"),
    ("files.store", "of the service"),
    ("identity.development_secret", "of the service"),
    (
        "identity.erased_addresses",
        "digests of addresses that name no user: they stay, so that none brings a second grant",
    ),
    ("identity.signing_keys", "of the service"),
    ("public.user_service_migrations", "of the service"),
    ("public.user_service_probes", "of the service"),
    ("usage.model_aliases", "prices"),
    ("usage.presence", "numbers of users, which mean nothing outside"),
    ("usage.price_book", "prices"),
    ("usage.price_rates", "prices"),
    ("usage.prices", "prices"),
    ("usage.retention", "months that are gone"),
    ("usage.rollup_deltas", "sums across users"),
    ("usage.rollups_all", "sums across users"),
    ("usage.rollups_all_hours", "sums across users"),
    ("webhooks.receivers_edition", "of the service"),
];

/// All columns whose types can hold a text, a document or an address, and one row for each table.
const COLUMNS: &str = r"SELECT relation.oid::regclass || ' ' || coalesce(attname, '') AS breach
    FROM pg_class relation
    JOIN pg_namespace space ON space.oid = relnamespace AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
    LEFT JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped AND attname <> 'user_id'
        AND atttypid <> ALL (ARRAY['smallint', 'integer', 'bigint', 'boolean', 'double precision', 'uuid', 'timestamptz']::regtype[])
    WHERE relkind IN ('r', 'p', 'm', 'f') AND NOT relispartition
    ORDER BY 1";

fn declared() -> impl Iterator<Item = &'static PersonalTable> {
    PERSONAL_DATA.iter().copied().flatten()
}

/// Columns of each table that can hold something of a user.
async fn texts() -> BTreeMap<String, BTreeSet<String>> {
    let db = TestDb::create(flows::MIGRATIONS, &[]).await;
    let mut texts = BTreeMap::<String, BTreeSet<String>>::new();
    for column in ask_texts(&mut *db.connect().await, COLUMNS).await.unwrap() {
        let (table, name) = column.split_once(' ').unwrap();
        let of_table = texts.entry(table.to_owned()).or_default();
        of_table.extend((!name.is_empty()).then(|| name.to_owned()));
    }
    texts
}

#[tokio::test]
async fn every_table_is_declared_or_holds_nothing_of_a_user() {
    let tables: BTreeSet<String> = texts().await.into_keys().collect();
    let of_nobody = OF_NOBODY.iter().map(|(table, _)| *table);
    let named: Vec<String> =
        declared().map(|table| table.table).chain(of_nobody).map(str::to_owned).collect();
    let names: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(names.len(), named.len(), "a table is declared twice");
    assert_eq!(names, tables, "PERSONAL_DATA of the domains and OF_NOBODY, and the tables");
    assert!(OF_NOBODY.iter().all(|(_, reason)| !reason.is_empty()));
}

#[tokio::test]
async fn every_text_that_stays_has_a_reason() {
    let texts = texts().await;
    for PersonalTable { table, erase, keeps, .. } in declared() {
        let emptied: &[&str] = match erase {
            Erase::Delete(_) | Erase::By(_) => {
                assert!(keeps.is_empty(), "{table} keeps nothing");
                continue;
            }
            Erase::Clear(_, columns) | Erase::Empty { columns, .. } => columns,
            Erase::DeleteWhere(..) | Erase::Keep(_) => &[],
        };
        let named = emptied.iter().copied().chain(keeps.iter().map(|(column, _)| *column));
        let named: BTreeSet<String> = named.map(str::to_owned).collect();
        assert_eq!(named, texts[*table], "{table}: texts that are emptied or kept, and those it has");
        assert!(keeps.iter().all(|(_, reason)| !reason.is_empty()), "{table}");
    }
}

#[test]
fn every_table_is_exported_or_has_a_reason() {
    let mut shown = BTreeSet::new();
    for PersonalTable { table, export, .. } in declared() {
        match export {
            Export::In(part) => drop(shown.insert(*part)),
            Export::No(reason) => assert!(!reason.is_empty(), "{table}"),
        }
    }
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), PARTS);
}
