//! One connection as the HTTP library sees it: the socket, and what the library itself does not watch.
//!
//! - An answer that its client does not take ends the connection ([`STALL_MAX`]).
//! - After an answer with `Connection: close` nothing that still comes is read as a request (RFC 9112, 9.6).
//! - The head of a further request must be there soon after its first byte, as the first one must.
//! - A connection that has to make room for another one is closed.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use super::{
    connections::ConnectionSlot,
    stream_end::{StreamEnd, begins_request},
};

/// Longest time in which a client reads nothing of its answer.
const STALL_MAX: Duration = Duration::from_secs(60);
/// The same while the process stops.
const STALL_MAX_DRAINING: Duration = Duration::from_secs(5);
/// Time that a client may take for the head of a request.
pub const HEAD_MAX: Duration = Duration::from_secs(5);
/// Time in which data that a client still sends is read and discarded after the last answer, so that the answer is not lost with it.
pub const LINGER: Duration = Duration::from_secs(2);
/// Interval at which a waiting connection checks its limits.
const TICK: Duration = Duration::from_secs(1);
/// Most bytes that are thrown away at once before others get their turn.
const DISCARD_MAX: usize = 1024 * 1024;

/// A socket with its limits.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    line: Rc<Line>,
    tick: Pin<Box<Sleep>>,
    /// When the client last took bytes.
    taken_at: Instant,
    /// True if there are bytes that it does not take.
    is_stalled: bool,
    stall_max: Duration,
    is_shut: bool,
}

/// State shared by the requests of a connection and its socket.
#[derive(Debug)]
pub struct Line {
    slot: ConnectionSlot,
    /// When the last answer was made.
    closing_since: Cell<Option<Instant>>,
    /// True if a request came after it.
    is_overrun: Cell<bool>,
    requests: Cell<u64>,
    is_busy: Cell<bool>,
    /// When the first byte of the next request came.
    head_since: Cell<Option<Instant>>,
    /// The last bytes that came.
    end: RefCell<StreamEnd>,
    /// The last bytes of the body of the last request, if it had one whose length was declared.
    body_end: RefCell<StreamEnd>,
    /// Number of times the kernel had taken all that was written.
    flushes: Cell<u64>,
    /// The task that waits for the next time.
    flush_waker: RefCell<Option<Waker>>,
}

/// A request that is being answered, until this is dropped.
#[derive(Debug)]
pub struct Answering(Rc<Line>);

impl Connection {
    /// Watches a socket.
    #[must_use]
    pub fn new(stream: TcpStream, slot: ConnectionSlot) -> Self {
        let line = Line {
            slot,
            closing_since: Cell::new(None),
            is_overrun: Cell::new(false),
            requests: Cell::new(0),
            is_busy: Cell::new(false),
            head_since: Cell::new(None),
            end: RefCell::default(),
            body_end: RefCell::default(),
            flushes: Cell::new(0),
            flush_waker: RefCell::default(),
        };
        Self {
            stream,
            line: Rc::new(line),
            tick: Box::pin(sleep(TICK)),
            taken_at: Instant::now(),
            is_stalled: false,
            stall_max: STALL_MAX,
            is_shut: false,
        }
    }

    /// State for its requests.
    #[must_use]
    pub fn line(&self) -> &Rc<Line> {
        &self.line
    }

    /// Has the task look again after a while.
    fn look_again(&mut self, context: &mut Context<'_>) {
        while self.tick.as_mut().poll(context).is_ready() {
            self.tick.set(sleep(TICK));
        }
    }

    /// Reads and throws away until nothing comes any more, or long enough.
    fn poll_discard(&mut self, context: &mut Context<'_>, since: Instant) -> Poll<io::Result<()>> {
        if self.line.is_evicted(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let mut scratch = [0_u8; 8 * 1024];
        let mut discarded = 0_usize;
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => discarded = discarded.saturating_add(buffer.filled().len()),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
            if discarded >= DISCARD_MAX {
                context.waker().wake_by_ref();
                break;
            }
        }
        if !self.is_stalled && since.max(self.taken_at).elapsed() >= LINGER {
            return Poll::Ready(Ok(()));
        }
        self.look_again(context);
        Poll::Pending
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(since) = this.line.closing_since.get() {
            return this.poll_discard(context, since);
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(outcome) => {
                this.line.received(buffer.filled().get(before..).unwrap_or_default());
                Poll::Ready(outcome)
            }
            // An end of the stream has the connection closed as soon as no request is being answered.
            Poll::Pending if this.line.is_evicted(context) => {
                tracing::debug!("a connection was closed in favour of a new one");
                Poll::Ready(Ok(()))
            }
            Poll::Pending => match this.line.head_since.get() {
                // While an answer is not taken, the library does not look at what follows.
                Some(since) if !this.is_stalled && since.max(this.taken_at).elapsed() >= HEAD_MAX => {
                    client_error("slow_head");
                    Poll::Ready(Ok(()))
                }
                Some(_) => {
                    this.look_again(context);
                    Poll::Pending
                }
                None => Poll::Pending,
            },
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let is_evicted = this.line.is_evicted(context);
        if this.is_shut || is_evicted && this.line.is_overrun.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if let Poll::Ready(outcome) = Pin::new(&mut this.stream).poll_write(context, bytes) {
            this.is_stalled = false;
            this.taken_at = Instant::now();
            return Poll::Ready(outcome);
        }
        // Its client does not take an answer that is made already, and another client needs the socket.
        if is_evicted && !this.line.is_busy.get() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if !this.is_stalled {
            this.is_stalled = true;
            // From now on: an answer may be made long after the one before was taken.
            this.taken_at = Instant::now();
        }
        let stall_max = match this.line.slot.is_draining() {
            false => this.stall_max,
            true => STALL_MAX_DRAINING,
        };
        if this.taken_at.elapsed() >= stall_max {
            client_error("stalled_reader");
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        this.look_again(context);
        Poll::Pending
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.line.flushed();
        // The last answer is with the kernel, and a request after it will get none.
        if self.line.is_overrun.get() && !self.is_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.is_shut = true;
        }
        // The head may have begun while the answer was made; nothing reads meanwhile.
        if self.line.head_since.get().is_some() {
            self.look_again(context);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Line {
    /// Notes the beginning of a request.
    #[must_use]
    pub fn answer(self: &Rc<Self>) -> Answering {
        self.head_since.set(None);
        self.body_end.take();
        self.requests.set(self.requests.get().saturating_add(1));
        self.is_busy.set(true);
        self.slot.busy();
        Answering(Rc::clone(self))
    }

    /// Returns true if the last answer was made, so that nothing is done any more.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing_since.get().is_some()
    }

    /// Says that the answer that is made now is the last one.
    pub fn close(&self) {
        self.closing_since.set(Some(Instant::now()));
    }

    /// Says that a request came after the last answer.
    pub fn overrun(&self) {
        client_error("request_after_close");
        self.is_overrun.set(true);
    }

    /// Says that a request came that is not answered, because the connection makes room for another one.
    pub fn abort(&self) {
        self.close();
        self.is_overrun.set(true);
    }

    /// Returns whether the connection must close for another one. If not, the task is woken when it must.
    pub fn is_evicted(&self, context: &Context<'_>) -> bool {
        self.slot.is_evicted(context.waker())
    }

    /// Notes the last bytes of the body of the request that is being answered.
    pub fn body_ended(&self, end: StreamEnd) {
        self.body_end.replace(end);
    }

    /// Number of times the kernel had taken all that was written.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.flushes.get()
    }

    /// Ready when the kernel has taken all that was written, since it had for the `before`th time.
    pub fn poll_flushed(&self, before: u64, context: &Context<'_>) -> Poll<()> {
        if self.flushes.get() > before {
            return Poll::Ready(());
        }
        self.flush_waker.replace(Some(context.waker().clone()));
        Poll::Pending
    }

    fn flushed(&self) {
        self.flushes.set(self.flushes.get().saturating_add(1));
        if let Some(waker) = self.flush_waker.take() {
            waker.wake();
        }
    }

    fn received(&self, bytes: &[u8]) {
        self.end.borrow_mut().push(bytes);
        // The head of the first request is timed by the library, which answers 408.
        if begins_request(bytes) && self.requests.get() > 0 && !self.is_busy.get() {
            self.head_began();
        }
    }

    fn head_began(&self) {
        if self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }
}

impl Answering {
    /// The connection.
    #[must_use]
    pub fn line(&self) -> &Line {
        &self.0
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.is_busy.set(false);
        self.0.slot.idle();
        let end = self.0.end.borrow();
        if end.goes_on_after(&self.0.body_end.borrow()) {
            self.0.head_began();
        }
    }
}

/// Counts a fault of a client that ended its connection.
pub fn client_error(kind: &'static str) {
    metrics::counter!("http_client_errors_total", "kind" => kind).increment(1);
    tracing::debug!(kind, "a connection ended by a fault of its client");
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::timeout,
    };

    use super::*;
    use crate::connections::Connections;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A connection and its client.
    pub async fn pair() -> (Connection, TcpStream, Arc<Connections>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        crate::listener::prepare(&listener).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let open = Arc::new(Connections::new(9, 9, Vec::new()));
        let slot = open.admit(peer).unwrap();
        (Connection::new(stream, slot), client, open)
    }

    /// More than the buffers of the kernel hold.
    async fn send_much(connection: &mut Connection) -> io::ErrorKind {
        let much = vec![0; 64 * 1024 * 1024];
        let sent = timeout(PATIENCE, connection.write_all(&much)).await.unwrap();
        sent.unwrap_err().kind()
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut connection, client, _open) = pair().await;
        connection.stall_max = Duration::from_millis(10);
        assert_eq!(send_much(&mut connection).await, io::ErrorKind::TimedOut);
        drop(client);
        // While the process stops, the limit of every connection is short.
        let (mut connection, _client, open) = pair().await;
        open.begin_drain();
        assert_eq!(send_much(&mut connection).await, io::ErrorKind::TimedOut);
    }

    /// The kernel buffers little, or a client that reads some KB a second would count as one that reads nothing.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_slow_client_is_handed_more_soon() {
        let (mut connection, mut client, _open) = pair().await;
        let piece = vec![0; 32 * 1024];
        while connection.write(&piece).now_or_never().is_some() {
            tokio::task::yield_now().await;
        }
        let taking = async {
            let (mut left, mut taken) = (256 * 1024, [0; 4096]);
            while left > 0 {
                left -= client.read(&mut taken).await.unwrap().min(left);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            more = timeout(PATIENCE, connection.write(&piece)) => assert!(more.unwrap().is_ok()),
            () = taking => {}
        }
    }

    /// A connection whose answer is not taken, and one that waits for its client after the last answer, make room at once.
    #[tokio::test]
    async fn an_evicted_connection_ends_whatever_it_waits_for() {
        for is_closing in [false, true] {
            let (mut connection, client, open) = pair().await;
            if is_closing {
                connection.line().close();
            }
            // All nine places are taken by others, so that the first one has to go.
            let peers = (0..9_u8).map(|number| ([10, 0, 0, number], 1).into());
            let mut others = Vec::new();
            let waiting = async {
                match is_closing {
                    false => send_much(&mut connection).await,
                    true => connection.read_u8().await.unwrap_err().kind(),
                }
            };
            let evicting = async {
                tokio::task::yield_now().await;
                others.extend(peers.map(|peer| {
                    let slot = open.admit(peer).unwrap();
                    slot.busy();
                    slot
                }));
            };
            let (kind, ()) = timeout(PATIENCE, async { tokio::join!(waiting, evicting) }).await.unwrap();
            assert_eq!(kind, io::ErrorKind::ConnectionAborted);
            drop(client);
        }
    }

    #[tokio::test]
    async fn empty_lines_begin_no_head() {
        let (mut connection, mut client, _open) = pair().await;
        drop(connection.line().answer());
        for (sent, begins) in [(b"\r\n", false), (b"\nG", true)] {
            client.write_all(sent).await.unwrap();
            let mut read = [0; 2];
            connection.read_exact(&mut read).await.unwrap();
            assert_eq!(connection.line().head_since.get().is_some(), begins);
        }
    }

    #[tokio::test]
    async fn after_the_last_answer_nothing_is_read() {
        let (mut connection, mut client, _open) = pair().await;
        client.write_all(b"first").await.unwrap();
        let mut read = [0; 5];
        connection.read_exact(&mut read).await.unwrap();
        connection.line().close();
        client.write_all(b"second").await.unwrap();
        let mut rest = Vec::new();
        let end = timeout(PATIENCE, connection.read_to_end(&mut rest)).await;
        assert_eq!((end.unwrap().unwrap(), rest.len()), (0, 0));
    }
}
