//! An upload through this process.

use std::sync::Arc;

use bytes::Bytes;
use files::{
    File, FileLimits, FileRefusal, NewFile, Offer, Published, ReservedAs,
    content::Claim,
    final_key,
    names::{display_name, file_path},
    upload_key,
};
use kernel::UserId;
use pg::{Attempts, DbError, Tx};
use tokio::{task::JoinHandle, time::timeout};
use uuid::Uuid;
use webhooks::{EventKind, Receivers};

use super::{
    Files, FilesError, FilesRefusal, LINK_VALID, Outcome, REMOVAL_MAX, Shared, event, seconds,
    task::{self, Check, Checked, Piece, Pieces},
};

/// A file that is to be uploaded.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// The owner.
    pub user_id: UserId,
    /// The name that the client gave.
    pub filename: String,
    /// The type that the client declared.
    pub declared_type: Option<String>,
    /// Most bytes that can come, where the request says it.
    pub bytes_max: Option<u64>,
}

/// An upload that runs. Dropped before its end, it removes what it stored.
#[derive(Debug)]
pub struct Upload<T> {
    pieces: Pieces,
    task: JoinHandle<Outcome<Option<T>>>,
}

impl Files {
    /// Begins an upload: name and declared type are judged, and bytes reserved.
    ///
    /// # Errors
    /// [`FilesError`].
    pub async fn upload(&self, new: NewUpload) -> Outcome<Upload<File>> {
        // In a task: a request that goes away meanwhile leaves no reservation.
        let files = self.clone();
        self.0.on_home(async move { files.begin(&new).await }).await
    }

    async fn begin(&self, new: &NewUpload) -> Outcome<Upload<File>> {
        let claim = match Claim::new(&new.filename, new.declared_type.as_deref()) {
            Ok(claim) => claim,
            Err(unsupported) => return Ok(Err(FileRefusal::from(unsupported).into())),
        };
        let FileLimits { file_bytes: limit, user_bytes, .. } = self.0.settings.limits;
        let most =
            new.bytes_max.and_then(|bytes| i64::try_from(bytes).ok()).map_or(limit, |bytes| bytes.min(limit));
        let reserved = self.0.reserve(&new.user_id, &new.filename, ReservedAs::AtMost(most)).await?;
        let (row, reserved) = match reserved {
            Ok(reserved) => reserved,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let refusal = if reserved < most {
            // It is all that was left.
            let used = user_bytes.saturating_sub(reserved);
            FileRefusal::QuotaExceeded { unit: "bytes", used, limit: user_bytes, requested: most }
        } else {
            FileRefusal::TooLarge { limit }
        };
        let content_type = claim.file_type().content_type();
        let check = Check::new(Some(claim), (reserved, refusal));
        Ok(Ok(self.run(check, content_type, row)))
    }

    /// Receives the bytes of a direct upload into the local folder. They are judged when it is completed.
    ///
    /// # Errors
    /// [`FileRefusal::UploadIncomplete`] while another request sends them.
    pub fn receive(&self, offer: &Offer) -> Result<Upload<()>, FileRefusal> {
        let Some(only) = Receiving::begin(&self.0, offer.file_id) else {
            return Err(FileRefusal::UploadIncomplete);
        };
        let limit = (offer.size_bytes, FileRefusal::TooLarge { limit: offer.size_bytes });
        let (shared, key, size) = (Arc::clone(&self.0), upload_key(offer.file_id), offer.size_bytes);
        let (pieces, queue) = task::queue();
        let task = self.0.home.spawn(async move {
            let check = Check::new(None, limit);
            let stored = task::store(&shared.objects, &key, "application/octet-stream", queue, check).await;
            drop(only);
            Ok(match stored? {
                None => Ok(None),
                Some(Ok(checked)) if checked.size == size => Ok(Some(())),
                Some(Ok(_)) => {
                    shared.objects.delete(&key).await?;
                    Err(FileRefusal::UploadIncomplete.into())
                }
                Some(Err(refusal)) => Err(refusal.into()),
            })
        });
        Ok(Upload { pieces, task })
    }

    fn run(&self, check: Check, content_type: &'static str, row: NewFile) -> Upload<File> {
        let (pieces, queue) = task::queue();
        let shared = Arc::clone(&self.0);
        let task = self.0.home.spawn(async move {
            let NewFile { user_id, file_id, .. } = row;
            let key = final_key(file_id);
            let stored = task::store(&shared.objects, &key, content_type, queue, check).await;
            let done = match stored {
                Ok(Some(Ok(checked))) => shared.publish(&user_id, file_id, file_id, checked).await,
                Ok(Some(Err(refusal))) => Ok(Err(refusal.into())),
                Ok(None) => Ok(Ok(None)),
                Err(error) => Err(error.into()),
            };
            match &done {
                Ok(Ok(Some(_))) => {}
                // It may be ready; if not, its row ends in an hour.
                Err(FilesError::Database(DbError::OutcomeUnknown(_))) => {}
                _ => shared.give_up(&user_id, file_id, file_id).await,
            }
            done
        });
        Upload { pieces, task }
    }
}

/// The mark of a direct upload whose bytes are being received, taken back when this is dropped.
struct Receiving(Arc<Shared>, Uuid);

impl Receiving {
    /// Marks an upload; `None` if it is marked already.
    fn begin(shared: &Arc<Shared>, file_id: Uuid) -> Option<Self> {
        shared.receiving().insert(file_id).then(|| Self(Arc::clone(shared), file_id))
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.receiving().remove(&self.1);
    }
}

impl<T> Upload<T> {
    /// Takes the next bytes; false if no more are wanted: [`Upload::finish`] has the reason.
    pub async fn write(&mut self, bytes: Bytes) -> bool {
        for piece in task::split(bytes) {
            if self.pieces.send(Piece::Bytes(piece)).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Ends the upload after its last byte.
    ///
    /// # Errors
    /// [`FilesError`].
    pub async fn finish(self) -> Outcome<T> {
        let sent = self.pieces.send(Piece::End).await;
        drop((sent, self.pieces));
        let done = self.task.await;
        let done = done.unwrap_or_else(|_| Err(DbError::Inconsistent("an upload failed".to_owned()).into()));
        match done? {
            Ok(Some(done)) => Ok(Ok(done)),
            Ok(None) => Err(DbError::Inconsistent("an upload ended without its end".to_owned()).into()),
            Err(refusal) => Ok(Err(refusal)),
        }
    }
}

impl Shared {
    /// Adds the row of a file that is to come.
    pub(super) async fn reserve(
        &self,
        user_id: &UserId,
        filename: &str,
        bytes: ReservedAs,
    ) -> Result<Result<(NewFile, i64), FilesRefusal>, FilesError> {
        let mut attempts = Attempts::up_to(3);
        loop {
            let file_id = self.ids.uuid();
            let at = self.clock.now();
            let (high, _) = self.ids.uuid().as_u64_pair();
            let random = u32::try_from(high >> 32).unwrap_or_default();
            let new = NewFile {
                user_id: user_id.clone(),
                file_id,
                file_path: file_path(user_id, filename, at, random),
                filename: display_name(filename),
                bytes: bytes.clone(),
                valid: seconds(LINK_VALID),
            };
            let reserved = Tx::decide(&self.pool, async |tx| {
                if !identity::users::hold(tx.conn(), user_id).await? {
                    return Ok(Err(FilesRefusal::NoUser(user_id.clone())));
                }
                let reserved = files::reserve(tx, &*self.clock, &self.settings.limits, &new).await?;
                Ok(reserved.map_err(FilesRefusal::from))
            });
            match reserved.await {
                Err(error) if attempts.again(&error).await => {}
                result => return Ok(result?.map(|bytes| (new, bytes))),
            }
        }
    }

    /// Makes a stored file ready, with its event; `None` if its row is gone.
    pub(super) async fn publish(
        &self,
        user_id: &UserId,
        file_id: Uuid,
        object_id: Uuid,
        checked: Checked,
    ) -> Outcome<Option<File>> {
        let published = match checked.publish(&self.objects, object_id).await? {
            Ok(published) => published,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        let mut attempts = Attempts::up_to(3);
        let file = loop {
            let work = async |tx: &mut Tx| self.publish_in(tx, user_id, file_id, published).await;
            match Tx::decide(&self.pool, work).await {
                Err(error) if attempts.again(&error).await => {}
                result => break result?,
            }
        };
        // Another request may have been first to complete it.
        if matches!(&file, Ok(Some(file)) if file.object_id == object_id) {
            metrics::counter!("files_bytes_total", "direction" => "in")
                .increment(u64::try_from(published.size_bytes).unwrap_or_default());
        }
        Ok(file)
    }

    async fn publish_in(
        &self,
        tx: &mut Tx,
        user_id: &UserId,
        file_id: Uuid,
        published: Published,
    ) -> Result<Result<Option<File>, FilesRefusal>, DbError> {
        let wanted = Receivers::default().wanted(tx.shared()).await?;
        if !identity::users::hold(tx.conn(), user_id).await? {
            return Ok(Err(FilesRefusal::NoUser(user_id.clone())));
        }
        let Some((file, is_new)) = files::publish(tx, &*self.clock, user_id, file_id, published).await?
        else {
            return Ok(Ok(None));
        };
        if is_new {
            let event = event(&file, EventKind::FileUploaded, file.uploaded_at);
            webhooks::enqueue(tx, &wanted, vec![event]).await?;
        }
        Ok(Ok(Some(file)))
    }

    /// Removes the row and an object of a file that did not become ready. What fails here is done by the jobs.
    pub(super) async fn give_up(&self, user_id: &UserId, file_id: Uuid, object_id: Uuid) {
        let given_up = async {
            Tx::run(&self.pool, async |tx| files::give_up(tx, user_id, file_id).await).await?;
            self.remove_objects(&[final_key(object_id)]).await
        };
        match timeout(REMOVAL_MAX, given_up).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %pg::pool::chain(&error), "an upload that failed is still to be removed");
            }
            Err(_elapsed) => tracing::warn!("an upload that failed is still to be removed"),
        }
    }
}
