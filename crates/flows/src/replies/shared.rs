//! The state that all replies of a process share.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

use chat::ChatModel;
use credits::{Action, Command, Defaults};
use kernel::{Actor, CallerClass, Clock, FreeForm, Ids, UserId};
use pg::{DbError, Pool};
use sessions::{Lease, Reply, ReplyName, SessionRefusal, replies::LEASE_TTL};
use tokio::{runtime::Handle, sync::broadcast};
use usage::Prices;
use uuid::Uuid;

use super::{
    live::Live,
    settings::{EVENT_TYPE, ReplySettings},
};
use crate::WholeCredits;

/// Replies of one model, in this process. Cheap to clone.
#[derive(Clone)]
pub struct Replies(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) pool: Pool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<dyn Ids>,
    pub(super) model: Arc<dyn ChatModel>,
    pub(super) settings: ReplySettings,
    pub(super) defaults: Defaults,
    pub(super) prices: Prices,
    pub(super) home: Handle,
    /// No reply begins any more.
    pub(super) is_stopping: AtomicBool,
    /// Charges of replies, for the metric.
    pub(super) consumed: WholeCredits,
    pub(super) running: Mutex<HashMap<Uuid, Arc<Live>>>,
    /// Messages of the assistant of which another process has news.
    pub(super) news: broadcast::Sender<Uuid>,
}

impl Shared {
    pub(super) fn running(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Live>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to one attempt at a reply.
    pub(super) fn lease(&self) -> Lease {
        Lease { owner: self.ids.uuid(), ttl: LEASE_TTL }
    }

    pub(super) fn live(&self, message_id: Uuid) -> Option<Arc<Live>> {
        self.running().get(&message_id).cloned()
    }

    /// A command of the ledger for a reply, as made by a service: no token of the user ends its hold.
    pub(super) fn command(&self, user_id: &UserId, action: Action) -> Command {
        Command {
            user_id: user_id.clone(),
            actor: Actor::Service,
            caller: CallerClass::Service,
            nonce: self.ids.uuid(),
            description: Some(EVENT_TYPE.to_owned()),
            metadata: FreeForm::empty(),
            action,
        }
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

pub(super) async fn find(conn: &mut pg::PgConnection, name: &ReplyName) -> Result<Option<Reply>, DbError> {
    let found = sessions::replies::find(conn, &name.user_id, name.message_id).await?;
    Ok(found.filter(|reply| reply.message.session_id == name.session_id))
}

pub(super) fn not_found(name: &ReplyName) -> SessionRefusal {
    let (session_id, message_id) = (name.session_id.to_string(), name.message_id.to_string());
    SessionRefusal::MessageNotFound { session_id, message_id }
}
