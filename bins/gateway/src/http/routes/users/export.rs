//! `GET /api/v1/users/{user_id}/export`: everything that is stored of a user (HTTP contract 3.5).
//!
//! All of it is one snapshot of the database, on one connection that is held until the client has taken the last page. A client that
//! takes nothing for a minute loses it. At most a few exports run at a time.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use actix_web::http::{Method, header::CONTENT_DISPOSITION};
use credits::{GrantFilter, GrantPlace, HoldFilter, TransactionFilter};
use identity::audit::{self, Action};
use kernel::{
    Page, Slice, TimePlace, UserId,
    page::{LIMIT_MAX, Start},
};
use pg::Tx;
use sessions::{MessageFilter, Session, SessionFilter};
use tokio::sync::OwnedSemaphorePermit;
use usage::RecordFilter;

use super::body::{self, UserBody};
use crate::{
    app::App,
    http::{
        page_stream::{self, PageError, Pages},
        prelude::*,
        routes::{
            credits::{
                account::{self, Account},
                bodies::{Grant, Hold, Transaction},
            },
            messages::body::MessageBody,
            sessions::body::SessionBody,
            usage::record_body::UsageBody,
        },
        wire::Timestamp,
    },
};

/// Least bytes of a piece of the body, unless it is the last one.
const PIECE_BYTES: usize = 32 * 1024;
/// Longest time that an export waits for its turn.
const TURN_MAX: Duration = Duration::from_secs(5);

/// An id of the user.
#[derive(Debug, Serialize)]
struct ExportedIdentity {
    id: UserId,
    issuer: String,
    created_at: Timestamp,
}

/// The part that comes next, and where in it.
enum Part {
    Sessions(Option<Page<TimePlace>>),
    Messages(Box<Session>, Page<i64>, Option<Page<TimePlace>>),
    Usage(Page<TimePlace>),
    Transactions(Page<i64>),
    Grants(Page<GrantPlace>),
    Holds(Page<i64>),
    End,
}

/// The pages of an export.
struct Export {
    app: Arc<App>,
    user_id: UserId,
    /// The snapshot, until the end.
    tx: Option<Tx>,
    _turn: OwnedSemaphorePermit,
    part: Part,
    /// Sessions that were read and are still to be written.
    sessions: VecDeque<Session>,
    /// True if nothing was written of the present list.
    is_first: bool,
    page_timeout: Duration,
}

pub fn doc() -> Doc {
    Doc::new("users", "Export a user")
        .description(
            "Everything that is stored of the user, as one snapshot, streamed: profile, identities, sessions with their messages, \
             usage records, and credits; bodies are those of the lists. When the export breaks off, the connection breaks, and \
             the last line says so.",
        )
        .reply_as(
            "application/json",
            json!({"type": "object", "description": "The export."}),
            json!({
                "exported_at": "2025-07-27T00:32:57.736450Z",
                "user": body::example(),
                "identities": [{
                    "id": "auth0|test123", "issuer": "https://tenant.auth0.com/", "created_at": "2025-07-27T00:09:58.678236Z",
                }],
                "sessions": [], "usage": [],
                "credits": {"account": account::example(), "transactions": [], "grants": [], "holds": []},
                "files": [], "subscriptions": [], "payments": [], "webhook_endpoints": [],
            }),
        )
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let user_id = call.user().await?;
    let turn = Arc::clone(&call.app.exports).acquire_owned();
    let turn = tokio::time::timeout(TURN_MAX, turn).await.map_err(|_| ApiError::unavailable())?;
    let turn = turn.map_err(|_| ApiError::unavailable())?;
    let event = call.audit_event(Action::UserExported).of_user(user_id.clone());
    call.write_for(&user_id, async |tx| audit::record(tx.conn(), std::slice::from_ref(&event)).await).await?;
    let tx = Tx::snapshot(&call.app.lists).await.map_err(ApiError::answered)?;
    let mut export = Export {
        app: Arc::clone(&call.app),
        user_id: user_id.clone(),
        tx: Some(tx),
        _turn: turn,
        part: Part::Sessions(Some(Page::first(LIMIT_MAX))),
        sessions: VecDeque::new(),
        is_first: true,
        page_timeout: call.app.config.limits.request_timeout,
    };
    let head = export.head(&Timestamp(call.now)).await.map_err(PageError::answered)?;
    let head = head.ok_or_else(|| ApiError::user_not_found(&user_id))?;
    let body = page_stream::body(head, export, call.request.method() != Method::HEAD);
    Ok(Reply::stream("application/json", body)
        .header(CONTENT_DISPOSITION, "attachment; filename=\"export.json\""))
}

impl Pages for Export {
    async fn page(&mut self) -> Result<Option<Vec<u8>>, PageError> {
        let mut piece = Vec::new();
        while piece.len() < PIECE_BYTES && !matches!(self.part, Part::End) {
            let limit = self.page_timeout;
            let step = tokio::time::timeout(limit, self.step(&mut piece));
            step.await.map_err(|_| PageError::TooSlow(limit))??;
        }
        Ok((!piece.is_empty()).then_some(piece))
    }

    fn broken_off(&self) -> &'static str {
        "\n\"the export broke off\"\n"
    }
}

impl Export {
    /// The beginning of the body; `None` if the user is gone.
    async fn head(&mut self, at: &Timestamp) -> Result<Option<Vec<u8>>, PageError> {
        let (clock, user_id) = (Arc::clone(&self.app.clock), self.user_id.clone());
        let conn = self.conn()?;
        let Some(user) = identity::users::find(conn, &user_id).await? else {
            return Ok(None);
        };
        let balance = credits::balances(conn, &*clock, std::slice::from_ref(&user_id)).await?;
        let balance = balance.into_iter().flatten().next();
        let identities = identity::identities::of_user(conn, &user_id).await?;
        let identities: Vec<_> = identities
            .into_iter()
            .map(|id| ExportedIdentity { id: id.id, issuer: id.issuer, created_at: Timestamp(id.created_at) })
            .collect();
        let user = UserBody::new(user, balance.as_ref());
        let mut head = Vec::new();
        for (name, value) in [
            ("{\"exported_at\":", json(at)?),
            (",\"user\":", json(&user)?),
            (",\"identities\":", json(&identities)?),
            (",\"sessions\":[", Vec::new()),
        ] {
            head.extend(name.as_bytes());
            head.extend(value);
        }
        Ok(Some(head))
    }

    fn conn(&mut self) -> Result<&mut pg::PgConnection, PageError> {
        match &mut self.tx {
            Some(tx) => Ok(tx.conn()),
            None => Err(pg::DbError::Inconsistent("the snapshot of an export has ended".to_owned()).into()),
        }
    }

    /// Writes the next page of the present part.
    async fn step(&mut self, piece: &mut Vec<u8>) -> Result<(), PageError> {
        let clock = Arc::clone(&self.app.clock);
        let user_id = self.user_id.clone();
        match std::mem::replace(&mut self.part, Part::End) {
            Part::Sessions(next) => self.session(piece, next).await?,
            Part::Messages(session, page, sessions) => {
                let slice =
                    sessions::messages(self.conn()?, &session, MessageFilter::default(), &page).await?;
                match self.list(piece, slice, MessageBody::from)? {
                    Some(page) => self.part = Part::Messages(session, page, sessions),
                    None => {
                        piece.extend(b"]}");
                        self.is_first = false;
                        self.part = Part::Sessions(sessions);
                    }
                }
            }
            Part::Usage(page) => {
                let slice = usage::list(self.conn()?, &user_id, &RecordFilter::default(), &page).await?;
                if let Some(page) = self.list(piece, slice, UsageBody::from)? {
                    self.part = Part::Usage(page);
                    return Ok(());
                }
                let account = credits::account(self.conn()?, &*clock, &user_id).await?.map(Account::from);
                piece.extend(b"],\"credits\":{\"account\":");
                piece.extend(json(&account)?);
                self.begin(piece, ",\"transactions\":[", Part::Transactions(Page::first(LIMIT_MAX)));
            }
            Part::Transactions(page) => {
                let filter = TransactionFilter::default();
                let slice = credits::transactions(self.conn()?, &user_id, &filter, &page).await?;
                match self.list(piece, slice, Transaction::from)? {
                    Some(page) => self.part = Part::Transactions(page),
                    None => self.begin(piece, "],\"grants\":[", Part::Grants(Page::first(LIMIT_MAX))),
                }
            }
            Part::Grants(page) => {
                let slice = credits::grants(self.conn()?, &*clock, &user_id, GrantFilter::All, &page).await?;
                match self.list(piece, slice, Grant::from)? {
                    Some(page) => self.part = Part::Grants(page),
                    None => self.begin(piece, "],\"holds\":[", Part::Holds(Page::first(LIMIT_MAX))),
                }
            }
            Part::Holds(page) => {
                let slice = credits::holds(self.conn()?, &*clock, &user_id, HoldFilter::All, &page).await?;
                match self.list(piece, slice, |hold| Hold::new(user_id.clone(), hold))? {
                    Some(page) => self.part = Part::Holds(page),
                    None => self.end(piece).await?,
                }
            }
            Part::End => {}
        }
        Ok(())
    }

    /// Writes the beginning of the next session, or the end of the list of sessions.
    async fn session(&mut self, piece: &mut Vec<u8>, next: Option<Page<TimePlace>>) -> Result<(), PageError> {
        if let Some(session) = self.sessions.pop_front() {
            if !self.is_first {
                piece.push(b',');
            }
            let mut body = json(&SessionBody::from(session.clone()))?;
            body.pop();
            piece.extend(body);
            piece.extend(b",\"messages\":[");
            self.is_first = true;
            self.part = Part::Messages(Box::new(session), Page::first(LIMIT_MAX), next);
            return Ok(());
        }
        let Some(page) = next else {
            self.begin(piece, "],\"usage\":[", Part::Usage(Page::first(LIMIT_MAX)));
            return Ok(());
        };
        let (clock, user_id) = (Arc::clone(&self.app.clock), self.user_id.clone());
        let slice = sessions::list(self.conn()?, &*clock, &user_id, SessionFilter::default(), &page).await?;
        self.sessions.extend(slice.items);
        self.part = Part::Sessions(after(slice.next)?);
        Ok(())
    }

    /// Goes on with another list.
    fn begin(&mut self, piece: &mut Vec<u8>, text: &str, part: Part) {
        piece.extend(text.as_bytes());
        self.is_first = true;
        self.part = part;
    }

    /// Ends the body and gives the snapshot up.
    async fn end(&mut self, piece: &mut Vec<u8>) -> Result<(), PageError> {
        piece.extend(b"]},\"files\":[],\"subscriptions\":[],\"payments\":[],\"webhook_endpoints\":[]}");
        if let Some(tx) = self.tx.take() {
            tx.commit().await?;
        }
        self.part = Part::End;
        Ok(())
    }

    /// Writes the items of a page and returns the next one.
    fn list<T, P, B: Serialize>(
        &mut self,
        piece: &mut Vec<u8>,
        slice: Slice<T, P>,
        body: impl Fn(T) -> B,
    ) -> Result<Option<Page<P>>, PageError> {
        for item in slice.items {
            if !std::mem::replace(&mut self.is_first, false) {
                piece.push(b',');
            }
            piece.extend(json(&body(item))?);
        }
        after(slice.next)
    }
}

fn after<P>(place: Option<P>) -> Result<Option<Page<P>>, PageError> {
    let next = place.map(|place| Page::new(LIMIT_MAX, Start::After(place))).transpose();
    next.map_err(|error| PageError::Unwritable(error.into()))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, PageError> {
    serde_json::to_vec(value).map_err(|error| PageError::Unwritable(error.into()))
}
