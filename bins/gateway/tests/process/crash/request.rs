//! A request of the ledger with its key, and what became of it.

use crate::prelude::*;
use crate::process::gateway_process::Gateway;

/// Micro-credits.
pub type Micro = u64;

/// A change that a client asks for.
#[derive(Debug, Clone)]
pub enum Action {
    Consume {
        amount: Micro,
    },
    Recharge {
        amount: Micro,
        reference: String,
    },
    Hold {
        amount: Micro,
    },
    Capture {
        hold: String,
        amount: Micro,
    },
    Release {
        hold: String,
    },
    Refund {
        transaction: String,
        amount: Micro,
    },
    /// A usage record and its charge, from a hold or from what is available.
    Use {
        hold: Option<String>,
        amount: Micro,
    },
}

/// A request that may be sent any number of times.
#[derive(Debug, Clone)]
pub struct Request {
    pub user: &'static str,
    pub key: String,
    pub action: Action,
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub replayed: bool,
}

/// A request with its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub request: Request,
    pub answer: Answer,
}

impl Request {
    /// Sends it. Nothing if it got no answer, or one that leaves open what became of it.
    pub async fn send(&self, gateway: &Gateway) -> Option<Answer> {
        let (path, body) = self.action.on_the_wire();
        let request = gateway.post(&format!("{}/{path}", self.user), body).key(self.key.as_str());
        let reply = request.try_send().await.ok()?;
        let (status, replayed) = (reply.status, reply.is_replayed());
        if status == 503 {
            return None;
        }
        let mut body = reply.json();
        assert!(
            status == 200 || (status == 400 && body["error_code"] == "InsufficientCreditsException"),
            "{self:?} was answered {status}: {body}\n{}",
            gateway.log_tail()
        );
        if status != 200 {
            // The one member of a repeated refusal that is its own.
            body["request_id"] = Value::Null;
        }
        Some(Answer { status, body, replayed })
    }
}

impl Action {
    fn on_the_wire(&self) -> (String, Value) {
        match self {
            Self::Consume { amount } => ("credits/consume".to_owned(), json!({"amount": credits(*amount)})),
            Self::Recharge { amount, reference } => (
                "credits/recharge".to_owned(),
                json!({"amount": credits(*amount), "reference_id": reference}),
            ),
            Self::Hold { amount } => {
                ("credits/holds".to_owned(), json!({"amount": credits(*amount), "ttl_seconds": 86_400}))
            }
            Self::Capture { hold, amount } => {
                (format!("credits/holds/{hold}/capture"), json!({"amount": credits(*amount)}))
            }
            Self::Release { hold } => (format!("credits/holds/{hold}/release"), json!({})),
            Self::Refund { transaction, amount } => (
                "credits/refund".to_owned(),
                json!({"transaction_id": transaction, "amount": credits(*amount), "reason": "crash"}),
            ),
            Self::Use { hold, amount } => (
                "usage".to_owned(),
                json!({
                    "endpoint": "/x", "event_type": "crash", "charge": true, "hold_id": hold,
                    "credits_charged": credits(*amount),
                }),
            ),
        }
    }
}

/// As text: exact on the way.
fn credits(micro: Micro) -> String {
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

/// Amounts of the test have fewer digits than a double.
pub fn micro(credits: &Value) -> Micro {
    (credits.as_f64().unwrap_or_else(|| panic!("{credits} is no amount")) * 1_000_000.0).round() as u64
}
