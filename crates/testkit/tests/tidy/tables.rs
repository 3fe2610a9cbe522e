//! The kinds of tables (I5): what belongs to one user, what all share, and what is derived and can be made again.

use std::collections::BTreeSet;

use crate::{rule::Rule, schema::found_in_all};

/// Rows of one user each: every key and unique index contains `user_id`, so that the rows of a user can move to another
/// database.
const OWNED: &[&str] = &[
    "credits.accounts",
    "credits.budgets",
    "credits.entries",
    "credits.entry_lines",
    "credits.global_references",
    "credits.grants",
    "credits.holds",
    "files.files",
    "files.quotas",
    "idempotency.answers",
    "identity.audit_events",
    "identity.credentials",
    "identity.erased_users",
    "identity.identities",
    "identity.logins",
    "identity.mail_links",
    "identity.users",
    "sessions.messages",
    "sessions.replies",
    "sessions.search_postings",
    "sessions.search_segments",
    "sessions.sessions",
    "usage.anomalies",
    "usage.dedupe",
    "usage.dedupe_shared",
    "usage.records",
    "usage.rollups_15m",
    "webhooks.events",
];

/// The same for all users: replicated to every database.
const SHARED: &[&str] = &[
    "identity.api_keys",
    "identity.development_secret",
    "identity.erased_addresses",
    "identity.signing_keys",
    "usage.model_aliases",
    "usage.price_book",
    "usage.price_rates",
    "usage.prices",
    "webhooks.receivers",
    "webhooks.receivers_edition",
];

/// One of each database: sums and numbers across users, which are added up and can be made again from owned tables, what
/// the database says of itself, and queues that any process works off.
const DERIVED: &[&str] = &[
    "files.removals",
    "files.store",
    "identity.mails",
    "public.user_service_migrations",
    "public.user_service_probes",
    "usage.presence",
    "usage.presence_deltas",
    "usage.retention",
    "usage.rollup_deltas",
    "usage.rollups_all",
    "usage.rollups_all_hours",
    "usage.user_numbers",
];

/// Unique indexes of owned tables without `user_id`, and why. This list only gets shorter.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "credits.global_references_reference",
        "a payment credits one user of all: a service asks for that with reference_scope global",
    ),
    ("identity.identities_pkey", "an id belongs to the issuer that first brought it, of all"),
    ("identity.credentials_login_email_key", "a login names the account by the address alone"),
    ("identity.users_id_key", "the documented integer id of a user"),
    ("identity.users_vouched_email_key", "an address that is vouched for belongs to one user of all"),
    ("sessions.sessions_id_key", "the documented integer id of a session"),
    ("sessions.sessions_session_id_key", "routes name a session by its UUID alone"),
];

const I5: Rule = Rule {
    name: "I5",
    says: "every table is declared owned, shared or derived in tidy/tables.rs, and each key and unique index of an owned \
        table contains user_id",
    because: "a user can move to another database only with rows whose keys are unique for that user",
};

#[tokio::test]
async fn i5_every_table_is_of_one_kind() {
    let declared: Vec<&str> = [OWNED, SHARED, DERIVED].concat();
    let names: BTreeSet<String> = declared.iter().map(|name| (*name).to_owned()).collect();
    let tables: BTreeSet<String> = found_in_all(TABLES).await.into_iter().collect();
    let undeclared = tables.difference(&names).map(|name| format!("{name} is not declared"));
    let gone = names.difference(&tables).map(|name| format!("{name} is declared and is no table"));
    let mut breaches: Vec<String> = undeclared.chain(gone).collect();
    if names.len() < declared.len() {
        breaches.push("a table is declared twice".to_owned());
    }
    I5.is_kept(&breaches);
}

#[tokio::test]
async fn i5_keys_of_owned_tables_contain_the_user() {
    let found = found_in_all(KEYS_WITHOUT_USER).await;
    let of_owned = found.iter().filter_map(|found| {
        let (table, index) = found.split_once(' ')?;
        OWNED.contains(&table).then_some(index)
    });
    let found: BTreeSet<&str> = of_owned.collect();
    let excepted: BTreeSet<&str> = EXCEPTIONS.iter().map(|(index, _)| *index).collect();
    let more = found.difference(&excepted).map(|index| format!("{index} does not contain user_id"));
    let fewer = excepted.difference(&found).map(|index| format!("{index} is no exception any more"));
    I5.is_kept(&more.chain(fewer).collect::<Vec<_>>());
}

#[tokio::test]
async fn i5_owned_tables_name_their_user_and_have_a_key() {
    let (with_user, with_key) = (found_in_all(TABLES_WITH_USER).await, found_in_all(TABLES_WITH_KEY).await);
    let lacking = |tables: Vec<String>, what: &str| -> Vec<String> {
        let without = OWNED.iter().filter(|table| !tables.iter().any(|found| found == *table));
        without.map(|table| format!("{table} is owned and has no {what}")).collect()
    };
    I5.is_kept(&[lacking(with_user, "user_id"), lacking(with_key, "key")].concat());
}

#[tokio::test]
async fn i5_what_is_shared_names_no_user() {
    let with_user = found_in_all(TABLES_WITH_USER).await;
    let shared = with_user.iter().filter(|table| SHARED.contains(&table.as_str()));
    I5.is_kept(&shared.map(|table| format!("{table} is shared and has user_id")).collect::<Vec<_>>());
}

const TABLES: &str = r"SELECT relation.oid::regclass::text AS breach
    FROM pg_class relation
    JOIN pg_namespace space ON space.oid = relnamespace AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
    WHERE relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1";

const TABLES_WITH_USER: &str = "SELECT attrelid::regclass::text AS breach FROM pg_attribute
    WHERE attname = 'user_id' AND NOT attisdropped ORDER BY 1";

const TABLES_WITH_KEY: &str =
    "SELECT DISTINCT indrelid::regclass::text AS breach FROM pg_index WHERE indisunique";

/// Table and index.
const KEYS_WITHOUT_USER: &str = r"SELECT format('%s %s', indrelid::regclass, indexrelid::regclass) AS breach
    FROM pg_index
    JOIN pg_class relation ON relation.oid = indrelid AND relkind IN ('r', 'p') AND NOT relispartition
    JOIN pg_namespace space ON space.oid = relnamespace AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
    WHERE indisunique AND NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = indrelid AND attname = 'user_id' AND attnum = ANY (indkey[0:indnkeyatts - 1]))
    ORDER BY 1";
