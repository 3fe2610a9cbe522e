//! The task that stores the bytes of one object: it counts, hashes and judges them as they come.

use std::ops::ControlFlow;

use bytes::Bytes;
use files::{
    FileRefusal, FileType, Published, Sha256,
    content::{Claim, Judge, Judged, Unsupported},
    final_key,
    objects::{Objects, StorageError},
};
use sha2::Digest;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Pieces that wait for the store.
const QUEUE: usize = 4;
/// Largest piece, in bytes.
pub(super) const PIECE_BYTES: usize = 64 * 1024;
/// Most bytes that wait for the store.
pub(super) const QUEUE_BYTES: usize = QUEUE * PIECE_BYTES;

/// A piece of a body, or its end. A queue that closes without an end is a body that broke off.
pub(super) enum Piece {
    Bytes(Bytes),
    End,
}

/// The way into a task.
pub(super) type Pieces = mpsc::Sender<Piece>;

pub(super) fn queue() -> (Pieces, mpsc::Receiver<Piece>) {
    mpsc::channel(QUEUE)
}

/// Counts, hashes and judges bytes.
pub(super) struct Check {
    judge: Option<Judge>,
    hash: sha2::Sha256,
    size: i64,
    /// Most bytes, and the refusal of more.
    limit: (i64, FileRefusal),
}

/// Facts about bytes that were checked to their end.
pub(super) struct Checked {
    pub(super) size: i64,
    pub(super) sha256: Sha256,
    judged: Option<Judged>,
}

impl Check {
    /// A check by a claim; without one only size and hash are found.
    pub(super) fn new(claim: Option<Claim>, limit: (i64, FileRefusal)) -> Self {
        Self { judge: claim.map(Judge::new), hash: sha2::Sha256::new(), size: 0, limit }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), FileRefusal> {
        self.size = i64::try_from(bytes.len()).map_or(i64::MAX, |more| self.size.saturating_add(more));
        let (most, refusal) = &self.limit;
        if self.size > *most {
            return Err(refusal.clone());
        }
        self.hash.update(bytes);
        self.judge.as_mut().map_or(Ok(()), |judge| judge.feed(bytes))?;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Checked, FileRefusal> {
        let judged = self.judge.map(Judge::finish).transpose()?;
        Ok(Checked { size: self.size, sha256: Sha256(self.hash.finalize().into()), judged })
    }
}

impl Checked {
    /// The type of a stored object; a zip is judged by its directory, which is at its end.
    pub(super) async fn publish(
        self,
        objects: &Objects,
        object_id: Uuid,
    ) -> Result<Result<Published, FileRefusal>, StorageError> {
        let file_type: Result<FileType, Unsupported> = match self.judged {
            Some(Judged::Final(file_type)) => Ok(file_type),
            Some(Judged::Directory(directory)) => {
                let size = u64::try_from(self.size).unwrap_or(u64::MAX);
                let key = final_key(object_id);
                directory.judge(size, |range| objects.read_whole(&key, range)).await?
            }
            None => return Ok(Err(FileRefusal::UploadIncomplete)),
        };
        let published = file_type.map(|file_type| Published {
            object_id,
            file_type,
            size_bytes: self.size,
            sha256: self.sha256,
        });
        Ok(published.map_err(FileRefusal::from))
    }
}

/// Stores what comes, and returns the facts; `None` if the body broke off. Whatever is not whole is removed again.
pub(super) async fn store(
    objects: &Objects,
    key: &str,
    content_type: &'static str,
    mut pieces: mpsc::Receiver<Piece>,
    mut check: Check,
) -> Result<Option<Result<Checked, FileRefusal>>, StorageError> {
    let mut writing = objects.write(key, content_type).await?;
    let ended = loop {
        let step = match pieces.recv().await {
            Some(Piece::Bytes(bytes)) => match check.feed(&bytes) {
                Ok(()) => match writing.write(bytes).await {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => ControlFlow::Break(Err(error)),
                },
                Err(refusal) => ControlFlow::Break(Ok(Some(Err(refusal)))),
            },
            Some(Piece::End) => ControlFlow::Break(Ok(Some(Ok(())))),
            None => ControlFlow::Break(Ok(None)),
        };
        if let ControlFlow::Break(ended) = step {
            break ended;
        }
    };
    let checked = match ended {
        Ok(Some(Ok(()))) => check.finish(),
        Ok(Some(Err(refusal))) => Err(refusal),
        Ok(None) => {
            writing.abort().await;
            return Ok(None);
        }
        Err(error) => {
            writing.abort().await;
            return Err(error);
        }
    };
    match checked {
        Ok(checked) => writing.finish().await.map(|()| Some(Ok(checked))),
        Err(refusal) => {
            writing.abort().await;
            Ok(Some(Err(refusal)))
        }
    }
}

/// Splits a piece that is larger than the queue counts with.
pub(super) fn split(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let length = bytes.len().min(PIECE_BYTES);
        let piece = bytes.split_to(length);
        (!piece.is_empty()).then_some(piece)
    })
}
