//! The work that is batched.

use std::future::Future;

use diesel_async::AsyncPgConnection;

use crate::{DbError, Tx};

/// Set-oriented work of a [`Committer`](super::Committer): the outcome must be that of doing the items one by one, in order.
pub trait Work: Send + Sync + 'static {
    /// One requested change.
    type Item: Send + Sync + 'static;
    /// Its outcome. A refusal is an outcome, not an error.
    type Outcome: Send + 'static;
    /// The answers to the first statements.
    type Opening: Send;
    /// The decision to be written.
    type Plan<'a>: Send;

    /// Sends the first statements of the transaction, those that need no answer to another: locks, above all. They travel
    /// together with its beginning.
    fn open(
        &self,
        conn: &AsyncPgConnection,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Self::Opening, DbError>> + Send;

    /// Takes what locks are missing, reads what there is to be read, and decides all items.
    ///
    /// The next batch begins when this is done, while this one writes. Items of the keys of this one do not, before it is in
    /// its commit; what others lock or read of the same rows must wait for a lock of this one, or be such that their writes
    /// fail with [`DbError::Contention`], as between two processes.
    fn decide<'a>(
        &self,
        tx: &mut Tx,
        items: &'a [Self::Item],
        opening: Self::Opening,
    ) -> impl Future<Output = Result<Self::Plan<'a>, DbError>> + Send;

    /// Writes what was decided and answers as many outcomes as there are items, in the same order. The caller commits.
    fn save<'a>(
        &self,
        tx: &mut Tx,
        items: &'a [Self::Item],
        plan: Self::Plan<'a>,
    ) -> impl Future<Output = Result<Vec<Self::Outcome>, DbError>> + Send;

    /// Returns true if [`Work::at_once`] may do the item as things are now.
    fn is_plain(&self, _item: &Self::Item) -> bool {
        false
    }

    /// Does plain items in one statement that commits by itself; `None` for an item of which nothing was done, because the
    /// statement is not enough for it: it is done like others, after this.
    ///
    /// Called without the locks of a batch, and not behind a pooler, where a statement has no settings without a transaction.
    /// An error says that nothing was done, but for [`DbError::OutcomeUnknown`].
    fn at_once(
        &self,
        _conn: &AsyncPgConnection,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Vec<Option<Self::Outcome>>, DbError>> + Send {
        let nothing = items.iter().map(|_| None).collect();
        async move { Ok(nothing) }
    }

    /// Returns, in the order of the items, whether another transaction blocks each at this moment. Asked when a batch waited too long
    /// for a lock; must not wait itself, and `tx` is rolled back afterwards.
    ///
    /// Without an answer of its own, items that wait too long are run alone to find out. A time-out of the question itself,
    /// as behind the lock of a whole table, stands for all of them.
    fn blocked(
        &self,
        _tx: &mut Tx,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Vec<bool>, DbError>> + Send {
        let free = vec![false; items.len()];
        async move { Ok(free) }
    }

    /// Memory that an item takes while it waits, about, in bytes. For items that own texts: with their length.
    #[must_use]
    fn weight(_item: &Self::Item) -> usize {
        size_of::<Self::Item>()
    }
}

/// Set-oriented reading of a [`Coalescer`](super::Coalescer).
pub trait Lookup: Send + Sync + 'static {
    /// A question.
    type Item: Send + Sync + 'static;
    /// The answer.
    type Outcome: Send + 'static;

    /// Answers all items, in the same order.
    fn load(
        &self,
        conn: &mut AsyncPgConnection,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Vec<Self::Outcome>, DbError>> + Send;
}
