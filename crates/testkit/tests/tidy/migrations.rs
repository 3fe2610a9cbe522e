//! The migrations as files, and the way back.

use std::collections::BTreeSet;

use diesel_async::SimpleAsyncConnection;
use testkit::TestDb;

use crate::{
    catalogue::{difference, dump},
    edges::DOMAINS,
    rule::Rule,
    workspace::{Folder, Workspace},
};

/// A line of the manifest of a domain.
const EMBEDS: &str = r#"build = "../pg/embed_migrations.rs""#;

#[test]
fn every_migration_is_embedded_by_its_domain() {
    let rule = Rule {
        name: "migrations",
        says: "every folder migrations/<domain>/<timestamp>_<verb_noun> has up.sql and down.sql, and the build script of \
            its domain is pg/embed_migrations.rs",
        because: "a folder that no crate embeds never runs, and the first to notice is production",
    };
    let workspace = Workspace::get();
    let embeds = |domain: &str| {
        let manifest = workspace.read(&format!("crates/{domain}/Cargo.toml"));
        manifest.is_ok_and(|text| text.lines().any(|line| line == EMBEDS))
    };
    rule.is_kept(&unregistered(&workspace.migrations, embeds));
}

#[tokio::test]
async fn every_down_restores_the_schema_and_up_can_run_again() {
    let rule = Rule {
        name: "down.sql",
        says: "down.sql takes back exactly what up.sql did",
        because: "a release that goes wrong is taken back under pressure, when nobody has time to find out what was left",
    };
    let steps: Vec<Step<'_>> = Workspace::get()
        .migrations
        .iter()
        .filter_map(|folder| {
            Some(Step { name: &folder.name, up: folder.up.as_deref()?, down: folder.down.as_deref()? })
        })
        .collect();
    rule.is_kept(&remains(&steps).await);
}

struct Step<'a> {
    name: &'a str,
    up: &'a str,
    down: &'a str,
}

/// Goes up, down and up again, step by step, and compares the schema.
async fn remains(steps: &[Step<'_>]) -> Vec<String> {
    let db = TestDb::create(&[], &[]).await;
    let mut conn = db.connect().await;
    let mut breaches = Vec::new();
    for step in steps {
        let mut tell = |what: &str, lines: Vec<String>| {
            breaches.extend(lines.into_iter().map(|line| format!("{} {what}: {line}", step.name)));
        };
        let before = dump(&mut conn).await;
        conn.batch_execute(step.up).await.unwrap();
        let after = dump(&mut conn).await;
        match conn.batch_execute(step.down).await {
            Ok(()) => tell("leaves", difference(&before, &dump(&mut conn).await)),
            Err(error) => {
                tell("cannot go back", vec![error.to_string()]);
                continue;
            }
        }
        match conn.batch_execute(step.up).await {
            Ok(()) => tell("differs the second time", difference(&after, &dump(&mut conn).await)),
            Err(error) => {
                tell("cannot run again", vec![error.to_string()]);
                break;
            }
        }
    }
    breaches
}

fn unregistered(folders: &[Folder], embeds: impl Fn(&str) -> bool) -> Vec<String> {
    let mut breaches = Vec::new();
    let (mut names, mut times) = (BTreeSet::new(), BTreeSet::new());
    for folder in folders {
        let path = format!("migrations/{}/{}", folder.domain, folder.name);
        if !DOMAINS.contains(&folder.domain.as_str()) {
            breaches.push(format!("{path}: there is no domain {}", folder.domain));
        }
        if folder.up.is_none() || folder.down.is_none() {
            breaches.push(format!("{path} lacks up.sql or down.sql"));
        }
        let (time, words) = folder.name.split_once('_').unwrap_or_default();
        let is_name = time.len() == 14
            && time.bytes().all(|byte| byte.is_ascii_digit())
            && words.contains('_')
            && words.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !is_name {
            breaches.push(format!("{path} is not named <timestamp>_<verb_noun>"));
        }
        if !names.insert(&folder.name) || !times.insert(time) {
            breaches.push(format!("{path} has the time of another one: their order would be chance"));
        }
        if !embeds(&folder.domain) {
            breaches.push(format!("{path} is not embedded by crates/{}", folder.domain));
        }
    }
    breaches
}

#[test]
fn folders_that_would_not_run_are_found() {
    let folder = |domain: &str, name: &str| Folder {
        domain: domain.to_owned(),
        name: name.to_owned(),
        up: Some(String::new()),
        down: Some(String::new()),
    };
    let good = folder("usage", "20260101000000_create_records");
    let unregistered = |folders: &[Folder]| unregistered(folders, |domain| domain == "usage").len();
    let found = |folder: &Folder| unregistered(std::slice::from_ref(folder));
    assert_eq!(found(&good), 0);
    assert_eq!(found(&folder("credits", &good.name)), 1);
    assert_eq!(found(&folder("nobody", &good.name)), 2);
    assert_eq!(found(&Folder { down: None, ..good.clone() }), 1);
    for name in ["2026_create_records", "20260101000000_create", "20260101000000_Create_Records"] {
        assert_eq!(found(&folder("usage", name)), 1, "{name}");
    }
    assert_eq!(unregistered(&[good.clone(), good]), 1);
}

#[tokio::test]
async fn ways_back_that_leave_something_are_found() {
    let good = Step {
        name: "good",
        up: "CREATE SCHEMA a; CREATE TABLE a.a (b bigint PRIMARY KEY); COMMENT ON TABLE a.a IS 'c'",
        down: "DROP SCHEMA a CASCADE",
    };
    assert_eq!(remains(&[good]).await, [""; 0]);
    for (up, down, left) in [
        ("CREATE SCHEMA a; CREATE TYPE public.t AS ENUM ('x')", "DROP SCHEMA a", "leaves: + type public.t"),
        ("CREATE SCHEMA a", "SELECT 1", "leaves: + schema a"),
        ("CREATE SCHEMA a", "DROP SCHEMA b", "cannot go back"),
        (
            "COMMENT ON SCHEMA public IS NULL; GRANT ALL ON SCHEMA public TO PUBLIC",
            "SELECT 1",
            "leaves: - schema public",
        ),
    ] {
        let found = remains(&[Step { name: "bad", up, down }]).await;
        assert!(found.iter().any(|line| line.contains(left)), "{up}: {found:?}");
    }
}
