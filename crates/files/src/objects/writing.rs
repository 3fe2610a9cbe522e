//! An object that is being written.

use bytes::Bytes;

use super::{fault::StorageError, folder::FolderWriting, s3::S3Writing};

/// An object that is being written. It appears when [`Writing::finish`] returns; dropping leaves nothing, as well as possible.
#[derive(Debug)]
pub struct Writing {
    kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Folder(FolderWriting),
    S3(S3Writing),
}

impl Writing {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind }
    }

    /// Appends bytes, and waits while the storage is slower than the caller.
    ///
    /// # Errors
    /// A fault, also of an earlier piece. The writing is then of no use any more.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StorageError> {
        match &mut self.kind {
            Kind::Folder(writing) => writing.write(bytes).await,
            Kind::S3(writing) => writing.write(bytes).await,
        }
    }

    /// Makes the object durable and visible.
    ///
    /// # Errors
    /// A fault. After one the object may exist or not, if the answer of the storage was lost.
    pub async fn finish(self) -> Result<(), StorageError> {
        match self.kind {
            Kind::Folder(writing) => writing.finish().await,
            Kind::S3(writing) => writing.finish().await,
        }
    }

    /// Removes what was written, and waits until it is gone. A failure is logged; the caller deletes the object later anyway.
    pub async fn abort(self) {
        match self.kind {
            Kind::Folder(writing) => writing.abort().await,
            Kind::S3(writing) => writing.abort().await,
        }
    }
}
