//! An S3-compatible store for tests, in a folder, whose faults a test chooses.
//!
//! `s3s` speaks the protocol and verifies signatures of version 4, in headers and in queries; `s3s-fs` keeps the objects. This module
//! adds what they lack: a clock of its own, the codes of AWS for an unknown key and bucket, no rests of refused objects, and faults.
//! Of what AWS does, it does not check the region, and that parts have at least 5 MiB.

mod call;
mod clock;
mod faults;
mod service;
mod shared;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use tempfile::TempDir;
use tokio::{
    runtime::Builder,
    sync::{Semaphore, oneshot},
};

pub use self::{
    call::S3Call,
    faults::S3Fault,
    shared::{S3_ACCESS_KEY, S3_BUCKET, S3_SECRET_KEY},
};
use self::{
    faults::Rule,
    shared::{Shared, lock},
};

/// A store on the loopback address, on a thread of its own.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    folder: TempDir,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl S3Server {
    /// An empty store.
    ///
    /// # Panics
    /// When there is no free port or no folder.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder: {error}"));
        fs::create_dir(folder.path().join(S3_BUCKET)).unwrap_or_else(|error| panic!("no bucket: {error}"));
        let listener =
            TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("no free port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no address: {error}"));
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            rule: Mutex::default(),
            ahead: Mutex::default(),
            releases: Semaphore::new(0),
        });
        let service = service::Service::new(folder.path(), Arc::clone(&shared));
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
            // Dropping the runtime ends the connections.
            runtime.block_on(async {
                tokio::select! {
                    () = service::serve(listener, service) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, folder, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Its URL, as in `S3_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens, for clients that find it by another name.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Variables of the service that name this store.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("S3_BUCKET", S3_BUCKET.to_owned()),
            ("S3_ENDPOINT", self.endpoint()),
            ("S3_ACCESS_KEY_ID", S3_ACCESS_KEY.to_owned()),
            ("S3_SECRET_ACCESS_KEY", S3_SECRET_KEY.to_owned()),
        ]
    }

    /// The folder of the bucket: each object is the file with its key as path.
    #[must_use]
    pub fn bucket_folder(&self) -> PathBuf {
        self.folder.path().join(S3_BUCKET)
    }

    /// The keys of all objects, sorted.
    ///
    /// # Panics
    /// When the folder cannot be read.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let (root, mut keys) = (self.bucket_folder(), Vec::new());
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let entries =
                fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            for path in entries.flatten().map(|entry| entry.path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    keys.push(path.strip_prefix(&root).unwrap_or(&path).display().to_string());
                }
            }
        }
        keys.sort();
        keys
    }

    /// Files of uploads in parts that were neither completed nor aborted.
    ///
    /// # Panics
    /// When the folder cannot be read.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        let entries = fs::read_dir(self.folder.path()).unwrap_or_else(|error| panic!("no folder: {error}"));
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().contains("upload")).count()
    }

    /// The answered requests, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<S3Call> {
        lock(&self.shared.calls).clone()
    }

    /// Deviates where `rule` says so, until [`S3Server::heal`].
    pub fn fail(&self, rule: impl Fn(&S3Call) -> Option<S3Fault> + Send + Sync + 'static) {
        *lock(&self.shared.rule) = Some(Rule::new(rule));
    }

    /// Answers as a healthy store again.
    pub fn heal(&self) {
        *lock(&self.shared.rule) = None;
    }

    /// Lets one [`S3Fault::Pause`] go on: one that waits, or the next one.
    pub fn release(&self) {
        self.shared.releases.add_permits(1);
    }

    /// Sets how far the clock of the store is ahead of the real one; negative if it is behind.
    pub fn set_clock_ahead(&self, ahead: time::Duration) {
        *lock(&self.shared.ahead) = ahead;
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.shared.releases.close();
        // The thread ends when either side is gone.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
