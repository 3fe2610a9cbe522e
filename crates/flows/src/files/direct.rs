//! Direct uploads: a client sends the bytes to a signed link, and completes the upload afterwards.
//!
//! The link writes an object of its own. Completing copies it to a new object, and judges and serves the copy: nothing that a link
//! may still write is ever served.

use std::sync::Arc;

use files::{
    File, FileRefusal, Offer, ReservedAs, Sha256, content::Claim, final_key, links::LinkUse,
    objects::StorageError, upload_key,
};
use futures_util::StreamExt;
use kernel::UserId;
use pg::DbError;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Files, FilesError, LINK_VALID, Outcome, Shared, seconds,
    task::{Check, Checked},
};

/// A direct upload that is asked for.
#[derive(Debug, Clone)]
pub struct NewDirectUpload {
    /// The owner.
    pub user_id: UserId,
    /// The name that the client gave.
    pub filename: String,
    /// The type that the client declared.
    pub declared_type: String,
    /// Bytes.
    pub size: i64,
    /// The hash, if the client knows it.
    pub sha256: Option<Sha256>,
}

/// A direct upload that is offered.
#[derive(Debug, Clone)]
pub struct DirectUpload {
    /// Its id.
    pub upload_id: Uuid,
    /// Where to send the bytes by PUT.
    pub url: String,
    /// Headers that must come with them.
    pub headers: Vec<(&'static str, String)>,
    /// End of the offer.
    pub expires_at: OffsetDateTime,
}

impl Files {
    /// Offers a direct upload, and reserves its bytes for one hour.
    ///
    /// # Errors
    /// [`FilesError`].
    pub async fn offer(&self, new: &NewDirectUpload) -> Outcome<DirectUpload> {
        let limit = self.0.settings.limits.file_bytes;
        if new.size > limit {
            return Ok(Err(FileRefusal::TooLarge { limit }.into()));
        }
        let claim = match Claim::new(&new.filename, Some(&new.declared_type)) {
            Ok(claim) => claim,
            Err(unsupported) => return Ok(Err(FileRefusal::from(unsupported).into())),
        };
        let declared_type = claim.file_type().content_type().to_owned();
        let bytes = ReservedAs::Offered { size: new.size, declared_type, sha256: new.sha256 };
        let row = match self.0.reserve(&new.user_id, &new.filename, bytes).await? {
            Ok((row, _)) => row,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let size = u64::try_from(new.size).unwrap_or_default();
        let (key, content_type) = (upload_key(row.file_id), claim.file_type().content_type());
        let sha256 = new.sha256.map(|hash| hash.0);
        let signed = match self.0.objects.signed_put(&key, content_type, size, sha256, LINK_VALID).await {
            Ok(signed) => signed,
            Err(error) => {
                self.0.give_up(&row.user_id, row.file_id, row.file_id).await;
                return Err(error.into());
            }
        };
        let (url, headers) = match signed {
            Some(signed) => (signed.url.to_string(), signed.headers),
            None => (self.0.own_link(LinkUse::Upload, "/files/uploads", row.file_id), Vec::new()),
        };
        let expires_at = self.0.clock.now().saturating_add(seconds(LINK_VALID));
        Ok(Ok(DirectUpload { upload_id: row.file_id, url, headers, expires_at }))
    }

    /// Completes a direct upload: what was uploaded is judged as every file is. A repeat returns the same file.
    ///
    /// Refused as [`FileRefusal::UploadNotFound`], [`FileRefusal::UploadIncomplete`] and [`FileRefusal::Unsupported`]; after the last
    /// two the upload is over, unless nothing was uploaded yet.
    ///
    /// # Errors
    /// [`FilesError`].
    pub async fn complete(&self, user_id: &UserId, upload_id: Uuid) -> Outcome<File> {
        let (shared, user_id) = (Arc::clone(&self.0), user_id.clone());
        self.0.on_home(async move { shared.complete_once(&user_id, upload_id).await }).await
    }
}

impl Shared {
    /// Takes a turn first, so that most who complete the same upload find it complete.
    async fn complete_once(&self, user_id: &UserId, upload_id: Uuid) -> Outcome<File> {
        let _turn = self.completions.acquire().await;
        // In this order: it becomes ready, and never goes back.
        let found = self.pool.read(async |conn| {
            let offer = files::offer(conn, upload_id).await?;
            Ok::<_, DbError>((files::find(conn, upload_id).await?, offer))
        });
        let (file, offer) = found.await?;
        if let Some(file) = file.filter(|file| file.user_id == *user_id) {
            return Ok(Ok(file));
        }
        let is_valid = |offer: &Offer| offer.user_id == *user_id && offer.expires_at > self.clock.now();
        match offer.filter(is_valid) {
            Some(offer) => self.complete(&offer).await,
            None => Ok(Err(FileRefusal::UploadNotFound.into())),
        }
    }

    async fn complete(&self, offer: &Offer) -> Outcome<File> {
        let (user_id, file_id, object_id) = (&offer.user_id, offer.file_id, self.ids.uuid());
        // Some stores do not hold a client to the size that was signed.
        let size = self.objects.size(&upload_key(file_id)).await?;
        if size.is_some_and(|size| i64::try_from(size) != Ok(offer.size_bytes)) {
            self.give_up(user_id, file_id, object_id).await;
            return Ok(Err(FileRefusal::UploadIncomplete.into()));
        }
        match self.objects.copy(&upload_key(file_id), &final_key(object_id)).await {
            Ok(()) => {}
            Err(StorageError::NotFound { .. }) => return Ok(Err(FileRefusal::UploadIncomplete.into())),
            Err(error) => return Err(error.into()),
        }
        let done = match self.check(offer, &final_key(object_id)).await {
            Ok(Ok(checked)) => self.publish(user_id, file_id, object_id, checked).await,
            Ok(Err(refusal)) => Ok(Err(refusal.into())),
            Err(error) => Err(error.into()),
        };
        match &done {
            Ok(Ok(Some(file))) if file.object_id == object_id => {}
            // It may be ready.
            Err(FilesError::Database(DbError::OutcomeUnknown(_))) => {}
            // Another request was first, or the store failed: the offer stays as it is.
            Ok(Ok(Some(_))) | Err(_) => self.objects.delete(&final_key(object_id)).await?,
            Ok(Ok(None) | Err(_)) => self.give_up(user_id, file_id, object_id).await,
        }
        Ok(done?.and_then(|file| file.ok_or_else(|| FileRefusal::UploadNotFound.into())))
    }

    /// Reads an object that was uploaded to its end.
    async fn check(&self, offer: &Offer, key: &str) -> Result<Result<Checked, FileRefusal>, StorageError> {
        let claim = match Claim::new(&offer.filename, offer.declared_type.as_deref()) {
            Ok(claim) => claim,
            Err(unsupported) => return Ok(Err(unsupported.into())),
        };
        let mut check = Check::new(Some(claim), (offer.size_bytes, FileRefusal::UploadIncomplete));
        let mut bytes = self.objects.read(key, None).await?;
        while let Some(piece) = bytes.next().await {
            if let Err(refusal) = check.feed(&piece?) {
                return Ok(Err(refusal));
            }
        }
        let checked = check.finish();
        let is_offered = |checked: &Checked| {
            checked.size == offer.size_bytes && offer.sha256.is_none_or(|sha256| sha256 == checked.sha256)
        };
        Ok(checked.and_then(|checked| {
            if is_offered(&checked) { Ok(checked) } else { Err(FileRefusal::UploadIncomplete) }
        }))
    }
}
