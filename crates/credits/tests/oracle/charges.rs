//! Holds, charges of holds, refunds and corrections, as naively.

use super::{Answer, Lot, Oracle, Part, Pledge, Row, WEEK, free, moved};

/// The row of a command, the place of its pledge, and what was missing.
pub(super) type Done = (Option<usize>, Option<usize>, i128);

impl Oracle {
    pub(super) fn keep(
        &mut self,
        asked: i128,
        clamp: bool,
        seconds: i64,
        command: usize,
    ) -> Result<Done, Answer> {
        let there = self.spendable();
        let amount = if clamp { asked.min(there) } else { asked };
        if amount > there || amount == 0 {
            return Err(Answer::No("InsufficientCreditsException"));
        }
        let amount = if clamp { amount.min(self.allowed()) } else { amount };
        if amount > self.allowed() || amount == 0 {
            return Err(Answer::No("BudgetExceededException"));
        }
        let parts = self.first_to_burn(amount);
        let aside = parts.iter().map(|(lot, part)| Part { lot: *lot, left: 0, kept: *part });
        let aside = aside.collect();
        let row = self.write("hold", amount, self.time, Some(command), aside);
        self.rows[row].pledge = Some(command);
        self.pledges.push(Pledge {
            number: command,
            of_user: false,
            amount,
            parts,
            until: self.time + seconds,
            state: "open",
            charged: 0,
            freed: 0,
            missing: 0,
            ended: None,
        });
        Ok((Some(row), Some(self.pledges.len() - 1), 0))
    }

    pub(super) fn open_pledge(&self, number: usize, by_user: bool) -> Result<usize, Answer> {
        let place = self.pledges.iter().position(|pledge| pledge.number == number);
        match place {
            None => Err(Answer::No("HoldNotFoundException")),
            Some(place) if by_user && !self.pledges[place].of_user => {
                Err(Answer::No("PermissionDeniedException"))
            }
            Some(place) if self.pledges[place].state != "open" => Err(Answer::No("HoldNotOpenException")),
            Some(place) => Ok(place),
        }
    }

    pub(super) fn charge(&mut self, place: usize, amount: Option<i128>, command: usize) -> Done {
        let pledge = self.pledges[place].clone();
        let amount = amount.unwrap_or(pledge.amount);
        let inside = amount.min(pledge.amount);
        let outside = (amount - inside).min(self.spendable()).min(self.allowed());
        let mut touched = vec![(0, 0); self.lots.len()]; // taken, and how much of it was kept
        let (mut rest, mut freed) = (inside, Vec::new());
        for (lot, part) in &pledge.parts {
            let taken = rest.min(*part);
            rest -= taken;
            touched[*lot] = (taken, taken);
            if *part > taken {
                freed.push(Part { lot: *lot, left: 0, kept: taken - part });
            }
        }
        for (lot, part) in self.first_to_burn(outside) {
            touched[lot].0 += part;
        }
        let mut row = None;
        if inside + outside > 0 {
            let touched = touched.iter().enumerate().filter(|(_, taken)| taken.0 > 0);
            let gone: Vec<Part> =
                touched.map(|(lot, taken)| Part { lot, left: -taken.0, kept: -taken.1 }).collect();
            let mut parts: Vec<(usize, i128)> = gone.iter().map(|part| (part.lot, -part.left)).collect();
            self.sort_as_they_burn(&mut parts);
            let written = self.write("capture", inside + outside, self.time, Some(command), gone);
            self.rows[written].pledge = Some(pledge.number);
            self.refundable.push((written, parts));
            row = Some(written);
        }
        if pledge.amount > inside {
            let written = self.write("release", pledge.amount - inside, self.time, Some(command), freed);
            self.rows[written].pledge = Some(pledge.number);
        }
        let missing = amount - inside - outside;
        let pledge = &mut self.pledges[place];
        pledge.state = "captured";
        pledge.ended = Some(self.time);
        pledge.charged = inside + outside;
        pledge.freed = pledge.amount - inside;
        pledge.missing = missing;
        (row, Some(place), missing)
    }

    /// Frees all of a pledge.
    pub(super) fn end(
        &mut self,
        place: usize,
        at: i64,
        state: &'static str,
        command: Option<usize>,
    ) -> usize {
        let pledge = &mut self.pledges[place];
        pledge.state = state;
        pledge.ended = Some(at);
        pledge.freed = pledge.amount;
        let (number, amount) = (pledge.number, pledge.amount);
        let freed = pledge.parts.iter().map(|(lot, part)| Part { lot: *lot, left: 0, kept: -part });
        let freed = freed.collect();
        let row = self.write("release", amount, at, command, freed);
        self.rows[row].pledge = Some(number);
        row
    }

    pub(super) fn give_back(
        &mut self,
        charge: usize,
        amount: Option<i128>,
        command: usize,
    ) -> Result<usize, Answer> {
        let is_charge = |row: &Row| matches!(row.kind, "consume" | "capture") && row.command == Some(charge);
        let Some(charged) = self.rows.iter().position(is_charge) else {
            return Err(Answer::No("TransactionNotFoundException"));
        };
        let of = |(row, _): &(usize, Vec<(usize, i128)>)| *row == charged;
        let place = self.refundable.iter().position(of).unwrap();
        let mut parts = self.refundable[place].1.clone();
        let there: i128 = parts.iter().map(|(_, part)| part).sum();
        let amount = amount.unwrap_or(there);
        if amount > there || amount == 0 {
            return Err(Answer::No("RefundExceedsChargeException"));
        }
        self.has_room(amount)?;
        let (mut rest, mut back) = (amount, Vec::new());
        while rest > 0 {
            let (lot, part) = parts.pop().unwrap();
            let returned = part.min(rest);
            rest -= returned;
            if part > returned {
                parts.push((lot, part - returned));
            }
            let source = self.lots[lot].clone();
            if source.ends.is_none_or(|ends| ends > self.time) {
                back.push(moved(lot, returned));
            } else {
                back.push(moved(self.lots.len(), returned));
                self.lots.push(Lot {
                    kind: "refund",
                    worth: returned,
                    left: 0,
                    kept: 0,
                    begins: self.time,
                    ends: Some(self.time + WEEK),
                    row: Some(self.rows.len()),
                    reference: None,
                    ..source
                });
            }
        }
        self.refundable[place].1 = parts;
        let row = self.write("refund", amount, self.time, Some(command), back);
        self.rows[row].gives_back = Some(charged);
        Ok(row)
    }

    pub(super) fn remove(&mut self, amount: i128, lot: Option<u8>, command: usize) -> Result<usize, Answer> {
        let gone: Vec<Part> = match lot {
            None if amount <= self.spendable() => {
                let parts = self.first_to_burn(amount);
                parts.iter().map(|(lot, part)| moved(*lot, -part)).collect()
            }
            Some(lot) if amount <= self.lots.get(usize::from(lot)).map_or(0, free) => {
                vec![moved(lot.into(), -amount)]
            }
            _ => return Err(Answer::No("InsufficientCreditsException")),
        };
        Ok(self.write("adjust", amount, self.time, Some(command), gone))
    }

    fn sort_as_they_burn(&self, parts: &mut [(usize, i128)]) {
        for end in (1..parts.len()).rev() {
            for place in 0..end {
                if self.burns_before(parts[place + 1].0, parts[place].0) {
                    parts.swap(place, place + 1);
                }
            }
        }
    }
}
