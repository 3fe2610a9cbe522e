//! `GET /api/v1/users/{user_id}/export`: everything that is stored of a user (HTTP contract 3.5).
//!
//! All of it is one snapshot of the database, on one connection that is held until the client has taken the last page, ten minutes at
//! most. A client that takes nothing for a minute loses it. At most a few exports run at a time, one of each user.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use actix_web::http::{Method, header::CONTENT_DISPOSITION};
use credits::{GrantFilter, GrantPlace, HoldFilter, TransactionFilter};
use files::FileFilter;
use identity::audit::{self, Action};
use kernel::{
    Page, Slice, TimePlace, UserId,
    page::{LIMIT_MAX, Start},
};
use pg::{PgConnection, Tx};
use sessions::{MessageFilter, Session, SessionFilter};
use tokio::sync::OwnedSemaphorePermit;
use usage::RecordFilter;
use web::read_slots::Slot;

use super::body::{self, UserBody};
use crate::{
    app::App,
    http::{
        lease::Lease,
        page_stream::{self, PageError, Pages},
        prelude::*,
        routes::{
            credits::{
                account::{self, Account},
                bodies::{Grant, Hold, Transaction},
            },
            files::body::FileBody,
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
/// Longest time that a snapshot is held. No month of usage records is made or dropped meanwhile, and no old row cleaned up.
const SNAPSHOT_MAX: Duration = Duration::from_mins(10);

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
    Files(Page<TimePlace>),
    End,
}

/// The snapshot of an export, with the turns that it takes.
struct Snapshot {
    tx: Tx,
    _turn: OwnedSemaphorePermit,
    _turn_of_user: Slot,
}

/// The pages of an export.
struct Export {
    app: Arc<App>,
    user_id: UserId,
    /// Until the end of the export.
    snapshot: Arc<Lease<Snapshot>>,
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
             usage records, credits, and files with links to fetch them; bodies are those of the lists. When the export breaks off, the connection breaks, and \
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
    let turns = async {
        let of_user = call.app.exported_users.acquire(user_id.as_str()).await;
        Arc::clone(&call.app.exports).acquire_owned().await.map(|turn| (turn, of_user))
    };
    let turns = tokio::time::timeout(TURN_MAX, turns).await.map_err(|_| ApiError::unavailable())?;
    let (turn, turn_of_user) = turns.map_err(|_| ApiError::unavailable())?;
    let event = call.audit_event(Action::UserExported).of_user(user_id.clone());
    call.write_for(&user_id, async |tx| audit::record(tx.conn(), std::slice::from_ref(&event)).await).await?;
    let mut tx = Tx::snapshot(&call.app.lists).await.map_err(ApiError::answered)?;
    usage::hold_months(&mut tx).await.map_err(ApiError::answered)?;
    let head = head(&call, tx.conn(), &user_id).await.map_err(PageError::answered)?;
    let head = head.ok_or_else(|| ApiError::user_not_found(&user_id))?;
    let snapshot = Snapshot { tx, _turn: turn, _turn_of_user: turn_of_user };
    let export = Export {
        app: Arc::clone(&call.app),
        user_id,
        snapshot: Arc::new(Lease::new(snapshot, SNAPSHOT_MAX)),
        part: Part::Sessions(Some(Page::first(LIMIT_MAX))),
        sessions: VecDeque::new(),
        is_first: true,
        page_timeout: call.app.config.limits.request_timeout,
    };
    let body = page_stream::body(head, export, call.request.method() != Method::HEAD);
    Ok(Reply::stream("application/json", body)
        .header(CONTENT_DISPOSITION, "attachment; filename=\"export.json\""))
}

/// The beginning of the body; `None` if the user is gone.
async fn head(call: &Call, conn: &mut PgConnection, user_id: &UserId) -> Result<Option<Vec<u8>>, PageError> {
    let Some(user) = identity::users::find(conn, user_id).await? else {
        return Ok(None);
    };
    let balance = credits::balances(conn, &*call.app.clock, std::slice::from_ref(user_id)).await?;
    let balance = balance.into_iter().flatten().next();
    let identities = identity::identities::of_user(conn, user_id).await?;
    let identities: Vec<_> = identities
        .into_iter()
        .map(|id| ExportedIdentity { id: id.id, issuer: id.issuer, created_at: Timestamp(id.created_at) })
        .collect();
    let user = UserBody::new(user, balance.as_ref());
    let mut head = Vec::new();
    for (name, value) in [
        ("{\"exported_at\":", json(&Timestamp(call.now))?),
        (",\"user\":", json(&user)?),
        (",\"identities\":", json(&identities)?),
        (",\"sessions\":[", Vec::new()),
    ] {
        head.extend(name.as_bytes());
        head.extend(value);
    }
    Ok(Some(head))
}

impl Pages for Export {
    async fn page(&mut self) -> Result<Option<Vec<u8>>, PageError> {
        if matches!(self.part, Part::End) {
            return Ok(None);
        }
        let (mut piece, lease) = (Vec::new(), Arc::clone(&self.snapshot));
        let mut held = lease.hold().await;
        let snapshot = held.as_mut().ok_or(PageError::Overdue(SNAPSHOT_MAX))?;
        while piece.len() < PIECE_BYTES && !matches!(self.part, Part::End) {
            let limit = self.page_timeout;
            let step = tokio::time::timeout(limit, self.step(snapshot.tx.conn(), &mut piece));
            step.await.map_err(|_| PageError::TooSlow(limit))??;
        }
        if matches!(self.part, Part::End)
            && let Some(snapshot) = held.take()
        {
            snapshot.tx.commit().await?;
        }
        Ok(Some(piece))
    }

    fn broken_off(&self) -> &'static str {
        "\n\"the export broke off\"\n"
    }
}

impl Export {
    /// Writes the next page of the present part.
    async fn step(&mut self, conn: &mut PgConnection, piece: &mut Vec<u8>) -> Result<(), PageError> {
        let clock = Arc::clone(&self.app.clock);
        let user_id = self.user_id.clone();
        match std::mem::replace(&mut self.part, Part::End) {
            Part::Sessions(next) => self.session(conn, piece, next).await?,
            Part::Messages(session, page, sessions) => {
                let slice = sessions::messages(conn, &session, MessageFilter::default(), &page).await?;
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
                let slice = usage::list(conn, &user_id, &RecordFilter::default(), &page).await?;
                if let Some(page) = self.list(piece, slice, UsageBody::from)? {
                    self.part = Part::Usage(page);
                    return Ok(());
                }
                let account = credits::account(conn, &*clock, &user_id).await?.map(Account::from);
                piece.extend(b"],\"credits\":{\"account\":");
                piece.extend(json(&account)?);
                self.begin(piece, ",\"transactions\":[", Part::Transactions(Page::first(LIMIT_MAX)));
            }
            Part::Transactions(page) => {
                let filter = TransactionFilter::default();
                let slice = credits::transactions(conn, &user_id, &filter, &page).await?;
                match self.list(piece, slice, Transaction::from)? {
                    Some(page) => self.part = Part::Transactions(page),
                    None => self.begin(piece, "],\"grants\":[", Part::Grants(Page::first(LIMIT_MAX))),
                }
            }
            Part::Grants(page) => {
                let slice = credits::grants(conn, &*clock, &user_id, GrantFilter::All, &page).await?;
                match self.list(piece, slice, Grant::from)? {
                    Some(page) => self.part = Part::Grants(page),
                    None => self.begin(piece, "],\"holds\":[", Part::Holds(Page::first(LIMIT_MAX))),
                }
            }
            Part::Holds(page) => {
                let slice = credits::holds(conn, &*clock, &user_id, HoldFilter::All, &page).await?;
                match self.list(piece, slice, |hold| Hold::new(user_id.clone(), hold))? {
                    Some(page) => self.part = Part::Holds(page),
                    None => self.begin(piece, "]},\"files\":[", Part::Files(Page::first(LIMIT_MAX))),
                }
            }
            Part::Files(page) => {
                let slice = files::list(conn, &user_id, &FileFilter::default(), &page).await?;
                let mut items = Vec::new();
                for file in slice.items {
                    items.push(FileBody::exported(self.app.files.as_ref(), file).await);
                }
                match self.list(piece, Slice { items, next: slice.next }, |file| file)? {
                    Some(page) => self.part = Part::Files(page),
                    None => {
                        piece.extend(b"],\"subscriptions\":[],\"payments\":[],\"webhook_endpoints\":[]}");
                    }
                }
            }
            Part::End => {}
        }
        Ok(())
    }

    /// Writes the beginning of the next session, or the end of the list of sessions.
    async fn session(
        &mut self,
        conn: &mut PgConnection,
        piece: &mut Vec<u8>,
        next: Option<Page<TimePlace>>,
    ) -> Result<(), PageError> {
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
        let slice = sessions::list(conn, &*clock, &user_id, SessionFilter::default(), &page).await?;
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
