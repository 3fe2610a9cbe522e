//! A database's schema as lines of text that can be compared: everything a migration may make, with its privileges.

use diesel_async::AsyncPgConnection;
use testkit::ask_texts;

/// All that is not PostgreSQL's own, one line a thing, in order.
pub async fn dump(conn: &mut AsyncPgConnection) -> Vec<String> {
    ask_texts(conn, DUMP).await.unwrap()
}

/// What only one of two dumps has, with `-` for the first and `+` for the second.
pub fn difference(first: &[String], second: &[String]) -> Vec<String> {
    let missing = |from: &[String], sign: char, other: &[String]| -> Vec<String> {
        from.iter().filter(|line| !other.contains(line)).map(|line| format!("{sign} {line}")).collect()
    };
    let mut lines = missing(first, '-', second);
    lines.extend(missing(second, '+', first));
    lines
}

const DUMP: &str = r"
WITH spaces AS (
    SELECT * FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'),
relations AS (
    SELECT pg_class.*, pg_class.oid::regclass AS name FROM pg_class JOIN spaces ON spaces.oid = relnamespace)
SELECT line FROM (
    SELECT format('schema %s owner %s privileges %s', nspname, nspowner::regrole, nspacl) AS line FROM spaces
UNION ALL
    SELECT format('relation %s kind %s persistence %s owner %s privileges %s options %s partition %s rows secured %s %s',
        name, relkind, relpersistence, relowner::regrole, relacl, reloptions,
        pg_get_expr(relpartbound, oid), relrowsecurity, pg_get_partkeydef(oid)) FROM relations
UNION ALL
    SELECT format('view %s %s', name, pg_get_viewdef(oid)) FROM relations WHERE relkind IN ('v', 'm')
UNION ALL
    SELECT format('column %s.%s %s not null %s identity %s generated %s collation %s default %s storage %s privileges %s',
        name, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
        attcollation::regcollation, pg_get_expr(adbin, adrelid), attstorage, attacl)
    FROM relations JOIN pg_attribute ON attrelid = relations.oid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attnum > 0 AND NOT attisdropped AND relkind NOT IN ('i', 'I')
UNION ALL
    SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(pg_constraint.oid))
    FROM pg_constraint JOIN spaces ON spaces.oid = connamespace
UNION ALL
    SELECT format('index %s valid %s', pg_get_indexdef(indexrelid), indisvalid)
    FROM pg_index JOIN relations ON relations.oid = indexrelid
UNION ALL
    SELECT format('sequence %s from %s by %s to %s cycle %s', name, seqstart, seqincrement, seqmax, seqcycle)
    FROM pg_sequence JOIN relations ON relations.oid = seqrelid
UNION ALL
    SELECT format('trigger %s enabled %s', pg_get_triggerdef(pg_trigger.oid), tgenabled)
    FROM pg_trigger JOIN relations ON relations.oid = tgrelid WHERE NOT tgisinternal
UNION ALL
    SELECT format('rule %s', pg_get_ruledef(pg_rewrite.oid))
    FROM pg_rewrite JOIN relations ON relations.oid = ev_class WHERE rulename <> '_RETURN'
UNION ALL
    SELECT format('function %s %s privileges %s', pg_proc.oid::regprocedure, pg_get_functiondef(pg_proc.oid), proacl)
    FROM pg_proc JOIN spaces ON spaces.oid = pronamespace WHERE prokind IN ('f', 'p')
UNION ALL
    SELECT format('type %s kind %s labels %s', pg_type.oid::regtype, typtype,
        (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = pg_type.oid))
    FROM pg_type JOIN spaces ON spaces.oid = typnamespace WHERE typtype IN ('d', 'e', 'r')
UNION ALL
    SELECT format('policy %s on %s for %s using %s check %s', polname, polrelid::regclass, polcmd,
        pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) FROM pg_policy
UNION ALL
    SELECT format('statistics %s', pg_get_statisticsobjdef(oid)) FROM pg_statistic_ext
UNION ALL
    SELECT format('extension %s %s', extname, extversion) FROM pg_extension
UNION ALL
    SELECT format('default privileges %s %s %s', defaclrole::regrole, defaclobjtype, defaclacl) FROM pg_default_acl
UNION ALL
    -- 16384 is the first number PostgreSQL gives to what is not its own.
    SELECT format('comment %s: %s', pg_describe_object(classoid, objoid, objsubid), description)
    FROM pg_description WHERE objoid >= 16384
) AS lines ORDER BY line
";

#[test]
fn difference_tells_both_sides() {
    let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(difference(&lines("a b"), &lines("b c")), ["- a", "+ c"]);
    assert_eq!(difference(&lines("a b"), &lines("a b")), [""; 0]);
}
