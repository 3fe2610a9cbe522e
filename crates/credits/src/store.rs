//! All SQL of the ledger: set-oriented, of constant text, a constant number of statements for any number of commands.

pub mod accounts;
pub mod audits;
pub mod balances;
pub mod blocked;
pub mod book;
pub mod budgets;
pub mod charges;
pub mod columns;
pub mod cool;
pub mod entries;
pub mod entry_grants;
pub mod global_references;
pub mod grants;
pub mod holds;
pub mod listings;
pub mod peek;
pub mod personal;
pub mod references;
pub mod spend;
pub mod sweep;
pub mod traces;
pub mod transactions;
pub mod verify;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::try_join;
use kernel::{Credits, UserId};
use pg::DbError;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    core::{self, AccountState, FORMER_INITIAL_REFERENCE, INITIAL_REFERENCE},
    model::{Action, Command},
    store::columns::Shared,
};

/// Needs of a batch from the database.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Owners of the accounts, in lock order.
    users: BTreeSet<UserId>,
    /// Accounts to be opened if they are missing.
    opened: BTreeSet<UserId>,
    /// References that commands name.
    references: BTreeSet<(UserId, String)>,
    /// References that commands name with the scope of all users.
    global_references: BTreeSet<String>,
    /// Holds that commands name.
    holds: BTreeSet<(UserId, Uuid)>,
    /// Charges that commands want to give back.
    charges: BTreeSet<(UserId, Uuid)>,
}

/// The locked accounts of a batch, and its instant.
#[derive(Debug)]
pub struct Batch {
    /// When the batch happens; each account raises it to its own time.
    pub now: OffsetDateTime,
    /// The accounts that exist.
    pub accounts: BTreeMap<UserId, AccountState>,
    /// Balances that owners want to hear of.
    pub thresholds: BTreeMap<UserId, Credits>,
    /// Owners of references with the scope of all users, with those added since loading.
    pub global_references: global_references::Uses,
}

/// Values from the database for new rows.
#[derive(Debug)]
pub struct Saved {
    /// To entries.
    pub entries: book::Ids,
    /// To grants.
    pub grants: grants::StoredMetadata,
    /// To holds.
    pub holds: holds::StoredMetadata,
}

impl Wanted {
    /// Needs of these commands.
    pub fn of<'a>(commands: impl IntoIterator<Item = &'a Command>) -> Self {
        let mut wanted = Self::default();
        for command in commands.into_iter().filter(|command| core::check(&command.action).is_ok()) {
            wanted.add(command);
        }
        wanted
    }

    fn add(&mut self, command: &Command) {
        let user = || command.user_id.clone();
        self.users.insert(user());
        let global = command.action.global_reference();
        self.global_references.extend(global.map(str::to_owned));
        let reference = match &command.action {
            Action::Open { .. } => {
                self.opened.insert(user());
                self.references.insert((user(), FORMER_INITIAL_REFERENCE.to_owned()));
                Some(INITIAL_REFERENCE)
            }
            Action::Grant(new) => new.reference_id.as_deref(),
            Action::Recharge { reference_id, .. } => reference_id.as_deref(),
            Action::Capture { hold_id, .. } | Action::Release { hold_id } => {
                self.holds.insert((user(), *hold_id));
                None
            }
            Action::Meter(metering) => {
                self.holds.extend(metering.from.hold_id().map(|hold_id| (user(), hold_id)));
                None
            }
            Action::Refund { transaction_id, .. } => {
                self.charges.insert((user(), *transaction_id));
                None
            }
            Action::Consume { .. }
            | Action::ConsumeUncollected { .. }
            | Action::Hold { .. }
            | Action::Adjust { .. }
            | Action::BookScheduled
            | Action::ApplyDue => None,
        };
        if let Some(reference) = reference {
            self.references.insert((user(), reference.to_owned()));
        }
    }
}

/// The accounts of a batch, locked, and what was read behind the locks.
#[derive(Debug)]
pub struct Locked {
    wanted: Wanted,
    /// Accounts that were made just now.
    fresh: BTreeSet<UserId>,
    rows: Vec<accounts::LockedRow>,
    live: grants::Live,
    known: Vec<references::Reference>,
    charges: charges::Charges,
    global_references: global_references::Uses,
}

/// Makes missing accounts that are to be opened, locks the accounts, and reads what belongs to them: live grants;
/// references and charges where commands name them.
///
/// All is sent at once. The server runs the statements of a connection in the order in which they were first polled, so
/// the reading ones start after the locks are held: a statement that waits for a lock answers the new row together with
/// old rows of other tables, and evaluates its clock before the wait. That it was so is checked.
pub async fn lock(
    conn: Shared<'_>,
    pinned: Option<OffsetDateTime>,
    wanted: Wanted,
) -> Result<Locked, DbError> {
    let fresh = accounts::insert_missing(conn, pinned, &wanted.opened).await?;
    let (rows, live, known, charges, global_references) = try_join!(
        accounts::lock_for_update(conn, &wanted.users),
        grants::load_live(conn, pinned, &wanted.users),
        references::load(conn, &wanted.references),
        charges::load(conn, &wanted.charges),
        global_references::load(conn, &wanted.global_references),
    )?;
    if live.read == grants::ReadWhen::Unlocked && !rows.is_empty() {
        let fault = "the grants of a batch were read before its accounts were locked";
        return Err(DbError::Inconsistent(fault.to_owned()));
    }
    Ok(Locked { wanted, fresh, rows, live, known, charges, global_references })
}

/// Puts together what was read of locked accounts. Reads holds of accounts where something is held, those that a command
/// names, and budgets of accounts that have any, in the windows of the instant; mostly there are none of them.
pub async fn load(conn: Shared<'_>, locked: Locked) -> Result<Batch, DbError> {
    let Locked { wanted, fresh, rows, live, known, charges, global_references } = locked;
    let holding: Vec<&str> = rows
        .iter()
        .map(|locked| &locked.row)
        .filter(|row| row.account.held > Credits::ZERO)
        .map(|row| row.user_id.as_str())
        .collect();
    let now = live.now;
    let budgeted: Vec<(&str, OffsetDateTime)> = rows
        .iter()
        .filter(|locked| locked.budgeted)
        .map(|locked| (locked.row.user_id.as_str(), locked.row.account.as_of.max(now)))
        .collect();
    let (holds, lines, budgets) = try_join!(
        holds::load(conn, &holding, &wanted.holds),
        holds::load_lines(conn, &holding),
        budgets::load(conn, &budgeted),
    )?;
    let thresholds = rows
        .iter()
        .filter_map(|locked| Some((locked.row.user_id.clone(), locked.row.low_balance_at?)))
        .collect();
    let rows = rows.into_iter().map(|locked| locked.row).collect();
    let accounts = accounts::assemble(rows, live.grants, holds::assemble(holds, lines), &fresh)?;
    let mut batch = Batch { now, accounts, thresholds, global_references };
    for (user, budgets) in budgets {
        if let Some(state) = batch.accounts.get_mut(&user) {
            state.keep_budgets(budgets);
        }
    }
    for reference in known {
        let (name, user_id) = (&reference.reference_id, &reference.user_id);
        batch.global_references.note_stored(name, user_id, &reference.known);
        if let Some(state) = batch.accounts.get_mut(&reference.user_id) {
            state.know(reference.reference_id, reference.known);
        }
    }
    for ((user, transaction_id), (charge, grants)) in charges {
        if let Some(state) = batch.accounts.get_mut(&user) {
            state.know_charge(transaction_id, charge, grants);
        }
    }
    Ok(batch)
}

/// Writes what changed, and answers what the database gave to what is new.
pub async fn save(conn: Shared<'_>, batch: &Batch) -> Result<Saved, DbError> {
    let states: Vec<&AccountState> = batch.accounts.values().collect();
    let (grants, holds, (), (), entries, ()) = try_join!(
        grants::insert(conn, &states),
        holds::insert(conn, &states),
        holds::update(conn, &states),
        budgets::update(conn, &states),
        book::book(conn, &states),
        global_references::insert(conn, &states, batch.now),
    )?;
    Ok(Saved { entries, grants, holds })
}

/// The statements that book and those of the tuned reads, whole, by name: for `EXPLAIN`.
#[must_use]
pub fn statements() -> Vec<(&'static str, &'static str)> {
    vec![
        ("book", &book::BOOK),
        ("book_charges", &book::BOOK_CHARGES),
        ("find_transaction", &entries::FIND),
        ("insert_budgets", &budgets::INSERT),
        ("insert_grants", &grants::INSERT),
        ("insert_holds", &holds::INSERT),
        ("list_entries", pg::once!(entries::listing(entries::LISTED))),
        ("list_expired_holds", pg::once!(listings::expired_holds())),
        ("list_holds", pg::once!(listings::holds_that("true"))),
        ("list_open_grants", pg::once!(listings::grants_that(listings::OPEN))),
        ("load_budgets", &budgets::LOAD),
        ("load_charges", &charges::LOAD),
        ("load_holds", &holds::LOAD),
        ("load_live_grants", &grants::LOAD_LIVE),
        ("load_references", &references::LOAD),
        ("lock_accounts", &accounts::LOCK),
        ("peek", &peek::PEEK),
        ("read_balances", balances::READ),
        ("read_budgets", &budgets::READ),
        ("trace", &traces::FIND),
        ("update_budgets", &budgets::UPDATE),
        ("update_holds", &holds::UPDATE),
    ]
}
