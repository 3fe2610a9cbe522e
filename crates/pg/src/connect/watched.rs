//! A connection that fails when the server owes an answer and sends nothing for too long.
//!
//! A time-out of the server (`statement_timeout`) does not help when the server, or the way to it, has gone silent: nothing
//! arrives, and a read waits for hours. So the stream itself keeps the time. It sits above TLS and reads the headers of the
//! messages on their way: each request ends in a `Sync` or is a simple query, and each is answered in the end by
//! `ReadyForQuery`. Between two requests the server owes nothing, however long that takes.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep_until},
};

/// The time of the last silence that one of the connections to a server died of. Shared by all of them.
pub(super) struct Silence {
    origin: Instant,
    since_ms: AtomicU64,
}

/// State shared by a connection and its owner.
pub(super) struct Watch {
    /// Longest silence while an answer is owed; zero for no limit.
    limit_ms: AtomicU64,
    heard_ms: AtomicU64,
    timed_out: AtomicBool,
    silence: Arc<Silence>,
}

impl Silence {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { origin: Instant::now(), since_ms: AtomicU64::new(0) })
    }

    fn elapsed_ms(&self, at: Instant) -> u64 {
        milliseconds(at.saturating_duration_since(self.origin))
    }
}

impl Watch {
    pub(super) fn new(silence: &Arc<Silence>, limit: Duration) -> Arc<Self> {
        let now = silence.elapsed_ms(Instant::now());
        Arc::new(Self {
            limit_ms: AtomicU64::new(milliseconds(limit)),
            heard_ms: AtomicU64::new(now),
            timed_out: AtomicBool::new(false),
            silence: Arc::clone(silence),
        })
    }

    /// Changes the longest silence; zero for no limit.
    pub(super) fn limit(&self, limit: Duration) {
        self.limit_ms.store(milliseconds(limit), Ordering::Relaxed);
    }

    /// Returns true if the server was not heard on this connection since another one found it silent.
    pub(super) fn is_suspect(&self) -> bool {
        self.heard_ms.load(Ordering::Relaxed) < self.silence.since_ms.load(Ordering::Relaxed)
    }

    /// Returns true if the connection ended because the server was silent for too long.
    pub(super) fn timed_out(&self) -> bool {
        self.timed_out.load(Ordering::Relaxed)
    }

    fn heard(&self) {
        let now = self.silence.elapsed_ms(Instant::now());
        self.heard_ms.store(now, Ordering::Relaxed);
    }

    /// Notes that nothing was heard since `since`. Connections on which something was heard later are not suspect.
    fn time_out(&self, since: Instant, limit: Duration) -> io::Error {
        self.timed_out.store(true, Ordering::Relaxed);
        let since = self.silence.elapsed_ms(since);
        self.silence.since_ms.fetch_max(since, Ordering::Relaxed);
        let text = format!("the database server sent nothing for {} s", limit.as_secs_f32());
        io::Error::new(io::ErrorKind::TimedOut, text)
    }
}

/// A stream of PostgreSQL's protocol whose silence has a limit.
pub(super) struct Watched<T> {
    pub(super) inner: T,
    sent: Messages,
    received: Messages,
    /// Requests that are not answered to their end.
    owed: u64,
    /// The server takes nothing more.
    blocked: bool,
    waits_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    watch: Arc<Watch>,
}

impl<T> Watched<T> {
    /// A stream over which nothing of the protocol was sent yet.
    pub(super) fn new(inner: T, watch: Arc<Watch>) -> Self {
        Self {
            inner,
            sent: Messages::after_startup(),
            received: Messages::default(),
            owed: 0,
            blocked: false,
            waits_since: None,
            timer: None,
            watch,
        }
    }

    fn waits(&self) -> bool {
        self.owed > 0 || self.blocked
    }

    /// Called when there is nothing to read: fails when that is so for too long, and sees that it is looked at again.
    fn poll_limit(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let limit = Duration::from_millis(self.watch.limit_ms.load(Ordering::Relaxed));
        if !self.waits() || limit.is_zero() {
            self.waits_since = None;
            return Poll::Pending;
        }
        loop {
            let now = Instant::now();
            let since = *self.waits_since.get_or_insert(now);
            let Some(due) = since.checked_add(limit) else {
                return Poll::Pending;
            };
            if now >= due {
                return Poll::Ready(self.watch.time_out(since, limit));
            }
            // A timer of an earlier wait may fire too early, and is set anew then: less work than once for each request.
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
            if timer.deadline() > due.into() {
                timer.as_mut().reset(due.into());
            }
            ready!(timer.as_mut().poll(context));
            timer.as_mut().reset(due.into());
        }
    }

    /// Notes how a write ended. The driver reads before it writes, so it has to come back to begin waiting: once for each
    /// beginning, because it flushes whenever it is polled and would come back for ever.
    fn after_write(&mut self, context: &Context<'_>, blocked: bool, asked: bool) {
        let begins = asked || blocked != self.blocked;
        if self.blocked && !blocked {
            self.waits_since = None;
        }
        self.blocked = blocked;
        let is_limited = self.watch.limit_ms.load(Ordering::Relaxed) > 0;
        if begins && is_limited && self.waits_since.is_none() {
            context.waker().wake_by_ref();
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        match Pin::new(&mut this.inner).poll_read(context, buffer) {
            Poll::Ready(outcome) => {
                let bytes = buffer.filled().get(before..).unwrap_or_default();
                if !bytes.is_empty() {
                    this.waits_since = None;
                    this.watch.heard();
                    let owed = &mut this.owed;
                    this.received.follow(bytes, |tag| {
                        if tag == READY_FOR_QUERY {
                            *owed = owed.saturating_sub(1);
                        }
                    });
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => this.poll_limit(context).map(Err),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let outcome = Pin::new(&mut this.inner).poll_write(context, bytes);
        let owed_before = this.owed;
        if let Poll::Ready(Ok(count)) = &outcome {
            let owed = &mut this.owed;
            this.sent.follow(bytes.get(..*count).unwrap_or_default(), |tag| {
                if matches!(tag, SYNC | QUERY) {
                    *owed = owed.saturating_add(1);
                }
            });
        }
        let asked = this.owed > owed_before;
        this.after_write(context, outcome.is_pending(), asked);
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        self.after_write(context, outcome.is_pending(), false);
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

const SYNC: u8 = b'S';
const QUERY: u8 = b'Q';
const READY_FOR_QUERY: u8 = b'Z';

/// Follows a stream of messages: one byte of type, four of length, and a body, in pieces of any size.
#[derive(Default)]
struct Messages {
    header: [u8; 5],
    header_filled: usize,
    body_left: usize,
}

impl Messages {
    /// The first message of a client has no type.
    fn after_startup() -> Self {
        Self { header_filled: 1, ..Self::default() }
    }

    /// Calls `complete` with the type of each message that ends in `bytes`.
    fn follow(&mut self, mut bytes: &[u8], mut complete: impl FnMut(u8)) {
        while !bytes.is_empty() {
            let missing = if self.header_filled < self.header.len() {
                let free = &mut self.header[self.header_filled..];
                let count = free.len().min(bytes.len());
                free[..count].copy_from_slice(&bytes[..count]);
                self.header_filled += count;
                bytes = &bytes[count..];
                if self.header_filled < self.header.len() {
                    return;
                }
                let [_, length @ ..] = self.header;
                // The length counts itself.
                self.body_left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.body_left = self.body_left.saturating_sub(length.len());
                self.body_left
            } else {
                let count = self.body_left.min(bytes.len());
                self.body_left -= count;
                bytes = &bytes[count..];
                self.body_left
            };
            if missing == 0 {
                self.header_filled = 0;
                complete(self.header[0]);
            }
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    #[test]
    fn messages_are_followed_in_pieces_of_any_size() {
        let startup = [&8_u32.to_be_bytes()[..], b"body"].concat();
        let typed = |tag: u8, body: &[u8]| {
            let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
            [&[tag], &length[..], body].concat()
        };
        let stream = [
            startup,
            typed(b'p', b"secret"),
            typed(b'P', b"S\0\0\0\x04"),
            typed(b'S', b""),
            typed(b'Q', b"SELECT 1\0"),
        ]
        .concat();
        for size in 1..=stream.len() {
            let (mut messages, mut seen) = (Messages::after_startup(), Vec::new());
            for piece in stream.chunks(size) {
                messages.follow(piece, |tag| seen.push(tag));
            }
            assert_eq!(seen, [0, b'p', b'P', b'S', b'Q'], "pieces of {size}");
        }
    }

    type Ends = (Watched<DuplexStream>, DuplexStream);

    /// A stream that waits for 20 ms and has room for 64 bytes, after its startup message, and the server's end.
    async fn stream(limit: Duration) -> Ends {
        let (client, mut server) = duplex(64);
        let mut stream = Watched::new(client, Watch::new(&Silence::new(), limit));
        stream.write_all(&[0, 0, 0, 8, 0, 3, 0, 0]).await.unwrap();
        server.read_exact(&mut [0; 8]).await.unwrap();
        (stream, server)
    }

    const LIMIT: Duration = Duration::from_millis(20);
    const SYNC_MESSAGE: [u8; 5] = [SYNC, 0, 0, 0, 4];
    const READY: [u8; 6] = [READY_FOR_QUERY, 0, 0, 0, 5, b'I'];

    #[derive(Default)]
    struct Wakes(AtomicU64);

    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn who_flushes_again_and_again_is_woken_once() {
        for (limit, expected) in [(LIMIT, 1), (Duration::ZERO, 0)] {
            let (mut stream, _server) = stream(limit).await;
            let wakes = Arc::new(Wakes::default());
            let waker = Arc::clone(&wakes).into();
            let mut context = Context::from_waker(&waker);
            let mut stream = Pin::new(&mut stream);
            assert!(stream.as_mut().poll_write(&mut context, &SYNC_MESSAGE).is_ready());
            for _ in 0..5 {
                assert!(stream.as_mut().poll_flush(&mut context).is_ready());
            }
            assert_eq!(wakes.0.load(Ordering::Relaxed), expected);
        }
    }

    async fn times_out(stream: &mut Watched<DuplexStream>) {
        let error = stream.read(&mut [0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(stream.watch.timed_out());
    }

    #[tokio::test]
    async fn silence_ends_a_stream_only_while_an_answer_is_owed() {
        let (mut owed, mut _owing) = stream(LIMIT).await;
        let (mut idle, mut idle_server) = stream(LIMIT).await;
        let (mut answered, mut answering) = stream(LIMIT).await;
        let (mut unlimited, mut patient) = stream(Duration::ZERO).await;
        for stream in [&mut owed, &mut answered, &mut unlimited] {
            stream.write_all(&SYNC_MESSAGE).await.unwrap();
        }
        answering.write_all(&READY).await.unwrap();
        answered.read_exact(&mut [0; 6]).await.unwrap();
        let mut buffers = [[0; 6]; 3];
        let [first, second, third] = &mut buffers;
        let mut others = Box::pin(async {
            tokio::join!(idle.read_exact(first), answered.read_exact(second), unlimited.read_exact(third))
        });
        // Three limits one after the other, and the others are still waiting.
        for _ in 0..3 {
            tokio::select! {
                biased;
                _ = &mut others => panic!("a stream ended that was owed nothing"),
                () = times_out(&mut owed) => {}
            }
            (owed, _owing) = stream(LIMIT).await;
            owed.write_all(&SYNC_MESSAGE).await.unwrap();
        }
        for server in [&mut idle_server, &mut answering, &mut patient] {
            server.write_all(&READY).await.unwrap();
        }
        let (idle, answered, unlimited) = others.await;
        assert!(idle.is_ok() && answered.is_ok() && unlimited.is_ok());
    }

    #[tokio::test]
    async fn half_an_answer_and_a_request_that_is_not_taken_time_out() {
        let (mut halved, mut server) = stream(LIMIT).await;
        halved.write_all(&[SYNC_MESSAGE, SYNC_MESSAGE].concat()).await.unwrap();
        server.write_all(&[&READY[..], b"C"].concat()).await.unwrap();
        halved.read_exact(&mut [0; 7]).await.unwrap();
        times_out(&mut halved).await;

        let (mut full, _server) = stream(LIMIT).await;
        let long = [&[b'B', 0, 0, 4, 0][..], &[0; 1_020]].concat();
        let (mut reading, mut writing) = tokio::io::split(&mut full);
        tokio::select! {
            read = reading.read_u8() => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut),
            written = writing.write_all(&long) => panic!("{written:?}"),
        }
    }

    #[tokio::test]
    async fn connections_that_were_not_heard_since_a_silence_are_suspect() {
        let silence = Silence::new();
        let (before, after) = (Watch::new(&silence, LIMIT), Watch::new(&silence, LIMIT));
        let later = Instant::now() + Duration::from_secs(1);
        let _error = before.time_out(later, LIMIT);
        assert!(before.is_suspect() && after.is_suspect());
        after.heard_ms.store(silence.elapsed_ms(later), Ordering::Relaxed);
        assert!(before.is_suspect() && !after.is_suspect());
    }
}
