//! Files of users: row, object and event (HTTP contract 7).
//!
//! A row reserves the bytes before the first is stored; the row becomes ready, and its event is written, in one commit after the last.
//! No transaction is open while the store is asked. The work on a file is a task of the process: a request that goes away ends it, and
//! it removes what it stored. What a killed process leaves is removed by the jobs of [`sweep`]. Touches identity, files and webhooks.

mod direct;
pub mod sweep;
mod task;
mod upload;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{self, Arc, PoisonError},
    time::{Duration, Instant},
};

use files::{
    File, FileLimits, FileRefusal, final_key,
    links::{LinkKeys, LinkUse},
    objects::{Objects, StorageError},
};
use kernel::{Clock, Ids, UserId};
use pg::{Attempts, DbError, Pool, Tx};
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::timeout,
};
use uuid::Uuid;
use webhooks::{EventKind, FileFacts, NewEvent, Receivers};

pub use direct::{DirectUpload, NewDirectUpload};
pub use upload::{NewUpload, Upload};

/// Validity of a link to a file, and time for a direct upload (HTTP contract 7).
pub const LINK_VALID: Duration = Duration::from_hours(1);
/// Longest time of an answer to `/readyz`.
const ANSWER_MAX: Duration = Duration::from_millis(1_800);
/// Longest wait of a request for the removal of an object, which a job does otherwise.
const REMOVAL_MAX: Duration = Duration::from_secs(2);
/// Direct uploads that are completed at the same time.
const COMPLETIONS_MAX: usize = 4;
const KIB: usize = 1024;
/// Age of an answer of the store that is still good for `/readyz`.
const READY_FOR: Duration = Duration::from_secs(5);

/// Files of users. Clones share their parts.
#[derive(Clone)]
pub struct Files(Arc<Shared>);

struct Shared {
    pool: Pool,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    objects: Objects,
    settings: FileSettings,
    /// The runtime that the store is asked on.
    home: Handle,
    readiness: Mutex<Readiness>,
    /// A permit for each KiB of memory that uploads may take.
    memory: Arc<Semaphore>,
    /// Direct uploads that are completed at the same time: each is read whole.
    completions: Semaphore,
    /// Direct uploads whose bytes are being received here.
    receiving: sync::Mutex<BTreeSet<Uuid>>,
}

/// The last answer of the store, and the question that has none yet.
#[derive(Default)]
struct Readiness {
    last: Option<(Instant, bool)>,
    asked: Option<JoinHandle<bool>>,
}

/// The memory of an upload, given back when this is dropped.
#[derive(Debug)]
pub struct Memory(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Settings of files.
#[derive(Debug)]
pub struct FileSettings {
    /// Limits.
    pub limits: FileLimits,
    /// Keys of links to files of a folder.
    pub links: LinkKeys,
    /// The address of this service, without a slash at its end, for such links.
    pub public_url: String,
    /// Most bytes of memory of all uploads together.
    pub memory_bytes: usize,
}

/// Why something about files was not done, though nothing refused it.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The store.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A decided "no".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesRefusal {
    /// There is no such user.
    #[error("there is no user {0}")]
    NoUser(UserId),
    /// By the rules of files.
    #[error(transparent)]
    File(#[from] FileRefusal),
}

/// The outcome of an operation on files.
pub type Outcome<T> = Result<Result<T, FilesRefusal>, FilesError>;

impl Files {
    /// Files in this store. The work runs on the present tokio runtime.
    #[must_use]
    pub fn start(
        pool: Pool,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        objects: Objects,
        settings: FileSettings,
    ) -> Self {
        let memory = Arc::new(Semaphore::new(settings.memory_bytes / KIB));
        Self(Arc::new(Shared {
            pool,
            clock,
            ids,
            objects,
            settings,
            home: Handle::current(),
            readiness: Mutex::default(),
            memory,
            completions: Semaphore::new(COMPLETIONS_MAX),
            receiving: sync::Mutex::default(),
        }))
    }

    /// Tests the store, in the background, and logs what is wrong with it.
    pub fn test_store(&self) {
        let shared = Arc::clone(&self.0);
        self.0.home.spawn(async move {
            if let Err(fault) = shared.objects.self_test(shared.ids.uuid()).await {
                tracing::error!(fault = %fault, "the file storage does not work");
            }
        });
    }

    /// True if the store answers. Asked at most every five seconds, and not again before it has answered.
    pub async fn is_ready(&self) -> bool {
        let mut known = self.0.readiness.lock().await;
        if let Some((_, is_ready)) = known.last.filter(|(at, _)| at.elapsed() < READY_FOR) {
            return is_ready;
        }
        let shared = Arc::clone(&self.0);
        let asked = known.asked.get_or_insert_with(|| {
            self.0.home.spawn(async move {
                let checked = shared.objects.check().await;
                if let Err(fault) = &checked {
                    tracing::warn!(fault = %fault, "the file storage does not answer");
                }
                checked.is_ok()
            })
        });
        let is_ready = match timeout(ANSWER_MAX, asked).await {
            Ok(answered) => {
                known.asked = None;
                answered.unwrap_or(false)
            }
            Err(_elapsed) => {
                tracing::warn!("the file storage does not answer in time");
                false
            }
        };
        known.last = Some((Instant::now(), is_ready));
        is_ready
    }

    /// Takes the memory of an upload that brings at most so many bytes, where that is known; `None` if other uploads have it.
    #[must_use]
    pub fn memory(&self, bytes: Option<usize>) -> Option<Memory> {
        let kib = u32::try_from(self.buffer_bytes(bytes).div_ceil(KIB)).unwrap_or(u32::MAX);
        Arc::clone(&self.0.memory).try_acquire_many_owned(kib).ok().map(Memory)
    }

    /// Most bytes of a file.
    #[must_use]
    pub fn limits(&self) -> FileLimits {
        self.0.settings.limits
    }

    /// Most memory of an upload that brings at most so many bytes, where that is known.
    #[must_use]
    pub fn buffer_bytes(&self, bytes: Option<usize>) -> usize {
        let most = self.0.objects.buffer_bytes();
        bytes.map_or(most, |bytes| bytes.min(most)).saturating_add(task::QUEUE_BYTES)
    }

    /// The store.
    #[must_use]
    pub fn objects(&self) -> &Objects {
        &self.0.objects
    }

    /// The keys of links.
    #[must_use]
    pub fn links(&self) -> &LinkKeys {
        &self.0.settings.links
    }

    /// A link to fetch a file without a credential for one hour.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn link(&self, file: &File) -> Result<String, StorageError> {
        let disposition = files::names::content_disposition(&file.filename);
        let content_type = file.file_type.content_type();
        let key = final_key(file.object_id);
        let url = self.0.objects.signed_get(&key, content_type, &disposition, LINK_VALID).await?;
        Ok(url.map_or_else(
            || self.0.own_link(LinkUse::Fetch, "/files/raw", file.file_id),
            |url| url.to_string(),
        ))
    }

    /// Deletes a file with its object.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn delete(&self, user_id: &UserId, file_path: &str) -> Result<Option<File>, DbError> {
        let mut attempts = Attempts::up_to(3);
        let deleted = loop {
            match Tx::run(&self.0.pool, async |tx| self.0.delete_in(tx, user_id, file_path).await).await {
                Err(error) if attempts.again(&error).await => {}
                result => break result?,
            }
        };
        if let Some(file) = &deleted {
            // Links of S3 end with the object. What fails here is done by the job.
            let (shared, key) = (Arc::clone(&self.0), final_key(file.object_id));
            let removed = self.0.on_home(async move { shared.remove_objects(&[key]).await });
            match timeout(REMOVAL_MAX, removed).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = %pg::pool::chain(&error), "an object of a deleted file is still to be removed");
                }
                Err(_elapsed) => tracing::warn!("an object of a deleted file is still to be removed"),
            }
        }
        Ok(deleted)
    }
}

impl Shared {
    async fn delete_in(
        &self,
        tx: &mut Tx,
        user_id: &UserId,
        file_path: &str,
    ) -> Result<Option<File>, DbError> {
        let wanted = Receivers::default().wanted(tx.shared()).await?;
        let deleted = files::remove(tx, user_id, file_path).await?;
        if let Some(file) = &deleted {
            let event = event(file, EventKind::FileDeleted, self.clock.now());
            webhooks::enqueue(tx, &wanted, vec![event]).await?;
        }
        Ok(deleted)
    }

    /// Removes objects that were noted, and the notes, up to the first that cannot be removed.
    async fn remove_objects(&self, keys: &[String]) -> Result<(), FilesError> {
        let mut removed = Vec::new();
        let mut done = Ok(());
        for key in keys {
            done = self.objects.delete(key).await;
            if done.is_err() {
                break;
            }
            removed.push(key.clone());
        }
        Tx::run(&self.pool, async |tx| files::forget(tx, &removed).await).await?;
        Ok(done?)
    }

    fn receiving(&self) -> sync::MutexGuard<'_, BTreeSet<Uuid>> {
        self.receiving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own_link(&self, link: LinkUse, path: &str, file_id: Uuid) -> String {
        let FileSettings { links, public_url, .. } = &self.settings;
        let query = links.query(link, file_id, self.clock.now().saturating_add(seconds(LINK_VALID)));
        format!("{public_url}{path}/{file_id}?{query}")
    }

    /// Runs work on the runtime of the store: connections and buffers live there.
    async fn on_home<T: Send + 'static, E: Send + 'static + From<DbError>>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        let done = self.home.spawn(work).await;
        done.unwrap_or_else(|_| Err(DbError::Inconsistent("work on a file failed".to_owned()).into()))
    }
}

fn event(file: &File, kind: impl FnOnce(FileFacts) -> EventKind, at: time::OffsetDateTime) -> NewEvent {
    let facts = FileFacts { file_path: file.file_path.clone(), file_size: file.size_bytes };
    NewEvent { user_id: file.user_id.clone(), kind: kind(facts), at }
}

fn seconds(duration: Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files")
    }
}
