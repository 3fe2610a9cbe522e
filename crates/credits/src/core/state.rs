//! The part of an account that a batch needs, and what the batch makes of it.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{Credits, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    core::{
        Budget, Charge, EntryRef, Fault, Grant, Hold, JournalEntry, Known, burn, burn::Portion, fault::total,
    },
    model::{Balance, EntryKind, GrantView, HoldView},
};

/// One account as it is changed by the commands of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountState {
    /// The user.
    pub user_id: UserId,
    /// State of the account.
    pub status: AccountStatus,
    /// The figures.
    pub account: Account,
    /// The figures when the state was loaded: what is to be saved is the difference.
    pub loaded: Account,
    /// Live and scheduled grants in burn order, and those that were used up since loading.
    grants: Vec<Grant>,
    /// The references that commands of the batch name, as far as they are in use.
    pub(crate) references: BTreeMap<String, Known>,
    /// References with the scope of all users that commands of the batch name, as far as they are in use.
    claims: BTreeMap<String, Claim>,
    /// Open holds, those that commands of the batch name, and those made since loading.
    holds: BTreeMap<Uuid, Hold>,
    /// Stored charges that commands of the batch want to give back.
    charges: BTreeMap<Uuid, Charge>,
    /// The budgets.
    budgets: Vec<Budget>,
    /// Entries made since loading, in order.
    journal: Vec<JournalEntry>,
}

/// State of an account for the next commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountStatus {
    /// It was stored before.
    Open,
    /// Its row was made for a command of this batch that is still to come.
    Fresh,
}

/// User of a reference that is unique among all users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// This account, as it is stored.
    Ours,
    /// This account, since loading.
    New,
    /// Another account.
    Theirs,
}

/// The figures of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Booked credit, held or not.
    pub posted: Credits,
    /// Part of it that open holds set aside.
    pub held: Credits,
    /// All that was ever granted or recharged.
    pub lifetime_granted: Credits,
    /// `seq` of the newest entry.
    pub entry_seq: i64,
    /// Id of the newest grant.
    pub grant_seq: i64,
    /// When the next due item comes.
    pub next_due_at: Option<OffsetDateTime>,
    /// Time of the account; never goes back.
    pub as_of: OffsetDateTime,
    /// The stored head; commands do not change it.
    pub head: Option<Head>,
}

/// The grant that is spent next: the first in burn order with free credit, if nothing of it is held. The account stores what
/// remains of it, so that a charge need not write the grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The grant.
    pub grant_id: i64,
    /// Not yet spent.
    pub remaining: Credits,
}

impl AccountState {
    /// A stored account with its live and scheduled grants, its open holds, and those that commands of the batch name, in
    /// any order. Holds it is not given count as unknown.
    ///
    /// # Errors
    /// [`Fault`] when the figures or the head of the account are not those of its grants and holds.
    pub fn load(
        user_id: UserId,
        status: AccountStatus,
        account: Account,
        mut grants: Vec<Grant>,
        holds: Vec<Hold>,
    ) -> Result<Self, Fault> {
        grants.sort_by(burn::order);
        let state = Self {
            user_id,
            status,
            account,
            loaded: account,
            grants,
            references: BTreeMap::new(),
            claims: BTreeMap::new(),
            holds: holds.into_iter().map(|hold| (hold.id, hold)).collect(),
            charges: BTreeMap::new(),
            budgets: Vec::new(),
            journal: Vec::new(),
        };
        state.check_sums()?;
        match account.head {
            Some(head) if state.head() != Some(head) => Err(Fault::new(format!(
                "account {} has the head {head:?}, its grants {:?}",
                state.user_id,
                state.head()
            ))),
            _ => Ok(state),
        }
    }

    /// An account whose row is new and holds nothing.
    #[must_use]
    pub fn fresh(user_id: UserId, now: OffsetDateTime) -> Self {
        let account = Account {
            posted: Credits::ZERO,
            held: Credits::ZERO,
            lifetime_granted: Credits::ZERO,
            entry_seq: 0,
            grant_seq: 0,
            next_due_at: None,
            as_of: now,
            head: None,
        };
        Self {
            user_id,
            status: AccountStatus::Fresh,
            account,
            loaded: account,
            grants: Vec::new(),
            references: BTreeMap::new(),
            claims: BTreeMap::new(),
            holds: BTreeMap::new(),
            charges: BTreeMap::new(),
            budgets: Vec::new(),
            journal: Vec::new(),
        }
    }

    /// Adds a reference that is in use. Others count as free.
    pub fn know(&mut self, reference_id: String, known: Known) {
        self.references.insert(reference_id, known);
    }

    /// Adds the user of a reference that is unique among all users. Others count as free.
    pub fn know_claim(&mut self, reference_id: String, claim: Claim) {
        self.claims.insert(reference_id, claim);
    }

    /// The user of a reference that is unique among all users, if there is one.
    #[must_use]
    pub fn claim(&self, reference_id: &str) -> Option<Claim> {
        self.claims.get(reference_id).copied()
    }

    /// References that are unique among all users and used by this account since loading.
    pub fn new_claims(&self) -> impl Iterator<Item = &str> {
        let new = self.claims.iter().filter(|(_, claim)| **claim == Claim::New);
        new.map(|(reference, _)| reference.as_str())
    }

    /// Tells the state of a stored charge and of the grants it took from, whatever is left of them. Transactions it is
    /// not told of count as unknown.
    pub fn know_charge(&mut self, transaction_id: Uuid, charge: Charge, grants: Vec<Grant>) {
        for grant in grants {
            if self.grant(grant.id).is_none() {
                self.add_grant(grant);
            }
        }
        self.charges.insert(transaction_id, charge);
    }

    /// Tells the state of its budgets, brought to the window of the instant at which commands come. One that is not told of
    /// any has none.
    pub fn keep_budgets(&mut self, budgets: Vec<Budget>) {
        self.budgets = budgets;
    }

    /// The budgets.
    #[must_use]
    pub fn budgets(&self) -> &[Budget] {
        &self.budgets
    }

    pub(crate) fn budgets_mut(&mut self) -> &mut [Budget] {
        &mut self.budgets
    }

    /// Live and scheduled grants in burn order, and those that were used up since loading.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Open holds, those that were named, and those made since loading.
    pub fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.values()
    }

    /// Holds that are open.
    pub fn open_holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds().filter(|hold| hold.is_open())
    }

    /// Holds made since loading.
    pub fn new_holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds().filter(|hold| hold.entry_seq > self.loaded.entry_seq)
    }

    /// Stored holds that were resolved since loading.
    #[must_use]
    pub fn changed_holds(&self) -> Vec<&Hold> {
        let resolved: BTreeSet<Uuid> = self
            .journal
            .iter()
            .filter(|entry| matches!(entry.kind, EntryKind::Capture | EntryKind::Release))
            .filter_map(|entry| entry.hold_id)
            .collect();
        let stored = |hold: &&Hold| hold.entry_seq <= self.loaded.entry_seq && resolved.contains(&hold.id);
        self.holds().filter(stored).collect()
    }

    /// Entries made since loading, in order.
    #[must_use]
    pub fn journal(&self) -> &[JournalEntry] {
        &self.journal
    }

    /// Grants made since loading.
    pub fn new_grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(|grant| grant.id > self.loaded.grant_seq)
    }

    /// The head as it is now.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        let first = self.grants.iter().find(|grant| !grant.free().is_zero())?;
        first.held.is_zero().then_some(Head { grant_id: first.id, remaining: first.remaining })
    }

    /// Stored grants whose rows have to be written: those that entries made since loading have changed, and the stored head. The
    /// grant that was the head and still is has its figure in the account.
    #[must_use]
    pub fn changed_grants(&self) -> Vec<&Grant> {
        if self.account == self.loaded {
            return Vec::new();
        }
        let id = |head: Option<Head>| head.map(|head| head.grant_id);
        let (before, now) = (id(self.loaded.head), id(self.head()));
        let lines = self.journal.iter().flat_map(|entry| &entry.lines);
        let mut changed: BTreeSet<i64> = lines.map(|line| line.grant_id).chain(before).collect();
        if let Some(head) = before.filter(|_| before == now) {
            changed.remove(&head);
        }
        let stored = |grant: &&Grant| grant.id <= self.loaded.grant_seq && changed.contains(&grant.id);
        self.grants.iter().filter(stored).collect()
    }

    /// L3 and L4 as far as they can be seen here: the figures of the account are the sums over its grants and its open
    /// holds, and what is held of a grant is what open holds set aside of it.
    ///
    /// # Errors
    /// [`Fault`] with the figures.
    pub fn check_sums(&self) -> Result<(), Fault> {
        let (account, user) = (&self.account, &self.user_id);
        let booked = || self.grants.iter().filter(|grant| grant.booked_seq.is_some());
        let posted = total(booked().map(|grant| grant.remaining));
        let held = total(booked().map(|grant| grant.held));
        let in_holds = total(self.open_holds().map(|hold| hold.amount));
        let same = |sum: i128, figure: Credits| sum == i128::from(figure.micro());
        if !same(posted, account.posted) || !same(held, account.held) || !same(in_holds, account.held) {
            return Err(Fault::new(format!(
                "account {user} has posted {} and held {}, its grants {posted} and {held}, its holds {in_holds} micro-credits",
                account.posted, account.held
            )));
        }
        if account.held.is_zero() {
            return Ok(());
        }
        let mut aside: BTreeMap<i64, i128> = BTreeMap::new();
        for portion in self.open_holds().flat_map(|hold| &hold.allocation) {
            let sum = aside.entry(portion.grant_id).or_default();
            *sum = sum.saturating_add(i128::from(portion.amount.micro()));
        }
        for grant in booked() {
            let sum = aside.remove(&grant.id).unwrap_or_default();
            if !same(sum, grant.held) {
                let (id, held) = (grant.id, grant.held);
                return Err(Fault::new(format!(
                    "grant {id} of account {user} has held {held}, the holds {sum} micro-credits of it"
                )));
            }
        }
        match aside.keys().next() {
            None => Ok(()),
            Some(id) => Err(Fault::new(format!("holds of account {user} are on grant {id}, which is gone"))),
        }
    }

    /// Sum of scheduled grants, in micro-credits.
    pub(crate) fn scheduled(&self) -> i128 {
        total(self.grants.iter().filter(|grant| grant.booked_seq.is_none()).map(|grant| grant.amount))
    }

    /// The grant of this id.
    pub(crate) fn grant_mut(&mut self, id: i64) -> Result<&mut Grant, Fault> {
        self.grants
            .iter_mut()
            .find(|grant| grant.id == id)
            .ok_or_else(|| Fault::new(format!("grant {id} is not there")))
    }

    /// The grant of this id, if it was loaded or made.
    pub(crate) fn grant(&self, id: i64) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.id == id)
    }

    /// The hold of this id, if it was loaded or made.
    pub(crate) fn hold(&self, id: Uuid) -> Option<&Hold> {
        self.holds.get(&id)
    }

    pub(crate) fn hold_mut(&mut self, id: Uuid) -> Result<&mut Hold, Fault> {
        self.holds.get_mut(&id).ok_or_else(|| Fault::new(format!("hold {id} is not there")))
    }

    pub(crate) fn add_hold(&mut self, hold: Hold) {
        self.holds.insert(hold.id, hold);
    }

    /// The stored charge of this transaction, if it was loaded.
    pub(crate) fn charge(&self, transaction_id: Uuid) -> Option<&Charge> {
        self.charges.get(&transaction_id)
    }

    /// These portions in the burn order of their grants.
    pub(crate) fn in_burn_order(&self, portions: &[Portion]) -> Result<Vec<Portion>, Fault> {
        let of = |grant: &Grant| portions.iter().find(|portion| portion.grant_id == grant.id);
        let ordered: Vec<Portion> = self.grants.iter().filter_map(of).copied().collect();
        if ordered.len() == portions.len() {
            Ok(ordered)
        } else {
            Err(Fault::new(format!("a grant of {portions:?} is not there")))
        }
    }

    /// The hold of this id as it is shown now.
    pub(crate) fn show_hold(&self, id: Uuid) -> Option<HoldView> {
        self.hold(id).map(|hold| hold.shown())
    }

    /// The grant of this id as it is shown now: as it is here, or, if it is no longer live, as its reference knows it.
    pub(crate) fn show_grant(&self, id: i64) -> Option<GrantView> {
        let known = self.references.values().find(|known| known.grant.id == id);
        let known = known.map(|known| &known.grant);
        let grant = self.grant(id).or(known)?;
        let notes = grant.notes.as_ref().or_else(|| known?.notes.as_ref());
        let notes = notes.map(|notes| (**notes).clone()).unwrap_or_default();
        Some(grant.shown(&notes, self.account.as_of))
    }

    /// Adds a grant at its place in the burn order.
    pub(crate) fn add_grant(&mut self, grant: Grant) {
        let place = self.grants.partition_point(|other| burn::order(other, &grant).is_lt());
        self.grants.insert(place, grant);
    }

    pub(crate) fn add_entry(&mut self, entry: JournalEntry) {
        self.journal.push(entry);
    }

    /// The entry that booked the grant of a known reference, if it is booked.
    pub(crate) fn entry_of(&self, known: &Known) -> Result<EntryRef, Fault> {
        if let Some(entry) = &known.entry {
            return Ok(EntryRef::Before(entry.clone()));
        }
        // Not booked when it was loaded, so it is among the grants: scheduled, or booked since.
        let grant = self
            .grants
            .iter()
            .find(|grant| grant.id == known.grant.id)
            .ok_or_else(|| Fault::new(format!("grant {} is not there", known.grant.id)))?;
        Ok(grant.booked_seq.map_or(EntryRef::Nothing, EntryRef::Now))
    }
}

impl Account {
    /// The figures that are shown.
    #[must_use]
    pub fn balance(&self) -> Balance {
        Balance { posted: self.posted, held: self.held, lifetime_granted: self.lifetime_granted }
    }
}
