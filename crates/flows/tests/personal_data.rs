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
    "identities",
    "sessions",
    "sessions.messages",
    "usage",
    "user",
];

/// Columns of texts and JSON, and the ids of users, of all tables that name a user.
const COLUMNS: &str = r"SELECT relation.oid::regclass || ' ' || attname || ' ' || CASE WHEN attname = 'user_id' THEN 'user' ELSE 'text' END AS breach
    FROM pg_class relation
    JOIN pg_namespace space ON space.oid = relnamespace AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
    JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND atttypid = ANY (ARRAY['text', 'jsonb', 'json', 'bytea', 'inet',
        'varchar', 'text[]', 'xml', 'name', 'cidr']::regtype[])
    ORDER BY 1";

fn declared() -> impl Iterator<Item = &'static PersonalTable> {
    PERSONAL_DATA.iter().copied().flatten()
}

/// The texts of each table that names a user.
async fn texts() -> BTreeMap<String, BTreeSet<String>> {
    let db = TestDb::create(flows::MIGRATIONS, &[]).await;
    let found = ask_texts(&mut *db.connect().await, COLUMNS).await.unwrap();
    let (mut texts, mut of_users) = (BTreeMap::<String, BTreeSet<String>>::new(), BTreeSet::new());
    for column in &found {
        let [table, name, kind] = column.split(' ').collect::<Vec<_>>()[..] else { panic!("{column}") };
        match kind {
            "user" => drop(of_users.insert(table.to_owned())),
            _ => drop(texts.entry(table.to_owned()).or_default().insert(name.to_owned())),
        }
    }
    of_users.into_iter().map(|table| (table.clone(), texts.remove(&table).unwrap_or_default())).collect()
}

#[tokio::test]
async fn every_table_that_names_a_user_is_declared() {
    let tables: BTreeSet<String> = texts().await.into_keys().collect();
    let declared: Vec<String> = declared().map(|table| table.table.to_owned()).collect();
    let names: BTreeSet<String> = declared.iter().cloned().collect();
    assert_eq!(names.len(), declared.len(), "a table is declared twice");
    assert_eq!(names, tables, "PERSONAL_DATA of the domains, and the tables with user_id");
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
