//! Objects: the bytes of files, in a folder of this machine or on S3.
//!
//! An object is written whole or not at all, and is durable when its writing has finished. Keys name neither users nor files. Every
//! call ends within a bounded time, and memory is bounded by [`Objects::buffer_bytes`].

mod buffer;
mod fault;
mod folder;
mod keys;
mod object;
mod s3;
mod settings;
mod writing;

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream::BoxStream};
use url::Url;
use uuid::Uuid;

pub use self::{
    fault::{FaultCause, StorageError, StorageFault},
    keys::{FINAL, SELF_TEST, UPLOADED, final_key, upload_key},
    object::{Object, SignedPut},
    settings::{S3Addressing, S3Keys, S3Settings, S3Timeouts, StorageSettings},
    writing::Writing,
};
use self::{folder::Folder, s3::S3, writing::Kind};

/// The storage.
#[derive(Debug, Clone)]
pub struct Objects {
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Folder(Folder),
    S3(Arc<S3>),
}

impl Objects {
    /// Opens a storage. A folder is made if it is missing; S3 is not contacted. May block for some milliseconds.
    ///
    /// # Errors
    /// A fault: the folder is a link, of another account or open to others; settings that make no URL.
    pub fn open(settings: &StorageSettings) -> Result<Self, StorageFault> {
        let place = match settings {
            StorageSettings::Folder(path) => Place::Folder(Folder::open(path)?),
            StorageSettings::S3(settings) => Place::S3(Arc::new(S3::open(settings)?)),
        };
        Ok(Self { place })
    }

    /// Writes, reads, lists and deletes a small object: whatever an upload, a download and the removal of rests need.
    ///
    /// # Errors
    /// A fault whose text names the variable to look at.
    pub async fn self_test(&self, id: Uuid) -> Result<(), StorageFault> {
        const CONTENT: &[u8] = b"written by the self-test of the user service";
        let key = format!("{SELF_TEST}/{id}");
        let tested: Result<Vec<u8>, StorageError> = async {
            let mut writing = self.write(&key, "text/plain").await?;
            writing.write(Bytes::from_static(CONTENT)).await?;
            writing.finish().await?;
            let content = self.read(&key, None).await?.try_collect::<Vec<_>>().await?.concat();
            self.check().await?;
            self.delete(&key).await?;
            Ok(content)
        }
        .await;
        match tested {
            Ok(content) if content == CONTENT => Ok(()),
            Err(StorageError::Fault(fault)) => Err(fault),
            Ok(_) | Err(StorageError::NotFound { .. }) => Err(self.broken()),
        }
    }

    /// Checks that the storage answers, with one short request. For readiness.
    ///
    /// # Errors
    /// A fault.
    pub async fn check(&self) -> Result<(), StorageFault> {
        match &self.place {
            Place::Folder(folder) => folder.check().await,
            Place::S3(s3) => s3.check().await,
        }
    }

    /// Begins to write an object. It appears when the writing finishes, in the place of an older one.
    ///
    /// # Errors
    /// A fault.
    pub async fn write(&self, key: &str, content_type: &'static str) -> Result<Writing, StorageError> {
        let kind = match &self.place {
            Place::Folder(folder) => Kind::Folder(folder.write(key).await?),
            Place::S3(s3) => Kind::S3(s3.write(key, content_type)?),
        };
        Ok(Writing::new(kind))
    }

    /// Most bytes that one [`Writing`] holds in memory, besides the piece that it is given.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        match &self.place {
            Place::Folder(_) => folder::WRITE_BYTES,
            Place::S3(_) => s3::PART_BYTES.saturating_mul(2),
        }
    }

    /// Reads an object, or a range of its bytes, which begins within it.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], or a fault; the stream ends with its first error.
    pub async fn read(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        match &self.place {
            Place::Folder(folder) => folder.read(key, range).await,
            Place::S3(s3) => s3.read(key, range).await,
        }
    }

    /// The size of an object in bytes; none if there is none.
    ///
    /// # Errors
    /// A fault.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        match &self.place {
            Place::Folder(folder) => folder.size(key).await,
            Place::S3(s3) => s3.size(key).await,
        }
    }

    /// Reads a range of an object into memory.
    ///
    /// # Errors
    /// As [`Objects::read`].
    pub async fn read_whole(&self, key: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let pieces: Vec<Bytes> = self.read(key, Some(range)).await?.try_collect().await?;
        Ok(pieces.concat().into())
    }

    /// Copies an object.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] if there is none under `from`; a fault.
    pub async fn copy(&self, from: &str, to: &str) -> Result<(), StorageError> {
        match &self.place {
            Place::Folder(folder) => folder.copy(from, to).await,
            Place::S3(s3) => s3.copy(from, to).await,
        }
    }

    /// Deletes an object; one that is absent is fine. The deletion in a folder may be lost if the machine crashes within seconds.
    ///
    /// # Errors
    /// A fault.
    pub async fn delete(&self, key: &str) -> Result<(), StorageError> {
        match &self.place {
            Place::Folder(folder) => folder.delete(key).await,
            Place::S3(s3) => s3.delete(key).await,
        }
    }

    /// Lists the objects whose key begins with `prefix` and a slash, in any order. In a folder also files of writings, running
    /// ones included: they are rests only if they have not changed for longer than an upload may take.
    ///
    /// Each item may be a fault, which ends the stream.
    #[must_use]
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<Object, StorageError>> {
        match &self.place {
            Place::Folder(folder) => folder.list(prefix),
            Place::S3(s3) => s3.list(prefix),
        }
    }

    /// A link to an object, with the type and disposition that the answer will have; none for a folder. It is not checked that
    /// the object exists.
    ///
    /// # Errors
    /// A fault: the credentials of the machine cannot be found.
    pub async fn signed_get(
        &self,
        key: &str,
        content_type: &str,
        disposition: &str,
        valid: Duration,
    ) -> Result<Option<Url>, StorageError> {
        match &self.place {
            Place::Folder(_) => Ok(None),
            Place::S3(s3) => s3.signed_get(key, content_type, disposition, valid).await.map(Some),
        }
    }

    /// A link that uploads an object of this type, size and digest and no other; none for a folder.
    ///
    /// # Errors
    /// As [`Self::signed_get`].
    pub async fn signed_put(
        &self,
        key: &str,
        content_type: &str,
        size: u64,
        sha256: Option<[u8; 32]>,
        valid: Duration,
    ) -> Result<Option<SignedPut>, StorageError> {
        match &self.place {
            Place::Folder(_) => Ok(None),
            Place::S3(s3) => s3.signed_put(key, content_type, size, sha256, valid).await.map(Some),
        }
    }

    /// The fault of a storage that does not return what was written.
    fn broken(&self) -> StorageFault {
        let variable = match &self.place {
            Place::Folder(_) => "DATA_DIR",
            Place::S3(_) => "S3_ENDPOINT",
        };
        StorageFault::new(FaultCause::Endpoint, variable, "returns other bytes than were written".to_owned())
    }
}
