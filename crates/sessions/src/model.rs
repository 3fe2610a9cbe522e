//! The things of this domain and the words they are described with. No SQL.

mod importance;
mod message;
mod reply;
mod search;
mod session;
mod words;

pub use importance::{ImportanceScore, ImportanceScoreError};
pub use message::{CONTENT_BYTES_MAX, MESSAGE_TYPE_CHARS_MAX, Message, MessageFilter, NewMessage};
pub use reply::{Lease, NewReply, Reply, ReplyEnd, ReplyName, ReplyTerms, ReplyText};
pub use search::{Hit, Hits, IndexHorizon, NoSegment, SearchLimits, SearchPlace, SearchQuery, SegmentSize};
pub use session::{Deleted, NewSession, Session, SessionChange, SessionFilter};
pub use words::{MessageStatus, Role, Status, UnknownWord};
