//! Questions to a database, with numbers or texts as answers.

use diesel::{QueryableByName, sql_types::BigInt, sql_types::Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use pg::{DbError, PgConnection};

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// The number that an expression or a query is.
///
/// # Errors
/// [`DbError`] as the database raises it.
pub async fn ask(conn: &mut PgConnection, sql: &str) -> Result<i64, DbError> {
    let row: Number = diesel::sql_query(format!("SELECT ({sql})::bigint AS number")).get_result(conn).await?;
    Ok(row.number)
}

/// The texts of a query with one column.
///
/// # Errors
/// [`DbError`] as the database raises it.
pub async fn ask_texts(conn: &mut PgConnection, query: &str) -> Result<Vec<String>, DbError> {
    let query = format!("SELECT line::text AS line FROM ({query}) AS lines (line)");
    let rows: Vec<Line> = diesel::sql_query(query).load(conn).await?;
    Ok(rows.into_iter().map(|row| row.line).collect())
}

/// The plan of a statement with parameters, on lines, as the sessions of the service make it.
///
/// # Errors
/// [`DbError`] as the database raises it.
pub async fn plan(conn: &mut PgConnection, text: &str) -> Result<String, DbError> {
    #[derive(QueryableByName)]
    struct PlanLine {
        #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
        line: String,
    }

    conn.batch_execute(&format!("PREPARE explained AS {text}")).await?;
    let last = (0..=60).rev().find(|number| *number == 0 || text.contains(&format!("${number}")));
    let nulls = vec!["NULL"; last.unwrap_or_default()].join(", ");
    let execute = if nulls.is_empty() { "explained".to_owned() } else { format!("explained({nulls})") };
    let explain = format!("EXPLAIN (COSTS OFF) EXECUTE {execute}");
    let lines: Vec<PlanLine> = diesel::sql_query(explain).load(conn).await?;
    conn.batch_execute("DEALLOCATE explained").await?;
    Ok(lines.into_iter().map(|row| row.line).collect::<Vec<_>>().join("\n"))
}
