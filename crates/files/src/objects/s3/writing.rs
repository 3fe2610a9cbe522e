//! Writing an object of unknown size: one request if it is small, else parts.

use std::{fmt, mem, time::Duration};

use bytes::Bytes;
use object_store::{
    Attribute, Attributes, MultipartUpload, ObjectStore as _, PutMultipartOptions, PutOptions, PutPayload,
    aws::AmazonS3, path::Path,
};
use tokio::{runtime::Handle, task::JoinHandle};

use super::limit::limited;
use crate::objects::{
    buffer::Buffer,
    fault::{Described, StorageError},
};

/// Bytes of a part: the least that S3 allows, and the same for all, as some stores want it.
pub(in crate::objects) const PART_BYTES: usize = 5 * 1024 * 1024;

const DOING: &str = "write objects";

/// An object that is being written. One part is on its way while the next one is filled.
pub(in crate::objects) struct S3Writing {
    store: AmazonS3,
    path: Path,
    content_type: &'static str,
    call: Call,
    buffer: Buffer,
    parts: Parts,
}

/// The parts that every call needs.
#[derive(Debug, Clone)]
struct Call {
    described: Described,
    time: Duration,
}

/// Parts in the store.
#[derive(Default)]
struct Parts {
    upload: Option<Box<dyn MultipartUpload>>,
    on_its_way: Option<JoinHandle<Result<(), StorageError>>>,
}

impl S3Writing {
    pub(super) fn new(
        store: AmazonS3,
        path: Path,
        content_type: &'static str,
        described: Described,
        time: Duration,
    ) -> Self {
        let (call, buffer) = (Call { described, time }, Buffer::new(PART_BYTES));
        Self { store, path, content_type, call, buffer, parts: Parts::default() }
    }

    pub(in crate::objects) async fn write(&mut self, mut bytes: Bytes) -> Result<(), StorageError> {
        while !bytes.is_empty() {
            if let Some(part) = self.buffer.fill(&mut bytes) {
                self.send(part).await?;
            }
        }
        Ok(())
    }

    pub(in crate::objects) async fn finish(mut self) -> Result<(), StorageError> {
        let rest = self.buffer.rest();
        if self.parts.upload.is_none() {
            let options = PutOptions { attributes: self.attributes(), ..PutOptions::default() };
            let put = self.store.put_opts(&self.path, PutPayload::from(rest), options);
            return self.call.run(put).await.map(drop);
        }
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        self.parts.arrived().await?;
        if let Some(upload) = &mut self.parts.upload {
            self.call.run(upload.complete()).await?;
            self.parts.upload = None;
        }
        Ok(())
    }

    pub(in crate::objects) async fn abort(mut self) {
        mem::take(&mut self.parts).discard(self.call.time).await;
    }

    /// Sends a part when the one before it has arrived.
    async fn send(&mut self, part: Bytes) -> Result<(), StorageError> {
        self.parts.arrived().await?;
        if self.parts.upload.is_none() {
            let options =
                PutMultipartOptions { attributes: self.attributes(), ..PutMultipartOptions::default() };
            let started = self.call.run(self.store.put_multipart_opts(&self.path, options)).await?;
            self.parts.upload = Some(started);
        }
        if let Some(upload) = &mut self.parts.upload {
            let (call, sent) = (self.call.clone(), upload.put_part(PutPayload::from(part)));
            self.parts.on_its_way = Some(tokio::spawn(async move { call.run(sent).await }));
        }
        Ok(())
    }

    fn attributes(&self) -> Attributes {
        Attributes::from_iter([(Attribute::ContentType, self.content_type)])
    }
}

impl Call {
    async fn run<T>(&self, call: impl Future<Output = object_store::Result<T>>) -> Result<T, StorageError> {
        limited(self.time, &self.described, DOING, "", call).await
    }
}

impl Parts {
    /// Waits for the part on its way.
    async fn arrived(&mut self) -> Result<(), StorageError> {
        let Some(sent) = &mut self.on_its_way else { return Ok(()) };
        let sent = sent.await;
        self.on_its_way = None;
        // A part that panicked or was stopped did not arrive, which the store notices when the object is completed.
        sent.unwrap_or(Ok(()))
    }

    /// Frees what the store keeps. A part on its way would be kept by some stores, so it ends first.
    async fn discard(mut self, time: Duration) {
        if let Some(sent) = self.on_its_way.take() {
            sent.abort();
            // Its outcome does not matter any more.
            drop(sent.await);
        }
        if let Some(mut upload) = self.upload.take() {
            let aborted = tokio::time::timeout(time, upload.abort()).await;
            if !matches!(aborted, Ok(Ok(()))) {
                tracing::warn!(
                    "parts of an upload remain in the store until its lifecycle rule removes them"
                );
            }
        }
    }
}

impl fmt::Debug for S3Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Writing").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for S3Writing {
    fn drop(&mut self) {
        let parts = mem::take(&mut self.parts);
        if (parts.upload.is_some() || parts.on_its_way.is_some())
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(parts.discard(self.call.time));
        }
    }
}
