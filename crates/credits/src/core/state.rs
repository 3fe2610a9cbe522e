//! The part of an account that a batch needs, and what the batch makes of it.

use std::collections::BTreeMap;

use kernel::{Credits, UserId};
use time::OffsetDateTime;

use crate::{
    core::{Fault, JournalEntry, Written, burn, fault::total},
    model::{Balance, Entry, GrantKind},
};

/// One account as it is changed by the commands of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountState {
    /// Whose.
    pub user_id: UserId,
    /// Whether the account has been opened.
    pub standing: Standing,
    /// The figures.
    pub account: Account,
    /// The figures when the state was loaded: what is to be saved is the difference.
    pub loaded: Account,
    /// Live and scheduled grants in burn order, and those that were used up since loading.
    grants: Vec<Grant>,
    /// The references that commands of the batch name, as far as they are in use.
    pub(crate) references: BTreeMap<String, Known>,
    /// Entries made since loading, in order.
    journal: Vec<JournalEntry>,
}

/// Whether an account exists for the commands that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It was stored before.
    Open,
    /// Its row was made for a command of this batch that is still to come.
    Fresh,
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
}

/// A lot of credit with its own life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Counted per account.
    pub id: i64,
    /// Where it came from.
    pub kind: GrantKind,
    /// A purchase, or the refund of one.
    pub paid: bool,
    /// Low burns first.
    pub priority: u8,
    /// What it was worth at first.
    pub amount: Credits,
    /// Not yet spent, held or not.
    pub remaining: Credits,
    /// Part of it that open holds set aside.
    pub held: Credits,
    /// From when it counts.
    pub effective_at: OffsetDateTime,
    /// When what is left of it is lost.
    pub expires_at: Option<OffsetDateTime>,
    /// The entry that booked it; `None` while it is scheduled.
    pub booked_seq: Option<i64>,
    /// Identity of the payment or gift.
    pub reference_id: Option<String>,
    /// When it was made known.
    pub created_at: OffsetDateTime,
}

/// A reference that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The grant that has it.
    pub grant_id: i64,
    /// Kind of that grant.
    pub kind: GrantKind,
    /// Amount of that grant.
    pub amount: Credits,
    /// The stored entry that booked it; `None` if it was not booked when the state was loaded.
    pub entry: Option<Box<Entry>>,
}

impl AccountState {
    /// A stored account with its live and scheduled grants, in any order.
    ///
    /// # Errors
    /// [`Fault`] when the figures of the account are not those of its grants.
    pub fn load(
        user_id: UserId,
        standing: Standing,
        account: Account,
        mut grants: Vec<Grant>,
    ) -> Result<Self, Fault> {
        grants.sort_by(burn::order);
        let state = Self {
            user_id,
            standing,
            account,
            loaded: account,
            grants,
            references: BTreeMap::new(),
            journal: Vec::new(),
        };
        state.check_sums()?;
        Ok(state)
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
        };
        Self {
            user_id,
            standing: Standing::Fresh,
            account,
            loaded: account,
            grants: Vec::new(),
            references: BTreeMap::new(),
            journal: Vec::new(),
        }
    }

    /// Tells the state of a reference that is in use. References it is not told of count as free.
    pub fn know(&mut self, reference_id: String, known: Known) {
        self.references.insert(reference_id, known);
    }

    /// Live and scheduled grants in burn order, and those that were used up since loading.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Entries made since loading, in order.
    #[must_use]
    pub fn journal(&self) -> &[JournalEntry] {
        &self.journal
    }

    /// Grants made since loading.
    pub fn new_grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants
            .iter()
            .filter(|grant| grant.id > self.loaded.grant_seq)
    }

    /// Stored grants that entries made since loading have touched.
    #[must_use]
    pub fn changed_grants(&self) -> Vec<&Grant> {
        let touched: std::collections::BTreeSet<i64> = self
            .journal
            .iter()
            .flat_map(|entry| &entry.lines)
            .map(|line| line.grant_id)
            .collect();
        let stored = |grant: &&Grant| grant.id <= self.loaded.grant_seq && touched.contains(&grant.id);
        self.grants.iter().filter(stored).collect()
    }

    /// L3 and L4 as far as they can be seen here: the figures of the account are the sums over its grants.
    ///
    /// # Errors
    /// [`Fault`] with the figures.
    pub fn check_sums(&self) -> Result<(), Fault> {
        let booked = || self.grants.iter().filter(|grant| grant.booked_seq.is_some());
        let posted = total(booked().map(|grant| grant.remaining));
        let held = total(booked().map(|grant| grant.held));
        if posted == i128::from(self.account.posted.micro()) && held == i128::from(self.account.held.micro())
        {
            return Ok(());
        }
        let (account, user) = (&self.account, &self.user_id);
        Err(Fault::new(format!(
            "account {user} has posted {} and held {}, its grants {posted} and {held} micro-credits",
            account.posted, account.held
        )))
    }

    /// What scheduled grants will bring, in micro-credits.
    pub(crate) fn scheduled(&self) -> i128 {
        total(
            self.grants
                .iter()
                .filter(|grant| grant.booked_seq.is_none())
                .map(|grant| grant.amount),
        )
    }

    /// The grant of this id.
    pub(crate) fn grant_mut(&mut self, id: i64) -> Result<&mut Grant, Fault> {
        self.grants
            .iter_mut()
            .find(|grant| grant.id == id)
            .ok_or_else(|| Fault::new(format!("grant {id} is not there")))
    }

    /// Adds a grant at its place in the burn order.
    pub(crate) fn add_grant(&mut self, grant: Grant) {
        let place = self
            .grants
            .partition_point(|other| burn::order(other, &grant).is_lt());
        self.grants.insert(place, grant);
    }

    pub(crate) fn add_entry(&mut self, entry: JournalEntry) {
        self.journal.push(entry);
    }

    /// The entry that booked the grant of a known reference, if it is booked.
    pub(crate) fn entry_of(&self, known: &Known) -> Result<Written, Fault> {
        if let Some(entry) = &known.entry {
            return Ok(Written::Before(entry.clone()));
        }
        // Not booked when it was loaded, so it is among the grants: scheduled, or booked since.
        let grant = self
            .grants
            .iter()
            .find(|grant| grant.id == known.grant_id)
            .ok_or_else(|| Fault::new(format!("grant {} is not there", known.grant_id)))?;
        Ok(grant.booked_seq.map_or(Written::Nothing, Written::Now))
    }
}

impl Account {
    /// The figures that are shown.
    #[must_use]
    pub fn balance(&self) -> Balance {
        Balance {
            posted: self.posted,
            held: self.held,
            lifetime_granted: self.lifetime_granted,
        }
    }
}

impl Grant {
    /// What of it may be spent. Nothing of it while it is scheduled.
    #[must_use]
    pub fn free(&self) -> Credits {
        match self.booked_seq {
            Some(_) => self.remaining.checked_sub(self.held).unwrap_or(Credits::ZERO),
            None => Credits::ZERO,
        }
    }
}
