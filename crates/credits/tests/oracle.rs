//! The rules of the ledger once more, as naively as they can be said: plain lists, and a clock that ticks every second.
//!
//! Shares no code with the crate. Amounts are i128 micro-credits, times are seconds.

mod budgets;
mod charges;

use credits::NewGrantKind;

pub use self::budgets::Allowance;
use self::charges::Done;
use crate::generator::{Names, Op, reference};

const MAX: i128 = 1_000_000_000_000_000;
const WEEK: i64 = 604_800;

#[derive(Debug, Clone)]
pub struct Lot {
    pub kind: &'static str,
    pub bought: bool,
    pub priority: u8,
    pub worth: i128,
    pub left: i128,
    /// Part of `left` that pledges keep.
    pub kept: i128,
    pub begins: i64,
    pub ends: Option<i64>,
    pub row: Option<usize>,
    pub reference: Option<String>,
}

/// Credit that somebody keeps for later. Named by the number of its command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pledge {
    pub number: usize,
    pub of_user: bool,
    pub amount: i128,
    /// In burn order.
    pub parts: Vec<(usize, i128)>,
    pub until: i64,
    pub state: &'static str,
    pub charged: i128,
    pub freed: i128,
    pub missing: i128,
    pub ended: Option<i64>,
}

/// What one row did to one lot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    pub lot: usize,
    pub left: i128,
    pub kept: i128,
}

/// A line of the journal. Lots are named by their place in the list of lots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub kind: &'static str,
    pub amount: i128,
    pub before: i128,
    pub after: i128,
    pub kept_after: i128,
    pub at: i64,
    /// Number of the command; `None` for what came with time.
    pub command: Option<usize>,
    pub reference: Option<String>,
    /// Number of the hold.
    pub pledge: Option<usize>,
    /// The row that this one gives back.
    pub gives_back: Option<usize>,
    /// By lot.
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Did { row: Option<usize>, replayed: bool, pledge: Option<Box<Pledge>>, missing: i128 },
    No(&'static str),
}

#[derive(Debug, Clone, Default)]
pub struct Oracle {
    pub opened: bool,
    pub time: i64,
    pub lots: Vec<Lot>,
    pub pledges: Vec<Pledge>,
    pub rows: Vec<Row>,
    pub allowances: Vec<Allowance>,
    /// What can be given back of each charge, in burn order.
    refundable: Vec<(usize, Vec<(usize, i128)>)>,
}

impl Oracle {
    pub fn posted(&self) -> i128 {
        self.booked().map(|lot| lot.left).sum()
    }

    pub fn kept(&self) -> i128 {
        self.lots.iter().map(|lot| lot.kept).sum()
    }

    pub fn lifetime(&self) -> i128 {
        self.booked().filter(|lot| lot.kind != "refund").map(|lot| lot.worth).sum()
    }

    /// The next second in which time alone changes something.
    pub fn next_due(&self) -> Option<i64> {
        let of = |lot: &Lot| match lot.row {
            None => Some(lot.begins),
            Some(_) if lot.left > lot.kept => lot.ends,
            Some(_) => None,
        };
        let open = self.pledges.iter().filter(|pledge| pledge.state == "open");
        self.lots.iter().filter_map(of).chain(open.map(|pledge| pledge.until)).min()
    }

    /// Lets the clock tick up to `now`.
    pub fn tick(&mut self, now: i64) {
        // Nothing happens in the long time before the next due second.
        while let Some(second) = self.next_due().filter(|second| *second <= now) {
            self.time = self.time.max(second);
            for place in 0..self.pledges.len() {
                if self.pledges[place].state == "open" && self.pledges[place].until == second {
                    self.end(place, second, "expired", None);
                    self.lose(second, |ends| ends < second);
                }
            }
            self.lose(second, |ends| ends == second);
            for place in 0..self.lots.len() {
                if self.lots[place].row.is_none() && self.lots[place].begins == second {
                    self.begin(place, second, None);
                }
            }
        }
        self.time = self.time.max(now);
    }

    pub fn step(&mut self, now: i64, command: usize, names: &Names, op: &Op) -> Answer {
        if let Some(no) = self.nonsense(op) {
            return Answer::No(no);
        }
        self.tick(now);
        let said = self.act(now, command, names, op);
        // What a command set free of lots that ended before is lost at once, those that ended first before others.
        let mut ended: Vec<i64> = self.lots.iter().filter_map(|lot| lot.ends).collect();
        ended.sort_unstable();
        ended.dedup();
        let present = self.time;
        for end in ended.into_iter().filter(|end| *end <= present) {
            self.lose(present, |ends| ends == end);
        }
        match said {
            Ok((row, pledge, missing)) => Answer::Did {
                row,
                replayed: false,
                pledge: pledge.map(|place| Box::new(self.pledges[place].clone())),
                missing,
            },
            Err(said) => said,
        }
    }

    /// What is wrong with a request, whatever the account.
    fn nonsense(&self, op: &Op) -> Option<&'static str> {
        let (amount, least) = match op {
            Op::Open(amount) => (*amount, 0),
            Op::Capture { amount, .. } => (amount.unwrap_or(0), 0),
            Op::Refund { amount, .. } => (amount.unwrap_or(1), 1),
            Op::Give { amount, .. }
            | Op::Recharge { amount, .. }
            | Op::Hold { amount, .. }
            | Op::Remove { amount, .. }
            | Op::Consume(amount)
            | Op::TakeWhatIsThere(amount)
            | Op::Add(amount) => (*amount, 1),
            Op::Release { .. } | Op::BookScheduled | Op::ApplyDue => (1, 1),
        };
        let amount = i128::from(amount);
        let life = matches!(op, Op::Hold { seconds, .. } if *seconds < 1 || *seconds > 86_400);
        if amount < least || amount > MAX || life {
            return Some("ValidationException");
        }
        (!self.opened && !matches!(op, Op::Open(_))).then_some("UserNotFoundException")
    }

    fn act(&mut self, now: i64, command: usize, names: &Names, op: &Op) -> Result<Done, Answer> {
        match op {
            Op::Open(amount) => Ok((self.open((*amount).into(), command)?, None, 0)),
            Op::Consume(amount) => {
                if i128::from(*amount) > self.spendable() {
                    return Err(Answer::No("InsufficientCreditsException"));
                }
                if i128::from(*amount) > self.allowed() {
                    return Err(Answer::No("BudgetExceededException"));
                }
                Ok((self.spend((*amount).into(), command), None, 0))
            }
            Op::TakeWhatIsThere(amount) => {
                let amount = i128::from(*amount);
                let part = amount.min(self.spendable()).min(self.allowed());
                Ok((self.spend(part, command), None, amount - part))
            }
            Op::Recharge { reference: used, amount } => {
                let lot = self.lot("purchase", 100, (*amount).into(), used.map(reference));
                Ok((self.give(lot, command)?, None, 0))
            }
            Op::Give { kind, priority, begins, ends, reference: used, amount } => {
                let word = match kind {
                    NewGrantKind::Purchase => "purchase",
                    NewGrantKind::Plan => "plan",
                    NewGrantKind::Promo => "promo",
                };
                let mut lot = self.lot(word, *priority, (*amount).into(), used.map(reference));
                lot.begins = begins.map_or(self.time, |seconds| now + seconds);
                lot.ends = ends.map(|seconds| now + seconds);
                Ok((self.give(lot, command)?, None, 0))
            }
            Op::Hold { amount, clamp, seconds, by_user } => {
                let (row, place, missing) = self.keep((*amount).into(), *clamp, *seconds, command)?;
                self.pledges.last_mut().unwrap().of_user = *by_user;
                Ok((row, place, missing))
            }
            Op::Capture { .. } | Op::Release { .. } => self.resolve(command, names, op),
            Op::Refund { back, amount } => {
                let row = self.give_back(names.charge(*back), amount.map(i128::from), command)?;
                Ok((Some(row), None, 0))
            }
            Op::Add(amount) => {
                let lot = self.lot("adjustment", 100, (*amount).into(), None);
                Ok((self.give(lot, command)?, None, 0))
            }
            Op::Remove { amount, lot } => Ok((Some(self.remove((*amount).into(), *lot, command)?), None, 0)),
            Op::BookScheduled => {
                for place in 0..self.lots.len() {
                    if self.lots[place].row.is_none() {
                        self.begin(place, self.time, None);
                    }
                }
                Ok((None, None, 0))
            }
            Op::ApplyDue => Ok((None, None, 0)),
        }
    }

    fn resolve(&mut self, command: usize, names: &Names, op: &Op) -> Result<Done, Answer> {
        match op {
            Op::Capture { back, amount, by_user } => {
                let place = self.open_pledge(names.hold(*back), *by_user)?;
                Ok(self.charge(place, amount.map(i128::from), command))
            }
            Op::Release { back, by_user } => {
                let place = self.open_pledge(names.hold(*back), *by_user)?;
                let row = self.end(place, self.time, "released", Some(command));
                Ok((Some(row), Some(place), 0))
            }
            _ => unreachable!(),
        }
    }

    fn booked(&self) -> impl Iterator<Item = &Lot> {
        self.lots.iter().filter(|lot| lot.row.is_some())
    }

    fn spendable(&self) -> i128 {
        self.posted() - self.kept()
    }

    fn lot(&self, kind: &'static str, priority: u8, worth: i128, reference: Option<String>) -> Lot {
        Lot {
            kind,
            bought: kind == "purchase",
            priority,
            worth,
            left: 0,
            kept: 0,
            begins: self.time,
            ends: None,
            row: None,
            reference,
        }
    }

    fn open(&mut self, amount: i128, command: usize) -> Result<Option<usize>, Answer> {
        if self.opened {
            let first = self.lots.iter().find(|lot| lot.kind == "initial");
            return Err(again(first.and_then(|lot| lot.row)));
        }
        self.opened = true;
        if amount == 0 {
            return Ok(None);
        }
        self.give(self.lot("initial", 100, amount, Some("\u{1}initial".to_owned())), command)
    }

    fn give(&mut self, lot: Lot, command: usize) -> Result<Option<usize>, Answer> {
        let same = |other: &&Lot| lot.reference.is_some() && other.reference == lot.reference;
        if let Some(other) = self.lots.iter().find(same) {
            return Err(if other.worth == lot.worth && other.kind == lot.kind {
                again(other.row)
            } else {
                Answer::No("ReferenceConflictException")
            });
        }
        if lot.ends.is_some_and(|ends| ends <= self.time || ends <= lot.begins) {
            return Err(Answer::No("ValidationException"));
        }
        self.has_room(lot.worth)?;
        let begins = lot.begins;
        self.lots.push(lot);
        Ok((begins <= self.time).then(|| self.begin(self.lots.len() - 1, self.time, Some(command))))
    }

    fn has_room(&self, amount: i128) -> Result<(), Answer> {
        let unbooked = self.lots.iter().filter(|lot| lot.row.is_none());
        let coming: i128 = unbooked.map(|lot| lot.worth).sum();
        if self.posted() + coming + amount > MAX {
            Err(Answer::No("BalanceLimitExceededException"))
        } else {
            Ok(())
        }
    }

    fn begin(&mut self, place: usize, at: i64, command: Option<usize>) -> usize {
        let lot = &mut self.lots[place];
        lot.row = Some(self.rows.len());
        let kind = match lot.kind {
            "purchase" => "recharge",
            "adjustment" => "adjust",
            _ => "grant",
        };
        let (worth, reference) = (lot.worth, lot.reference.clone());
        let row = self.write(kind, worth, at, command, vec![moved(place, worth)]);
        self.rows[row].reference = reference;
        row
    }

    fn spend(&mut self, amount: i128, command: usize) -> Option<usize> {
        if amount == 0 {
            return None;
        }
        let parts = self.first_to_burn(amount);
        let gone = parts.iter().map(|(lot, part)| moved(*lot, -part)).collect();
        let row = self.write("consume", amount, self.time, Some(command), gone);
        self.refundable.push((row, parts));
        Some(row)
    }

    /// Writes off what is free of the lots whose end is such.
    fn lose(&mut self, at: i64, such: impl Fn(i64) -> bool) {
        let mut ended: Vec<(i64, usize)> = Vec::new();
        for (place, lot) in self.lots.iter().enumerate() {
            ended.extend(lot.ends.filter(|ends| such(*ends)).map(|ends| (ends, place)));
        }
        ended.sort_unstable();
        for (_, place) in ended {
            let lost = free(&self.lots[place]);
            if lost > 0 {
                self.write("expire", lost, at, None, vec![moved(place, -lost)]);
            }
        }
    }

    /// What of which lot goes first, without taking it.
    fn first_to_burn(&self, amount: i128) -> Vec<(usize, i128)> {
        let mut there: Vec<i128> = self.lots.iter().map(free).collect();
        let (mut parts, mut missing) = (Vec::new(), amount);
        while missing > 0 {
            let candidates = (0..self.lots.len()).filter(|place| there[*place] > 0);
            let first = candidates.reduce(|a, b| if self.burns_before(b, a) { b } else { a }).unwrap();
            let part = there[first].min(missing);
            there[first] -= part;
            missing -= part;
            parts.push((first, part));
        }
        parts
    }

    fn burns_before(&self, a: usize, b: usize) -> bool {
        let (x, y) = (&self.lots[a], &self.lots[b]);
        if x.priority != y.priority {
            return x.priority < y.priority;
        }
        if x.ends != y.ends {
            return x.ends.unwrap_or(i64::MAX) < y.ends.unwrap_or(i64::MAX);
        }
        if x.bought != y.bought {
            return y.bought;
        }
        if x.begins != y.begins {
            return x.begins < y.begins;
        }
        a < b
    }

    fn write(
        &mut self,
        kind: &'static str,
        amount: i128,
        at: i64,
        command: Option<usize>,
        mut parts: Vec<Part>,
    ) -> usize {
        let last = self.rows.last();
        let (before, kept_before) = last.map_or((0, 0), |row| (row.after, row.kept_after));
        parts.sort_unstable();
        for part in &parts {
            let lot = &mut self.lots[part.lot];
            lot.left += part.left;
            lot.kept += part.kept;
        }
        self.rows.push(Row {
            kind,
            amount,
            before,
            after: before + parts.iter().map(|part| part.left).sum::<i128>(),
            kept_after: kept_before + parts.iter().map(|part| part.kept).sum::<i128>(),
            at,
            command,
            reference: None,
            pledge: None,
            gives_back: None,
            parts,
        });
        self.rows.len() - 1
    }
}

fn again(row: Option<usize>) -> Answer {
    Answer::Did { row, replayed: true, pledge: None, missing: 0 }
}

fn moved(lot: usize, left: i128) -> Part {
    Part { lot, left, kept: 0 }
}

/// What of a lot can be spent.
fn free(lot: &Lot) -> i128 {
    if lot.row.is_some() { lot.left - lot.kept } else { 0 }
}
