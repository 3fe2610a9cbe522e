//! The rules of the ledger once more, as naively as they can be said: plain lists, and a clock that ticks every second.
//!
//! Shares no code with the crate. Amounts are i128 micro-credits, times are seconds.

use crate::generator::{Op, reference};
use credits::NewGrantKind;

const MAX: i128 = 1_000_000_000_000_000;

#[derive(Debug, Clone)]
pub struct Lot {
    pub kind: &'static str,
    pub bought: bool,
    pub priority: u8,
    pub worth: i128,
    pub left: i128,
    pub begins: i64,
    pub ends: Option<i64>,
    pub row: Option<usize>,
    pub reference: Option<String>,
}

/// A line of the journal. Lots are named by their place in the list of lots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub kind: &'static str,
    pub amount: i128,
    pub before: i128,
    pub after: i128,
    pub at: i64,
    /// Number of the command; `None` for what came with time.
    pub command: Option<usize>,
    pub reference: Option<String>,
    pub parts: Vec<(usize, i128)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Did { row: Option<usize>, replayed: bool },
    No(&'static str),
}

#[derive(Debug, Clone, Default)]
pub struct Oracle {
    pub opened: bool,
    pub time: i64,
    pub lots: Vec<Lot>,
    pub rows: Vec<Row>,
}

impl Oracle {
    pub fn posted(&self) -> i128 {
        self.lots
            .iter()
            .filter(|lot| lot.row.is_some())
            .map(|lot| lot.left)
            .sum()
    }

    pub fn lifetime(&self) -> i128 {
        self.lots
            .iter()
            .filter(|lot| lot.row.is_some())
            .map(|lot| lot.worth)
            .sum()
    }

    /// The next second in which time alone changes something.
    pub fn next_due(&self) -> Option<i64> {
        let of = |lot: &Lot| match lot.row {
            None => Some(lot.begins),
            Some(_) if lot.left > 0 => lot.ends,
            Some(_) => None,
        };
        self.lots.iter().filter_map(of).min()
    }

    /// Lets the clock tick up to `now`.
    pub fn tick(&mut self, now: i64) {
        for second in self.time + 1..=now {
            for place in 0..self.lots.len() {
                let lot = &self.lots[place];
                if lot.row.is_some() && lot.ends == Some(second) && lot.left > 0 {
                    let lost = lot.left;
                    self.write("expire", second, None, None, vec![(place, -lost)]);
                }
            }
            for place in 0..self.lots.len() {
                if self.lots[place].row.is_none() && self.lots[place].begins == second {
                    self.begin(place, second, None);
                }
            }
        }
        self.time = self.time.max(now);
    }

    pub fn step(&mut self, now: i64, command: usize, op: &Op) -> Said {
        let (amount, least) = match op {
            Op::Open(amount) => (*amount, 0),
            Op::Give { amount, .. } | Op::Recharge { amount, .. } | Op::Consume(amount) => (*amount, 1),
            Op::ApplyDue => (1, 1),
        };
        let amount = i128::from(amount);
        if amount < least || amount > MAX {
            return Said::No("ValidationException");
        }
        if !self.opened && !matches!(op, Op::Open(_)) {
            return Said::No("UserNotFoundException");
        }
        self.tick(now);
        match op {
            Op::Open(_) => self.open(amount, command),
            Op::Consume(_) => self.spend(amount, command),
            Op::Recharge { reference: used, .. } => {
                let lot = self.lot("purchase", 100, amount, used.map(reference));
                self.give(lot, command)
            }
            Op::Give {
                kind,
                priority,
                begins,
                ends,
                reference: used,
                ..
            } => {
                let word = match kind {
                    NewGrantKind::Purchase => "purchase",
                    NewGrantKind::Plan => "plan",
                    NewGrantKind::Promo => "promo",
                };
                let mut lot = self.lot(word, *priority, amount, used.map(reference));
                lot.begins = begins.map_or(self.time, |seconds| now + seconds);
                lot.ends = ends.map(|seconds| now + seconds);
                self.give(lot, command)
            }
            Op::ApplyDue => Said::Did {
                row: None,
                replayed: false,
            },
        }
    }

    fn lot(&self, kind: &'static str, priority: u8, worth: i128, reference: Option<String>) -> Lot {
        let bought = kind == "purchase";
        Lot {
            kind,
            bought,
            priority,
            worth,
            left: 0,
            begins: self.time,
            ends: None,
            row: None,
            reference,
        }
    }

    fn open(&mut self, amount: i128, command: usize) -> Said {
        if self.opened {
            let first = self.lots.iter().find(|lot| lot.kind == "initial");
            return Said::Did {
                row: first.and_then(|lot| lot.row),
                replayed: true,
            };
        }
        self.opened = true;
        if amount == 0 {
            return Said::Did {
                row: None,
                replayed: false,
            };
        }
        self.give(
            self.lot("initial", 100, amount, Some("initial".to_owned())),
            command,
        )
    }

    fn give(&mut self, lot: Lot, command: usize) -> Said {
        let same = |other: &&Lot| lot.reference.is_some() && other.reference == lot.reference;
        if let Some(other) = self.lots.iter().find(same) {
            if other.worth == lot.worth && other.kind == lot.kind {
                return Said::Did {
                    row: other.row,
                    replayed: true,
                };
            }
            return Said::No("ReferenceConflictException");
        }
        if lot
            .ends
            .is_some_and(|ends| ends <= self.time || ends <= lot.begins)
        {
            return Said::No("ValidationException");
        }
        let coming: i128 = self
            .lots
            .iter()
            .filter(|lot| lot.row.is_none())
            .map(|lot| lot.worth)
            .sum();
        if self.posted() + coming + lot.worth > MAX {
            return Said::No("BalanceLimitExceededException");
        }
        let begins = lot.begins;
        self.lots.push(lot);
        let row = (begins <= self.time).then(|| self.begin(self.lots.len() - 1, self.time, Some(command)));
        Said::Did { row, replayed: false }
    }

    fn begin(&mut self, place: usize, at: i64, command: Option<usize>) -> usize {
        let lot = &mut self.lots[place];
        lot.row = Some(self.rows.len());
        let (word, worth) = (
            if lot.kind == "purchase" {
                "recharge"
            } else {
                "grant"
            },
            lot.worth,
        );
        let reference = lot.reference.clone();
        self.write(word, at, command, reference, vec![(place, worth)])
    }

    fn spend(&mut self, amount: i128, command: usize) -> Said {
        if amount > self.posted() {
            return Said::No("InsufficientCreditsException");
        }
        let mut left: Vec<i128> = self.lots.iter().map(|lot| lot.left).collect();
        let (mut parts, mut missing) = (Vec::new(), amount);
        while missing > 0 {
            let candidates =
                (0..self.lots.len()).filter(|place| left[*place] > 0 && self.lots[*place].row.is_some());
            let first = candidates
                .reduce(|a, b| if self.burns_before(b, a) { b } else { a })
                .unwrap();
            let part = left[first].min(missing);
            left[first] -= part;
            missing -= part;
            parts.push((first, -part));
        }
        let row = self.write("consume", self.time, Some(command), None, parts);
        Said::Did {
            row: Some(row),
            replayed: false,
        }
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
        at: i64,
        command: Option<usize>,
        reference: Option<String>,
        parts: Vec<(usize, i128)>,
    ) -> usize {
        let before = self.rows.last().map_or(0, |row| row.after);
        let moved: i128 = parts.iter().map(|(_, part)| part).sum();
        for (place, part) in &parts {
            self.lots[*place].left += part;
        }
        self.rows.push(Row {
            kind,
            amount: moved.abs(),
            before,
            after: before + moved,
            at,
            command,
            reference,
            parts,
        });
        self.rows.len() - 1
    }
}
