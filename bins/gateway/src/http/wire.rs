//! The shapes of answers that several routes share, and the small types inside them.

use kernel::{Credits, FreeForm, Usd, UserId, rfc3339};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::words;

words! {
    /// Type of a transaction.
    TransactionType = ["consume", "recharge", "refund", "grant", "expire", "adjust"];
    /// Whether a transaction adds to the balance or takes from it.
    Direction = ["credit", "debit"];
    /// Kind of a grant.
    GrantKindName = ["initial", "purchase", "plan", "promo", "refund", "adjustment"];
    /// Status of a grant.
    GrantStatusName = ["scheduled", "open", "used", "expired"];
    /// Status of a hold.
    HoldStatusName = ["open", "captured", "released", "expired"];
    /// Class of a caller.
    CallerClassName = ["user", "service"];
    /// Status of a session.
    SessionStatusName = ["active", "completed", "ended", "archived", "expired"];
    /// Speaker of a message.
    RoleName = ["user", "assistant", "system", "tool"];
    /// Status of a message.
    MessageStatusName = ["completed", "failed", "in_progress"];
    /// Plan of a user.
    PlanName = ["free", "pro", "enterprise"];
    /// Always `success`.
    SuccessWord = ["success"];
}

/// An instant as every answer writes it: RFC 3339, UTC, microseconds, `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2025-07-27T00:32:57.736450Z")]
pub struct Timestamp(pub OffsetDateTime);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

/// A ledger entry as the documents show it, in both vocabularies.
#[derive(Debug, Serialize, ToSchema)]
pub struct Transaction {
    /// Integer id.
    pub id: i64,
    /// `txn_<uuid>`.
    #[schema(example = "txn_0190a6c8-1c2b-7def-8abc-0123456789ab")]
    pub transaction_id: String,
    /// Whose account.
    #[schema(value_type = String, example = "auth0|test123")]
    pub user_id: UserId,
    /// consume, recharge, refund, grant, expire or adjust.
    #[schema(value_type = TransactionType, example = "consume")]
    pub transaction_type: &'static str,
    /// `credit` adds to the balance, `debit` takes from it.
    #[schema(value_type = Direction, example = "debit")]
    pub direction: &'static str,
    /// Credits moved, above zero.
    #[schema(value_type = f64, example = 25.5)]
    pub amount: Credits,
    /// The same as `amount`.
    #[schema(value_type = f64, example = 25.5)]
    pub credits_amount: Credits,
    /// Balance before.
    #[schema(value_type = f64, example = 1000.0)]
    pub balance_before: Credits,
    /// The same as `balance_before`.
    #[schema(value_type = f64, example = 1000.0)]
    pub credits_before: Credits,
    /// Balance after.
    #[schema(value_type = f64, example = 974.5)]
    pub balance_after: Credits,
    /// The same as `balance_after`.
    #[schema(value_type = f64, example = 974.5)]
    pub credits_after: Credits,
    /// Usage record the caller named.
    pub usage_record_id: Option<i64>,
    /// Reference the caller named; one recharge per reference.
    pub reference_id: Option<String>,
    /// Hold that was captured.
    pub hold_id: Option<Uuid>,
    /// What it was for.
    #[schema(example = "api_call")]
    pub description: Option<String>,
    /// What the caller attached.
    #[schema(value_type = Object)]
    pub metadata: FreeForm,
    /// When it took effect.
    pub created_at: Timestamp,
    /// The same as `created_at`: entries never change.
    pub updated_at: Timestamp,
}

impl From<credits::Entry> for Transaction {
    fn from(entry: credits::Entry) -> Self {
        let direction = if entry.balance_after >= entry.balance_before { "credit" } else { "debit" };
        // Holds and releases are not listed and no route answers them; the journal's own word stands in.
        let kind =
            entry.kind.transaction_kind().map_or(entry.kind.as_str(), credits::TransactionKind::as_str);
        Self {
            id: entry.id,
            transaction_id: transaction_id(entry.transaction_id),
            user_id: entry.user_id,
            transaction_type: kind,
            direction,
            amount: entry.amount,
            credits_amount: entry.amount,
            balance_before: entry.balance_before,
            credits_before: entry.balance_before,
            balance_after: entry.balance_after,
            credits_after: entry.balance_after,
            usage_record_id: entry.usage_record_id,
            reference_id: entry.reference_id.filter(|reference| reference != credits::INITIAL_REFERENCE),
            hold_id: entry.hold_id,
            description: entry.description,
            metadata: entry.metadata,
            created_at: Timestamp(entry.created_at),
            updated_at: Timestamp(entry.created_at),
        }
    }
}

/// The documented form of a transaction id.
#[must_use]
pub fn transaction_id(id: Uuid) -> String {
    credits::TransactionName::Transaction(id).to_string()
}

/// A lot of credit with a life of its own.
#[derive(Debug, Serialize, ToSchema)]
pub struct Grant {
    /// Id within the account.
    pub grant_id: i64,
    /// initial, purchase, plan, promo, refund or adjustment.
    #[schema(value_type = GrantKindName, example = "initial")]
    pub kind: &'static str,
    /// Credits granted.
    #[schema(value_type = f64, example = 1000.0)]
    pub amount: Credits,
    /// Credits left.
    #[schema(value_type = f64, example = 974.5)]
    pub remaining: Credits,
    /// Credits of it that are held.
    #[schema(value_type = f64, example = 0.0)]
    pub held: Credits,
    /// Low burns first.
    pub priority: u8,
    /// From when on it counts.
    pub effective_at: Timestamp,
    /// When what is left of it is lost.
    pub expires_at: Option<Timestamp>,
    /// scheduled, open, used or expired.
    #[schema(value_type = GrantStatusName, example = "open")]
    pub status: &'static str,
    /// What it was for.
    pub description: Option<String>,
    /// The transaction that booked it.
    pub transaction_id: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl From<credits::GrantView> for Grant {
    fn from(grant: credits::GrantView) -> Self {
        Self {
            grant_id: grant.grant_id,
            kind: grant.kind.as_str(),
            amount: grant.amount,
            remaining: grant.remaining,
            held: grant.held,
            priority: grant.priority,
            effective_at: Timestamp(grant.effective_at),
            expires_at: grant.expires_at.map(Timestamp),
            status: grant.status.as_str(),
            description: grant.description,
            transaction_id: grant.transaction_id.map(transaction_id),
            created_at: Timestamp(grant.created_at),
        }
    }
}

/// Credit that is set aside.
#[derive(Debug, Serialize, ToSchema)]
pub struct Hold {
    /// Id used in paths.
    pub hold_id: Uuid,
    /// Whose account.
    #[schema(value_type = String, example = "auth0|test123")]
    pub user_id: UserId,
    /// user or service: who made it. Users end only holds of users.
    #[schema(value_type = CallerClassName, example = "service")]
    pub made_by: &'static str,
    /// Credits held.
    #[schema(value_type = f64, example = 70.0)]
    pub amount: Credits,
    /// Credits charged.
    #[schema(value_type = f64, example = 0.0)]
    pub captured: Credits,
    /// Credits freed.
    #[schema(value_type = f64, example = 0.0)]
    pub released: Credits,
    /// Credits that were delivered and not covered.
    #[schema(value_type = f64, example = 0.0)]
    pub uncollected: Credits,
    /// open, captured, released or expired.
    #[schema(value_type = HoldStatusName, example = "open")]
    pub status: &'static str,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// What it is for.
    pub description: Option<String>,
    /// What the caller attached.
    #[schema(value_type = Object)]
    pub metadata: FreeForm,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ended.
    pub resolved_at: Option<Timestamp>,
}

impl Hold {
    /// A hold of this user.
    #[must_use]
    pub fn new(user_id: UserId, hold: credits::HoldView) -> Self {
        Self {
            hold_id: hold.hold_id,
            user_id,
            made_by: hold.made_by.as_str(),
            amount: hold.amount,
            captured: hold.captured,
            released: hold.released,
            uncollected: hold.uncollected,
            status: hold.status.as_str(),
            expires_at: Timestamp(hold.expires_at),
            description: hold.description,
            metadata: hold.metadata,
            created_at: Timestamp(hold.created_at),
            resolved_at: hold.resolved_at.map(Timestamp),
        }
    }
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionBody {
    /// Integer id.
    pub id: i64,
    /// Id used in paths.
    pub session_id: Uuid,
    /// Owner.
    #[schema(value_type = String, example = "auth0|test123")]
    pub user_id: UserId,
    /// Title, if it has one.
    pub title: Option<String>,
    /// What the caller keeps about the conversation.
    #[schema(value_type = Object)]
    pub conversation_data: FreeForm,
    /// active, completed, ended, archived or expired.
    #[schema(value_type = SessionStatusName, example = "active")]
    pub status: &'static str,
    /// What the caller attached.
    #[schema(value_type = Object)]
    pub metadata: FreeForm,
    /// False once ended, archived or expired.
    pub is_active: bool,
    /// Messages so far.
    pub message_count: i64,
    /// Tokens of all messages.
    pub total_tokens: i64,
    /// Cost of all messages, in US dollars.
    #[schema(value_type = f64, example = 0.003)]
    pub total_cost: Usd,
    /// Summary, empty until there is one.
    pub session_summary: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When something last happened in it.
    pub last_activity: Timestamp,
    /// When it expires, if it does.
    pub expires_at: Option<Timestamp>,
}

impl From<sessions::Session> for SessionBody {
    fn from(session: sessions::Session) -> Self {
        let is_active = session.is_active();
        Self {
            id: session.id,
            session_id: session.session_id,
            user_id: session.user_id,
            title: session.title,
            conversation_data: session.conversation_data,
            status: session.status.as_str(),
            metadata: session.metadata,
            is_active,
            message_count: session.message_count,
            total_tokens: session.total_tokens,
            total_cost: session.total_cost,
            session_summary: session.session_summary,
            created_at: Timestamp(session.created_at),
            updated_at: Timestamp(session.updated_at),
            last_activity: Timestamp(session.last_activity),
            expires_at: session.expires_at.map(Timestamp),
        }
    }
}

/// A message of a session.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageBody {
    /// Id of the message.
    pub id: Uuid,
    /// Session it belongs to.
    pub session_id: Uuid,
    /// Owner.
    #[schema(value_type = String, example = "auth0|test123")]
    pub user_id: UserId,
    /// Kind of message, as the caller says.
    #[schema(example = "chat")]
    pub message_type: String,
    /// user, assistant, system or tool.
    #[schema(value_type = RoleName, example = "user")]
    pub role: &'static str,
    /// The text.
    #[schema(example = "Hello")]
    pub content: String,
    /// Tool calls, as the caller sent them.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tool_calls: Option<FreeForm>,
    /// Tool call this message answers.
    pub tool_call_id: Option<String>,
    /// What the caller attached.
    #[schema(value_type = Object)]
    pub message_metadata: FreeForm,
    /// Tokens of the message.
    pub tokens_used: i64,
    /// Cost of the message, in US dollars.
    #[schema(value_type = f64, example = 0.001)]
    pub cost_usd: Usd,
    /// Whether a summary may include it.
    pub is_summary_candidate: bool,
    /// How important it is, 0 to 1.
    pub importance_score: f64,
    /// completed, failed or in_progress.
    #[schema(value_type = MessageStatusName, example = "completed")]
    pub status: &'static str,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl From<sessions::Message> for MessageBody {
    fn from(message: sessions::Message) -> Self {
        Self {
            id: message.message_id,
            session_id: message.session_id,
            user_id: message.user_id,
            message_type: message.message_type,
            role: message.role.as_str(),
            content: message.content,
            tool_calls: message.tool_calls,
            tool_call_id: message.tool_call_id,
            message_metadata: message.message_metadata,
            tokens_used: message.tokens_used,
            cost_usd: message.cost_usd,
            is_summary_candidate: message.is_summary_candidate,
            importance_score: message.importance_score.get(),
            status: message.status.as_str(),
            created_at: Timestamp(message.created_at),
            updated_at: Timestamp(message.updated_at),
        }
    }
}

/// A usage record.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageBody {
    /// Integer id.
    pub id: i64,
    /// Who used it.
    #[schema(value_type = String, example = "auth0|test123")]
    pub user_id: UserId,
    /// Session, as the caller names it.
    pub session_id: Option<String>,
    /// Trace, as the caller names it.
    pub trace_id: Option<String>,
    /// What was called.
    #[schema(example = "/api/chat/completion")]
    pub endpoint: Option<String>,
    /// What kind of use it was.
    #[schema(example = "ai_chat")]
    pub event_type: String,
    /// What the use is worth, in credits; deducted if it was `charged`.
    #[schema(value_type = f64, example = 5.5)]
    pub credits_charged: Credits,
    /// What it cost, in US dollars.
    #[schema(value_type = f64, example = 0.011)]
    pub cost_usd: Usd,
    /// How the charge was found.
    #[schema(example = "gpt4_pricing")]
    pub calculation_method: String,
    /// Tokens in all.
    pub tokens_used: i64,
    /// Tokens of the prompt.
    pub prompt_tokens: i64,
    /// Tokens of the completion.
    pub completion_tokens: i64,
    /// Model.
    #[schema(example = "gpt-4")]
    pub model_name: Option<String>,
    /// Provider of the model.
    #[schema(example = "openai")]
    pub provider: Option<String>,
    /// Tool.
    pub tool_name: Option<String>,
    /// Operation of the tool.
    pub operation_name: Option<String>,
    /// What the caller keeps about billing.
    #[schema(value_type = Object)]
    pub billing_metadata: FreeForm,
    /// What the caller keeps of the request.
    #[schema(value_type = Object)]
    pub request_data: FreeForm,
    /// What the caller keeps of the response.
    #[schema(value_type = Object)]
    pub response_data: FreeForm,
    /// When it happened.
    pub created_at: Timestamp,
    /// user or service: whose word the record is; null for records made before it was stored.
    #[schema(value_type = Option<CallerClassName>, example = "service")]
    pub recorded_by: Option<&'static str>,
    /// Id the caller gave the event, by which repeats are known.
    pub event_id: Option<String>,
    /// Whether recording it took credits.
    pub charged: bool,
    /// Credits that should have been taken and were not there.
    #[schema(value_type = f64, example = 0.0)]
    pub credits_uncollected: Credits,
    /// Transaction that took the credits.
    pub transaction_id: Option<String>,
    /// Record that this one takes back: its figures are those, negated.
    pub correction_of: Option<i64>,
}

impl From<usage::Record> for UsageBody {
    fn from(record: usage::Record) -> Self {
        Self {
            id: record.id,
            user_id: record.user_id,
            session_id: record.session_id,
            trace_id: record.trace_id,
            endpoint: record.endpoint,
            event_type: record.event_type,
            credits_charged: record.credits_charged,
            cost_usd: record.cost_usd,
            calculation_method: record.calculation_method,
            tokens_used: record.tokens_used,
            prompt_tokens: record.prompt_tokens,
            completion_tokens: record.completion_tokens,
            model_name: record.model_name,
            provider: record.provider,
            tool_name: record.tool_name,
            operation_name: record.operation_name,
            billing_metadata: record.billing_metadata,
            request_data: record.request_data,
            response_data: record.response_data,
            created_at: Timestamp(record.occurred_at),
            recorded_by: record.recorded_by.map(kernel::CallerClass::as_str),
            event_id: record.event_id,
            charged: record.charge.is_some(),
            credits_uncollected: record.credits_uncollected,
            transaction_id: record.charge.map(|charge| transaction_id(charge.transaction_id)),
            correction_of: record.correction_of,
        }
    }
}
