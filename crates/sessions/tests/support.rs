//! What the tests share: a database with sessions, and short ways to use it.

use kernel::{FreeForm, Ids, ManualClock, Page, Scope, SeededIds, Usd, UserId};
use pg::{Pool, Tx};
use sessions::{
    ImportanceScore, Message, MessageFilter, MessageStatus, NewMessage, NewSession, Role, Session,
    SessionRefusal, Status,
};
use testkit::TestDb;
use uuid::Uuid;

/// A fresh database, a clock that stands still, and ids that repeat.
pub struct House {
    pub db: TestDb,
    pub clock: ManualClock,
    pub ids: SeededIds,
}

impl House {
    pub async fn build() -> Self {
        Self {
            db: TestDb::create(&[sessions::MIGRATIONS], &[sessions::AUDITS]).await,
            clock: testkit::clock(),
            ids: testkit::ids(),
        }
    }

    pub fn pool(&self) -> &Pool {
        self.db.pool()
    }

    /// A session that is not stored yet.
    pub fn new_session(&self, user: &UserId) -> NewSession {
        NewSession {
            user_id: user.clone(),
            session_id: self.ids.uuid(),
            title: None,
            conversation_data: FreeForm::empty(),
            metadata: FreeForm::empty(),
            expires_at: None,
        }
    }

    pub async fn create(&self, new: &NewSession) -> Session {
        let mut tx = Tx::begin(self.pool()).await.unwrap();
        let session = sessions::create(&mut tx, &self.clock, new).await.unwrap();
        tx.commit().await.unwrap();
        session
    }

    pub async fn session(&self, user: &UserId) -> Session {
        self.create(&self.new_session(user)).await
    }

    pub async fn find(&self, session_id: Uuid) -> Option<Session> {
        let mut conn = self.pool().get().await.unwrap();
        sessions::find(&mut conn, &self.clock, session_id).await.unwrap()
    }

    /// A message by the owner of the session.
    pub fn message(&self, session: &Session) -> NewMessage {
        self.message_to(session.session_id, Scope::Own(session.user_id.clone()))
    }

    pub fn message_to(&self, session_id: Uuid, scope: Scope) -> NewMessage {
        NewMessage {
            scope,
            session_id,
            message_id: self.ids.uuid(),
            role: Role::User,
            content: "Hello".to_owned(),
            message_type: "chat".to_owned(),
            tokens_used: 5,
            cost_usd: Usd::from_nano(1_000_000),
            tool_calls: None,
            tool_call_id: None,
            message_metadata: FreeForm::empty(),
            is_summary_candidate: true,
            importance_score: ImportanceScore::default(),
            status: MessageStatus::Completed,
        }
    }

    pub async fn add(&self, new: &[NewMessage]) -> Vec<Result<Message, SessionRefusal>> {
        add(self.pool(), &self.clock, new).await
    }

    pub async fn set_status(
        &self,
        session_id: Uuid,
        scope: &Scope,
        status: Status,
    ) -> Result<Session, SessionRefusal> {
        let mut tx = Tx::begin(self.pool()).await.unwrap();
        let outcome = sessions::set_status(&mut tx, &self.clock, session_id, scope, status).await.unwrap();
        tx.commit().await.unwrap();
        outcome
    }

    pub async fn messages(&self, session: &Session) -> Vec<Message> {
        let mut conn = self.pool().get().await.unwrap();
        let page = sessions::messages(&mut conn, session, MessageFilter::default(), &Page::first(500))
            .await
            .unwrap();
        assert_eq!(page.next, None, "more messages than a test should need");
        page.items
    }
}

pub async fn add(
    pool: &Pool,
    clock: &ManualClock,
    new: &[NewMessage],
) -> Vec<Result<Message, SessionRefusal>> {
    let mut tx = Tx::begin(pool).await.unwrap();
    let outcomes = sessions::add_messages(&mut tx, clock, new).await.unwrap();
    tx.commit().await.unwrap();
    outcomes
}

pub fn not_found(session_id: Uuid) -> SessionRefusal {
    SessionRefusal::NotFound { session_id: session_id.to_string() }
}

pub fn foreign(session: &Session) -> SessionRefusal {
    SessionRefusal::Foreign { session_id: session.session_id.to_string() }
}
