//! What `pg_catalog` says about the tables of all domains: I5, I7, I10, and that tables are documented.

use diesel_async::SimpleAsyncConnection;
use pg::{Pool, PoolSettings};
use testkit::{TestDb, ask_texts};

use crate::{
    money::means_money,
    rule::Rule,
    workspace::{Folder, Workspace},
};

/// The journal and the audit log: written once.
const JOURNAL: [&str; 3] = ["credits.entries", "credits.entry_lines", "identity.audit_events"];

const I5: Rule = Rule {
    name: "I5",
    says: "one schema a domain, no foreign key between schemas, and user_id (text COLLATE \"C\") leads the primary key or an \
        index of every table that has it",
    because: "domains stay separable, and the tables can be distributed by user when one machine is too small",
};

#[tokio::test]
async fn i5_domains_keep_to_their_schema_and_need_no_other() {
    let workspace = Workspace::get();
    let mut domains: Vec<&str> = workspace.migrations.iter().map(|folder| folder.domain.as_str()).collect();
    domains.sort_unstable();
    domains.dedup();
    let mut breaches = Vec::new();
    for domain in domains {
        let own: Vec<&Folder> =
            workspace.migrations.iter().filter(|folder| folder.domain == domain).collect();
        breaches.extend(strays(domain, &own).await);
    }
    I5.is_kept(&breaches);
}

#[tokio::test]
async fn i5_no_foreign_key_crosses_schemas() {
    I5.is_kept(&found_in_all(CROSSING_KEYS).await);
}

#[tokio::test]
async fn i5_user_id_leads_an_index_of_every_table_that_has_it() {
    I5.is_kept(&found_in_all(UNLED_TABLES).await);
}

#[tokio::test]
async fn i7_the_journal_can_only_grow() {
    let rule = Rule {
        name: "I7",
        says: "entries of the ledger and the audit log are never updated or deleted: privileges and a trigger refuse it",
        because: "a balance can be proven only from a journal that nobody edits; a correction is a new entry",
    };
    let db = all_domains().await;
    rule.is_kept(&changeable(&db, &JOURNAL).await);
}

#[tokio::test]
async fn i10_money_is_kept_in_whole_numbers() {
    let rule = Rule {
        name: "I10",
        says: "columns that hold money are bigint: micro-credits or nano-dollars",
        because: "floats are not exact, and numeric rounds where nobody looks",
    };
    rule.is_kept(&money_among(&found_in_all(INEXACT_COLUMNS).await));
}

#[tokio::test]
async fn every_table_tells_what_it_is_for() {
    let rule = Rule {
        name: "comments",
        says: "every schema and table has a comment",
        because: "who operates the database sees the schema, not the sources",
    };
    rule.is_kept(&found_in_all(SILENT_TABLES).await);
}

async fn all_domains() -> TestDb {
    let db = TestDb::create(&[], &[]).await;
    let mut conn = db.connect().await;
    for folder in &Workspace::get().migrations {
        let up = folder.up.as_deref().unwrap_or_default();
        conn.batch_execute(up).await.unwrap();
    }
    db
}

pub async fn found_in_all(query: &str) -> Vec<String> {
    let db = all_domains().await;
    let mut conn = db.connect().await;
    ask_texts(&mut conn, query).await.unwrap()
}

/// Runs the migrations of one domain alone and tells what lies outside its schema.
async fn strays(domain: &str, folders: &[&Folder]) -> Vec<String> {
    let db = TestDb::create(&[], &[]).await;
    let mut conn = db.connect().await;
    for folder in folders {
        let up = folder.up.as_deref().unwrap_or_default();
        if let Err(error) = conn.batch_execute(up).await {
            return vec![format!("{domain}: {} does not run alone: {error}", folder.name)];
        }
    }
    let everything = ask_texts(&mut conn, OWN_THINGS).await.unwrap();
    let inside = format!("{domain}.");
    everything
        .into_iter()
        .filter(|name| name != domain && !name.starts_with(&inside))
        .map(|name| format!("{domain} makes {name}, which is outside its schema"))
        .collect()
}

/// Tries to change each table, as its owner and as superuser.
async fn changeable(db: &TestDb, tables: &[&str]) -> Vec<String> {
    let superuser = Pool::new(&PoolSettings::new(db.superuser_url())).unwrap();
    let mut breaches = Vec::new();
    for table in tables {
        for statement in [
            format!("UPDATE {table} SET user_id = user_id"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
        ] {
            for (who, pool) in [("its owner", db.pool()), ("the superuser", &superuser)] {
                let mut conn = pool.get().await.unwrap();
                if conn.batch_execute(&statement).await.is_ok() {
                    breaches.push(format!("{who} may {statement}"));
                }
            }
        }
    }
    breaches
}

fn money_among(columns: &[String]) -> Vec<String> {
    columns.iter().filter(|column| means_money(column)).cloned().collect()
}

const CROSSING_KEYS: &str =
    "SELECT format('%s: %s refers to %s', conrelid::regclass, conname, confrelid::regclass) AS breach
    FROM pg_constraint
    JOIN pg_class one ON one.oid = conrelid JOIN pg_class other ON other.oid = confrelid
    WHERE contype = 'f' AND one.relnamespace <> other.relnamespace ORDER BY 1";

/// Partitions have the indexes of their parent.
const UNLED_TABLES: &str = r#"SELECT format('%s: %s', relation.oid::regclass, reason) AS breach
    FROM pg_class relation
    JOIN pg_namespace space ON space.oid = relnamespace AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
    JOIN pg_attribute ON attrelid = relation.oid AND attname = 'user_id' AND NOT attisdropped
    CROSS JOIN LATERAL (
        SELECT 'no index begins with user_id' AS reason WHERE NOT EXISTS (
            SELECT FROM pg_index WHERE indrelid = relation.oid AND indkey[0] = attnum AND indisvalid)
        UNION ALL
        SELECT 'user_id is not text COLLATE "C"'
        WHERE atttypid <> 'text'::regtype OR attcollation <> 'pg_catalog."C"'::regcollation
    ) AS reasons
    WHERE relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1"#;

const INEXACT_COLUMNS: &str = r"SELECT format('%s.%s is %s', relation.oid::regclass, attname, format_type(atttypid, atttypmod)) AS breach
    FROM pg_class relation
    JOIN pg_namespace space ON space.oid = relnamespace AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
    JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
    WHERE relkind IN ('r', 'p', 'v', 'm')
    AND atttypid IN ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype, 'money'::regtype) ORDER BY 1";

const SILENT_TABLES: &str = r"SELECT format('%s has no comment', relation.oid::regclass) AS breach
    FROM pg_class relation
    JOIN pg_namespace space ON space.oid = relnamespace AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
    WHERE relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition AND obj_description(relation.oid, 'pg_class') IS NULL
    UNION ALL
    SELECT format('schema %s has no comment', nspname) FROM pg_namespace
    WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema' AND obj_description(oid, 'pg_namespace') IS NULL
    ORDER BY 1";

/// Names of what is neither PostgreSQL's own nor the list of applied migrations, as `schema` or `schema.name`; what an
/// extension brings along belongs to it.
const OWN_THINGS: &str = r"SELECT nspname::text AS breach FROM pg_namespace
    WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', 'public')
    UNION
    SELECT nspname || '.' || name FROM (
        SELECT relnamespace AS space, relname AS name, 'pg_class'::regclass AS class, oid FROM pg_class
        UNION ALL SELECT pronamespace, proname, 'pg_proc'::regclass, oid FROM pg_proc
        UNION ALL SELECT typnamespace, typname, 'pg_type'::regclass, oid FROM pg_type) AS things
    JOIN pg_namespace ON pg_namespace.oid = space
    WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
    AND name NOT LIKE '%user\_service\_migrations%' AND name NOT LIKE '%user\_service\_probes'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = class AND objid = things.oid AND deptype = 'e')
    ORDER BY 1";

#[cfg(test)]
mod tests {
    use super::*;

    async fn found_in(schema: &str, query: &str) -> Vec<String> {
        let db = TestDb::create(&[], &[]).await;
        let mut conn = db.connect().await;
        conn.batch_execute(schema).await.unwrap();
        ask_texts(&mut conn, query).await.unwrap()
    }

    #[tokio::test]
    async fn foreign_keys_between_schemas_are_found() {
        let schema = "CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.a (id bigint PRIMARY KEY);
            CREATE TABLE a.inside (id bigint REFERENCES a.a); CREATE TABLE b.b (id bigint REFERENCES a.a)";
        assert_eq!(found_in(schema, CROSSING_KEYS).await, ["b.b: b_id_fkey refers to a.a"]);
    }

    #[tokio::test]
    async fn tables_that_cannot_be_distributed_are_found() {
        let schema = "CREATE SCHEMA a;
            CREATE TABLE a.good (user_id text COLLATE \"C\", id bigint, PRIMARY KEY (user_id, id));
            CREATE TABLE a.late (id bigint, user_id text COLLATE \"C\", PRIMARY KEY (id, user_id));
            CREATE TABLE a.cultured (user_id text PRIMARY KEY);
            CREATE TABLE a.nobodys (id bigint PRIMARY KEY)";
        assert_eq!(
            found_in(schema, UNLED_TABLES).await,
            ["a.cultured: user_id is not text COLLATE \"C\"", "a.late: no index begins with user_id"]
        );
    }

    #[tokio::test]
    async fn inexact_money_is_found() {
        let schema = "CREATE SCHEMA a; CREATE TABLE a.a (cost_usd numeric(12, 6), score real, amount bigint, price float8)";
        let inexact = found_in(schema, INEXACT_COLUMNS).await;
        assert_eq!(inexact.len(), 3, "{inexact:?}");
        assert_eq!(money_among(&inexact), ["a.a.cost_usd is numeric(12,6)", "a.a.price is double precision"]);
    }

    #[tokio::test]
    async fn silent_tables_are_found() {
        let schema = "CREATE SCHEMA a; CREATE TABLE a.told (); CREATE TABLE a.silent (); COMMENT ON TABLE a.told IS 'x'";
        assert_eq!(
            found_in(schema, SILENT_TABLES).await,
            ["a.silent has no comment", "schema a has no comment"]
        );
    }

    #[tokio::test]
    async fn things_outside_the_own_schema_are_found() {
        let folder = |up: &str| Folder {
            domain: "a".to_owned(),
            name: "1_a".to_owned(),
            up: Some(up.to_owned()),
            down: None,
        };
        let good = folder("CREATE SCHEMA a; CREATE TABLE a.a (id bigint PRIMARY KEY)");
        assert_eq!(strays("a", &[&good]).await, [""; 0]);
        let wide =
            folder("CREATE SCHEMA a; CREATE SCHEMA b; CREATE FUNCTION public.f() RETURNS int RETURN 1");
        let found = strays("a", &[&wide]).await;
        assert_eq!(found.len(), 2, "{found:?}");
        let needy = folder("CREATE TABLE a.a AS SELECT * FROM b.b");
        assert!(strays("a", &[&needy]).await[0].contains("does not run alone"));
    }

    #[tokio::test]
    async fn journals_that_can_be_changed_are_found() {
        let db = TestDb::create(&[], &[]).await;
        let schema =
            "CREATE SCHEMA a; CREATE TABLE a.open (user_id text); CREATE TABLE a.owned (user_id text);
            REVOKE UPDATE, DELETE, TRUNCATE ON a.owned FROM CURRENT_USER";
        db.run(schema).await;
        assert_eq!(changeable(&db, &["a.open"]).await.len(), 6);
        let by_superuser = changeable(&db, &["a.owned"]).await;
        assert_eq!(by_superuser.len(), 3);
        assert!(by_superuser.iter().all(|line| line.starts_with("the superuser")));
    }
}
