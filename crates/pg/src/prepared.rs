//! Statements that are parsed once per connection.
//!
//! diesel parses, describes and closes again every statement it deems of varying text: updates, upserts, raw SQL. With
//! diesel-async each of these is an extra round trip. Where the text is constant this is waste (docs/adr/0004).

use std::{fmt, marker::PhantomData};

use diesel::{
    QueryResult,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    serialize::ToSql,
    sql_types::{HasSqlType, Untyped},
};

/// A diesel query whose SQL text never varies: it is prepared once per connection and then found by its text.
///
/// The cache of a connection is unbounded, so the text must not depend on input.
#[derive(Debug, Clone)]
#[must_use]
pub struct Prepared<Q>(pub Q);

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Prepared<Q> {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(pass)
    }

    fn is_safe_to_cache_prepared(&self, _backend: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

/// No static id: the cache then keys on the text and the types of the binds.
impl<Q> QueryId for Prepared<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Prepared<Q> {
    type SqlType = Q::SqlType;
}

/// Hand-written SQL of constant text, prepared once per connection. Bind values in the order of `$1`, `$2`, ...
///
/// Rows are loaded into types that are read by the names of columns, with `#[derive(QueryableByName)]` or
/// [`read_columns!`](crate::read_columns).
pub fn sql<'a>(text: &'static str) -> Sql<'a> {
    Sql { text, binds: Vec::new() }
}

/// A text that is put together once, at its first use.
#[macro_export]
macro_rules! once {
    ($text:expr) => {{
        static TEXT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| $text);
        TEXT.as_str()
    }};
}

/// See [`sql`].
#[must_use]
pub struct Sql<'a> {
    text: &'static str,
    binds: Vec<Box<dyn Bind + Send + 'a>>,
}

impl<'a> Sql<'a> {
    /// Binds the next value as SQL type `ST`.
    pub fn bind<ST, Value>(mut self, value: Value) -> Self
    where
        ST: 'a,
        Pg: HasSqlType<ST>,
        Value: ToSql<ST, Pg> + Send + 'a,
    {
        self.binds.push(Box::new(Bound::<ST, Value> { value, sql_type: PhantomData }));
        self
    }
}

impl fmt::Debug for Sql<'_> {
    /// The text alone: values may be what a user said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sql").field(&self.text).finish()
    }
}

/// A value that is bound as SQL type `ST`.
struct Bound<ST, Value> {
    value: Value,
    sql_type: PhantomData<fn() -> ST>,
}

/// A value of a statement.
trait Bind {
    /// Hands the value to the statement.
    fn push<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

impl<ST, Value> Bind for Bound<ST, Value>
where
    Pg: HasSqlType<ST>,
    Value: ToSql<ST, Pg>,
{
    fn push<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_bind_param_value_only(&self.value)
    }
}

impl QueryFragment<Pg> for Sql<'_> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql(self.text);
        self.binds.iter().try_for_each(|bind| bind.push(&mut pass))
    }

    fn is_safe_to_cache_prepared(&self, _backend: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

impl QueryId for Sql<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Sql<'_> {
    type SqlType = Untyped;
}
