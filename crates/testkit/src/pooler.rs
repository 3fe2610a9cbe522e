//! A transaction pooler for tests, as small as one can be.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Error, ErrorKind, Result},
    net::{TcpListener, TcpStream, UnixStream},
    sync::Notify,
    task::JoinSet,
};

use crate::seed::ROLE;

/// Fate of a session at the end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// It stays with its client and forgets all settings, but not its prepared statements: as with a pooler that prepares
    /// them again (PgBouncer from 1.21 on, with `server_reset_query_always`).
    Resetting,
    /// The next client that begins a transaction gets it, prepared statements and all: as with PgBouncer before 1.21.
    Swapping,
}

/// A running pooler on a loopback address. It ends when it is dropped.
#[derive(Debug)]
pub struct TestPooler {
    url: String,
    executed: Executed,
    _clients: JoinSet<()>,
}

/// Texts of statements that clients had executed, in order.
type Executed = Arc<Mutex<Vec<String>>>;

/// Sessions that no client has, the one that became free last at the end.
#[derive(Debug, Default)]
struct Free {
    sessions: Mutex<Vec<UnixStream>>,
    one_more: Notify,
}

/// One message of the protocol: its kind, and all of it.
struct Message {
    kind: u8,
    bytes: Vec<u8>,
}

/// Kind of the message that ends an answer.
const READY: u8 = b'Z';
const RESET: &[u8] = b"Q\0\0\0\x0eRESET ALL\0";

impl TestPooler {
    /// Starts one before the server with this socket, on the present tokio runtime.
    pub(crate) async fn start(socket: PathBuf, pooling: Pooling, database: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("postgresql://{ROLE}@{}/{database}", listener.local_addr()?);
        let (executed, mut clients) = (Executed::default(), JoinSet::new());
        let noted = Arc::clone(&executed);
        clients.spawn(async move {
            let free = Arc::new(Free::default());
            let mut clients = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (socket, free) = (socket.clone(), Arc::clone(&free));
                let texts = Texts { by_name: BTreeMap::new(), executed: Arc::clone(&noted) };
                clients.spawn(async move {
                    // A client that goes away is no error, nor is a server that ends.
                    serve(client, &socket, pooling, &free, texts).await.unwrap_or_default();
                });
            }
        });
        Ok(Self { url, executed, _clients: clients })
    }

    /// The statements that clients had executed so far, in the order in which they came.
    #[must_use]
    pub fn executed(&self) -> Vec<String> {
        self.executed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the ordinary role finds the database through it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Free {
    fn sessions(&self) -> MutexGuard<'_, Vec<UnixStream>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, session: UnixStream) {
        self.sessions().push(session);
        self.one_more.notify_one();
    }

    async fn take(&self) -> UnixStream {
        loop {
            let one_more = self.one_more.notified();
            if let Some(session) = self.sessions().pop() {
                return session;
            }
            one_more.await;
        }
    }
}

/// The statements of one client.
struct Texts {
    /// Those it prepared.
    by_name: BTreeMap<String, String>,
    executed: Executed,
}

impl Texts {
    /// Notes the statement that a message of the client executes or prepares.
    fn note(&mut self, message: &Message) {
        let mut texts = message.bytes.get(5..).unwrap_or_default().split(|byte| *byte == 0);
        let mut next = || String::from_utf8_lossy(texts.next().unwrap_or_default()).into_owned();
        let executed = match message.kind {
            b'Q' => next(),
            b'P' => {
                self.by_name.insert(next(), next());
                return;
            }
            // A portal is bound to be executed.
            b'B' => {
                let _portal = next();
                self.by_name.get(&next()).cloned().unwrap_or_default()
            }
            _ => return,
        };
        self.executed.lock().unwrap_or_else(PoisonError::into_inner).push(executed);
    }
}

async fn serve(
    mut client: TcpStream,
    socket: &Path,
    pooling: Pooling,
    free: &Free,
    mut texts: Texts,
) -> Result<()> {
    let mut session = UnixStream::connect(socket).await?;
    session.write_all(&startup(&mut client).await?).await?;
    let mut ends = answer(&mut session, &mut client).await?;
    let mut mine = Some(session);
    loop {
        if ends && pooling == Pooling::Swapping {
            mine.take().into_iter().for_each(|session| free.give(session));
        }
        let mut message = receive(&mut client).await?;
        let mut session = match mine.take() {
            Some(session) => session,
            None => free.take().await,
        };
        // A request is one simple query, or ends in a Sync.
        texts.note(&message);
        while message.kind != b'Q' && message.kind != b'S' {
            session.write_all(&message.bytes).await?;
            message = receive(&mut client).await?;
            texts.note(&message);
        }
        session.write_all(&message.bytes).await?;
        ends = answer(&mut session, &mut client).await?;
        if ends && pooling == Pooling::Resetting {
            session.write_all(RESET).await?;
            while receive(&mut session).await?.kind != READY {}
        }
        mine = Some(session);
    }
}

/// The first message has no kind. TLS is refused before it.
async fn startup(client: &mut TcpStream) -> Result<Vec<u8>> {
    loop {
        let message = body(client, Vec::new()).await?;
        if message.get(4..) != Some(&[4, 210, 22, 47]) {
            return Ok(message);
        }
        client.write_all(b"N").await?;
    }
}

/// Hands on what the server sends until it is ready, and says whether no transaction is open then.
async fn answer(session: &mut UnixStream, client: &mut TcpStream) -> Result<bool> {
    let mut answer = Vec::new();
    loop {
        let message = receive(session).await?;
        answer.extend_from_slice(&message.bytes);
        if message.kind == READY {
            client.write_all(&answer).await?;
            return Ok(message.bytes.last() == Some(&b'I'));
        }
    }
}

async fn receive(stream: &mut (impl AsyncReadExt + Unpin)) -> Result<Message> {
    let kind = stream.read_u8().await?;
    let bytes = body(stream, vec![kind]).await?;
    Ok(Message { kind, bytes })
}

async fn body(stream: &mut (impl AsyncReadExt + Unpin), mut before: Vec<u8>) -> Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    before.extend_from_slice(&length.to_be_bytes());
    let begin = before.len();
    let rest = usize::try_from(length).unwrap_or(0).checked_sub(4);
    let rest = rest.ok_or_else(|| Error::from(ErrorKind::InvalidData))?;
    before.resize(begin.saturating_add(rest), 0);
    if let Some(place) = before.get_mut(begin..) {
        stream.read_exact(place).await?;
    }
    Ok(before)
}
