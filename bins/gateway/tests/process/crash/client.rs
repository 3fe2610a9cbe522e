//! A client of the service as it should be: every request has a key, and is sent again under it until it is answered.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{
    choices::Choices,
    request::{Action, Answer, Exchange, Micro, Request, micro},
};
use crate::prelude::*;
use crate::process::gateway_process::Gateway;

/// No account has as much.
const TOO_MUCH: Micro = 900_000_000_000_000;

pub struct Client {
    name: String,
    user: &'static str,
    choices: Choices,
    requests: u64,
    /// Its open holds.
    holds: Vec<(String, Micro)>,
    /// Its charges, with what may still be refunded of each.
    charges: Vec<(String, Micro)>,
    /// Sent, and not known to have taken effect or not.
    unanswered: Option<Request>,
    exchanges: Vec<Exchange>,
}

impl Client {
    pub fn new(number: u64, user: &'static str, seed: u64) -> Self {
        Self {
            name: format!("client-{number}"),
            user,
            choices: Choices::new(seed),
            requests: 0,
            holds: Vec::new(),
            charges: Vec::new(),
            unanswered: None,
            exchanges: Vec::new(),
        }
    }

    /// Sends one request after the other, until it has to stop or gets no answer.
    pub async fn load(
        mut self,
        gateway: Arc<Gateway>,
        answers: Arc<AtomicU64>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        while self.unanswered.is_none() && !stop.load(Ordering::SeqCst) {
            let request = self.next();
            match request.send(&gateway).await {
                Some(answer) => {
                    assert!(!answer.replayed, "{request:?} was never sent before: {answer:?}");
                    answers.fetch_add(1, Ordering::SeqCst);
                    self.learn(request, answer);
                }
                None => self.unanswered = Some(request),
            }
        }
        self
    }

    /// Gets an answer to what had none, then checks that a repeat gets the same answer, for all requests since the last time.
    pub async fn settle(mut self, gateway: &Gateway) -> Self {
        if let Some(request) = self.unanswered.take() {
            let answer = until_answered(&request, gateway).await;
            self.learn(request, answer);
        }
        for Exchange { request, answer } in &self.exchanges {
            let again = until_answered(request, gateway).await;
            assert!(again.replayed, "{request:?} was done twice: {answer:?}, {again:?}");
            assert_eq!((again.status, &again.body), (answer.status, &answer.body), "{request:?}");
        }
        self
    }

    /// The requests and answers since the last time.
    pub fn take_exchanges(&mut self) -> Vec<Exchange> {
        std::mem::take(&mut self.exchanges)
    }

    fn next(&mut self) -> Request {
        self.requests += 1;
        let key = format!("{}/{}", self.name, self.requests);
        let action = match self.choices.below(100) {
            0..15 => Action::Consume { amount: 1 + self.choices.below(3_000_000) },
            15..30 => Action::Use { hold: None, amount: 1 + self.choices.below(3_000_000) },
            30..32 => Action::Consume { amount: TOO_MUCH },
            32..47 => Action::Recharge {
                amount: 1 + self.choices.below(4_000_000),
                reference: format!("payment of {key}"),
            },
            47..67 => Action::Hold { amount: 1 + self.choices.below(2_000_000) },
            67..90 => self.resolve(),
            _ => self.refund(),
        };
        Request { user: self.user, key, action }
    }

    /// Ends one of its holds, if it has one.
    fn resolve(&mut self) -> Action {
        if self.holds.is_empty() {
            return Action::Hold { amount: 1_000_000 };
        }
        let place = self.choices.below(self.holds.len() as u64) as usize;
        let (hold, amount) = self.holds.swap_remove(place);
        match self.choices.below(6) {
            0 => Action::Release { hold },
            2 | 3 => Action::Use { hold: Some(hold), amount: 1 + self.choices.below(amount + 500_000) },
            1 => Action::Capture { hold, amount: amount + 1 + self.choices.below(500_000) },
            _ => Action::Capture { hold, amount: 1 + self.choices.below(amount) },
        }
    }

    /// Wants a part of one of its charges back, if it has one.
    fn refund(&mut self) -> Action {
        if self.charges.is_empty() {
            return Action::Consume { amount: 1_000_000 };
        }
        let place = self.choices.below(self.charges.len() as u64) as usize;
        let (transaction, left) = &mut self.charges[place];
        let amount = 1 + self.choices.below(*left);
        let action = Action::Refund { transaction: transaction.clone(), amount };
        *left -= amount;
        if *left == 0 {
            self.charges.swap_remove(place);
        }
        action
    }

    fn learn(&mut self, request: Request, answer: Answer) {
        if answer.status == 200 {
            let data = &answer.body["data"];
            match &request.action {
                Action::Consume { .. } => self.charged(data, micro(&data["amount"])),
                Action::Capture { .. } => {
                    let transaction = &data["transaction"];
                    self.charged(transaction, micro(&transaction["amount"]));
                }
                Action::Use { amount, .. } => {
                    self.charged(data, amount - micro(&data["credits_uncollected"]));
                }
                Action::Hold { amount } => {
                    let hold = data["hold_id"].text().to_owned();
                    self.holds.push((hold, *amount));
                }
                Action::Recharge { .. } | Action::Release { .. } | Action::Refund { .. } => {}
            }
        }
        self.exchanges.push(Exchange { request, answer });
    }

    fn charged(&mut self, transaction: &serde_json::Value, amount: Micro) {
        let id = transaction["transaction_id"].text().to_owned();
        self.charges.push((id, amount));
    }
}

async fn until_answered(request: &Request, gateway: &Gateway) -> Answer {
    let mut deadline = testkit::Deadline::new();
    loop {
        if let Some(answer) = request.send(gateway).await {
            return answer;
        }
        assert!(deadline.allows_another(), "{request:?} stays unanswered: {}", gateway.log_tail());
        tokio::task::yield_now().await;
    }
}
