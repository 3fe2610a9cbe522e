//! The ordinary role and its database, made without a client by PostgreSQL's single-user mode.

use std::path::Path;
use std::time::Duration;

use crate::Error;
use crate::command::{OnParentDeath, Programs};
use crate::folder::Readers;
use crate::location::Home;

const NOTE: &str = "postgres.names";
/// Long, because after a crash the single-user server recovers first.
const SINGLE_PATIENCE: Duration = Duration::from_secs(600);

/// Folders that must exist before the server starts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) role: &'a str,
    pub(crate) database: &'a str,
}

/// Makes both in a fresh cluster that is flushed to disk afterwards.
pub(crate) fn create_all(cluster: &Path, programs: &Programs<'_>, wanted: &Names<'_>) -> Result<(), Error> {
    let sql = create_role(wanted) + &create_database(wanted);
    single_user(cluster, programs, Flush::Skip, &sql).map(drop)
}

/// Makes what an existing cluster lacks. The note of the last time spares the question, about 50 ms.
pub(crate) fn ensure(home: &Home, programs: &Programs<'_>, wanted: &Names<'_>) -> Result<(), Error> {
    let note_there = home.folder.read_if_there(NOTE, Readers::Anyone)?;
    if note_there.is_some_and(|content| content == note_of(wanted).as_bytes()) {
        return Ok(());
    }
    let cluster = home.cluster();
    let ask = format!(
        "SELECT 'role is there' AS answer FROM pg_roles WHERE rolname = {}\n\
         SELECT 'database is there' AS answer FROM pg_database WHERE datname = {}\n",
        quoted(wanted.role, '\''),
        quoted(wanted.database, '\'')
    );
    let answer = single_user(&cluster, programs, Flush::Always, &ask)?;
    let mut sql = String::new();
    if !answer.contains("answer = \"role is there\"") {
        sql += &create_role(wanted);
    }
    if !answer.contains("answer = \"database is there\"") {
        sql += &create_database(wanted);
    }
    if !sql.is_empty() {
        single_user(&cluster, programs, Flush::Always, &sql)?;
    }
    note(home, wanted)
}

/// Records that both exist.
pub(crate) fn note(home: &Home, wanted: &Names<'_>) -> Result<(), Error> {
    home.folder.write_whole(NOTE, note_of(wanted).as_bytes())
}

/// Forgets what was recorded.
pub(crate) fn forget(home: &Home) -> Result<(), Error> {
    home.folder.remove_if_there(NOTE)
}

#[derive(Debug, Clone, Copy)]
enum Flush {
    Always,
    Skip,
}

/// Runs `sql`, a statement a line, and returns what was printed. The first statement that fails ends it.
fn single_user(cluster: &Path, programs: &Programs<'_>, flush: Flush, sql: &str) -> Result<String, Error> {
    let mut command = programs.prepared(&programs.binaries.postgres(), OnParentDeath::Kill)?;
    command.arg("--single").arg("-D").arg(cluster).args(["-c", "exit_on_error=on"]);
    if let Flush::Skip = flush {
        command.args(["-c", "fsync=off"]);
    }
    command.arg("postgres");
    programs.run("postgres --single", command, Some(sql), SINGLE_PATIENCE)
}

fn create_role(wanted: &Names<'_>) -> String {
    format!(
        "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION\n",
        quoted(wanted.role, '"')
    )
}

fn create_database(wanted: &Names<'_>) -> String {
    format!("CREATE DATABASE {} OWNER {}\n", quoted(wanted.database, '"'), quoted(wanted.role, '"'))
}

fn quoted(text: &str, quote: char) -> String {
    let doubled: String =
        text.chars().flat_map(|c| std::iter::repeat_n(c, if c == quote { 2 } else { 1 })).collect();
    format!("{quote}{doubled}{quote}")
}

/// Names have no control characters, so a tab cannot be part of one.
fn note_of(wanted: &Names<'_>) -> String {
    format!("{}\t{}\n", wanted.role, wanted.database)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quoted("a\"b", '"'), "\"a\"\"b\"");
        assert_eq!(quoted("o'x\"", '\''), "'o''x\"'");
    }
}
