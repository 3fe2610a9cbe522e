//! A network that can go silent between a database and its clients.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};

use crate::TestDb;

/// A TCP proxy in front of a test database. On demand it stops forwarding in both directions and closes nothing, as a
/// network does after a failover without a word.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    network: Arc<Mutex<Network>>,
    accepting: JoinHandle<()>,
}

/// Events of connections.
#[derive(Debug)]
struct Network {
    /// Becomes true when the connections made so far go silent; replaced for the later ones.
    silent: watch::Sender<bool>,
    new_are_silent: bool,
}

impl Proxy {
    /// Starts a proxy on the present runtime. It ends when it is dropped, and all of its connections with it.
    ///
    /// # Panics
    /// When there is no free port, or the database has no unix socket.
    pub async fn start(db: &TestDb) -> Self {
        let (credentials, rest) = db.url().split_once('@').unwrap_or_default();
        let (folder, database) = rest.split_once('/').unwrap_or_default();
        let folder = percent_encoding::percent_decode_str(folder).decode_utf8_lossy();
        let socket = PathBuf::from(&*folder).join(".s.PGSQL.5432");
        assert!(socket.exists(), "no socket at {}", socket.display());
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.unwrap_or_else(|error| panic!("no free port: {error}"));
        let address = listener.local_addr();
        let address: SocketAddr = address.unwrap_or_else(|error| panic!("no address: {error}"));
        let network =
            Arc::new(Mutex::new(Network { silent: watch::Sender::new(false), new_are_silent: false }));
        Self {
            url: format!("{credentials}@{address}/{database}"),
            accepting: tokio::spawn(accept(listener, socket, Arc::clone(&network))),
            network,
        }
    }

    /// The database behind the proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes all connections silent, and those that are still to come.
    pub fn silence_all(&self) {
        self.change(true);
    }

    /// Makes the connections silent that there are, and lets new ones through.
    pub fn silence_old(&self) {
        self.change(false);
    }

    /// Lets new connections through. Those that are silent stay so.
    pub fn let_new_through(&self) {
        lock(&self.network).new_are_silent = false;
    }

    fn change(&self, new_are_silent: bool) {
        let mut network = lock(&self.network);
        network.silent.send_replace(true);
        network.silent = watch::Sender::new(false);
        network.new_are_silent = new_are_silent;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, socket: PathBuf, network: Arc<Mutex<Network>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let silent = {
            let network = lock(&network);
            (!network.new_are_silent).then(|| network.silent.subscribe())
        };
        connections.spawn(forward(client, socket.clone(), silent));
    }
}

/// Forwards until the connection has to be silent, and then holds it open.
async fn forward(mut client: TcpStream, socket: PathBuf, silent: Option<watch::Receiver<bool>>) {
    if let Some(mut silent) = silent {
        let Ok(mut server) = UnixStream::connect(socket).await else {
            return;
        };
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = silent.wait_for(|silent| *silent) => {}
        }
        // The server goes on as if the client were still there.
        let _held = (client, server);
        std::future::pending::<()>().await;
    } else {
        let _held = client;
        std::future::pending::<()>().await;
    }
}

fn lock(network: &Mutex<Network>) -> std::sync::MutexGuard<'_, Network> {
    network.lock().unwrap_or_else(PoisonError::into_inner)
}
