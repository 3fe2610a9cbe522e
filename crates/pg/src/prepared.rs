//! Statements that are parsed once per connection.
//!
//! diesel parses, describes and closes again every statement it deems of varying text: updates, upserts, raw SQL. With
//! diesel-async each of these is an extra round trip. Where the text is constant this is waste (docs/adr/0004).

use std::marker::PhantomData;

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
/// Rows are loaded into `#[derive(QueryableByName)]` structs.
pub fn sql(text: &'static str) -> Sql<()> {
    Sql { text, binds: () }
}

/// See [`sql`].
#[derive(Debug, Clone)]
#[must_use]
pub struct Sql<Binds> {
    text: &'static str,
    binds: Binds,
}

/// One value bound as SQL type `ST`, behind those in `Before`.
#[derive(Debug, Clone)]
pub struct Bound<Before, ST, Value> {
    before: Before,
    value: Value,
    sql_type: PhantomData<ST>,
}

impl<Binds> Sql<Binds> {
    /// Binds the next value as SQL type `ST`.
    pub fn bind<ST, Value>(self, value: Value) -> Sql<Bound<Binds, ST, Value>> {
        Sql { text: self.text, binds: Bound { before: self.binds, value, sql_type: PhantomData } }
    }
}

/// The values of a statement, in order.
pub trait Binds {
    /// Hands the values to the statement.
    ///
    /// # Errors
    /// What serializing a value raises.
    fn push<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

impl Binds for () {
    fn push<'b>(&'b self, _pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        Ok(())
    }
}

impl<Before, ST, Value> Binds for Bound<Before, ST, Value>
where
    Before: Binds,
    Pg: HasSqlType<ST>,
    Value: ToSql<ST, Pg>,
{
    fn push<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.before.push(pass)?;
        pass.push_bind_param_value_only(&self.value)
    }
}

impl<B: Binds> QueryFragment<Pg> for Sql<B> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql(self.text);
        self.binds.push(&mut pass)
    }

    fn is_safe_to_cache_prepared(&self, _backend: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<B> QueryId for Sql<B> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<B> Query for Sql<B> {
    type SqlType = Untyped;
}
