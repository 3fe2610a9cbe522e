//! Objects in a folder of this machine, which no other account can enter.

use std::{
    fs::{self, DirBuilder, File, Metadata, Permissions},
    io::{self, ErrorKind},
    ops::Range,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use nix::unistd::{AccessFlags, access, geteuid};
use object_store::{
    GetOptions, GetRange, GetResultPayload, MultipartUpload, ObjectStore as _, ObjectStoreExt as _,
    PutPayload, local::LocalFileSystem,
};
use time::OffsetDateTime;

use super::{
    buffer::Buffer,
    fault::{FaultCause, StorageError, StorageFault, causes},
    keys::{FINAL, SELF_TEST, UPLOADED, key_path},
    object::Object,
};

/// Bytes that are written at once.
pub(super) const WRITE_BYTES: usize = 256 * 1024;
/// Bytes that are read at once.
const READ_BYTES: usize = 128 * 1024;

/// Only the account of this process may enter, list and change.
const MODE_FOLDER: u32 = 0o700;
/// Only the account of this process may read and write.
const MODE_OBJECT: u32 = 0o600;
/// Longest time of a step. A disk that is busy may take long to flush a file.
const TIME_MAX: Duration = Duration::from_mins(2);
/// Folders above, as those of the private database: other accounts may pass through them, not list them.
const MODE_ABOVE: u32 = 0o711;

/// The folder of the objects.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: Arc<Path>,
    store: LocalFileSystem,
}

impl Folder {
    /// Opens the folder, which is made if it is missing.
    ///
    /// # Errors
    /// A fault if it is a link, belongs to another account, lets other accounts in, or is inside of a database of PostgreSQL.
    pub(super) fn open(path: &Path) -> Result<Self, StorageFault> {
        let fault = |doing: &str, at: &Path| {
            let doing = format!("{doing} {}", at.display());
            move |error: io::Error| StorageFault::of_folder(&doing, &error)
        };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let mut above = DirBuilder::new();
            above.recursive(true).mode(MODE_ABOVE).create(parent).map_err(fault("make", parent))?;
            // PostgreSQL refuses to start with folders that it does not know, and its backups would contain this one.
            if parent.join("PG_VERSION").exists() {
                return Err(refused(
                    parent,
                    "is the data directory of a PostgreSQL server, which is for its own files",
                ));
            }
        }
        match DirBuilder::new().mode(MODE_FOLDER).create(path) {
            Ok(()) => sync_parent(path).map_err(fault("flush", path))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(fault("make", path)(error)),
        }
        let found = fs::symlink_metadata(path).map_err(fault("examine", path))?;
        check_private(path, &found)?;
        let root = path.canonicalize().map_err(fault("resolve", path))?;
        make_shelves(&root).map_err(fault("make folders in", &root))?;
        let store = LocalFileSystem::new_with_prefix(&root).map_err(|error| library_fault("open", &error))?;
        Ok(Self { root: root.into(), store: store.with_fsync(true) })
    }

    /// Checks that the folder is still there and writable.
    pub(super) async fn check(&self) -> Result<(), StorageFault> {
        let root = Arc::clone(&self.root);
        blocking("use the folder of the files", move || {
            access(&*root, AccessFlags::W_OK | AccessFlags::X_OK)?;
            fs::symlink_metadata(root.join(FINAL)).map(drop)
        })
        .await
    }

    pub(super) async fn write(&self, key: &str) -> Result<FolderWriting, StorageError> {
        let path = key_path(key)?;
        let target = self.store.path_to_filesystem(&path).map_err(|error| library_fault("write", &error))?;
        let store = self.store.clone();
        // The library opens files on the thread that asks.
        let runtime = tokio::runtime::Handle::current();
        let opened = tokio::task::spawn_blocking(move || runtime.block_on(store.put_multipart(&path)));
        let opened = in_time("write", opened).await?;
        let opened = opened.map_err(|_| cancelled("write"))?;
        let upload = opened.map_err(|error| library_fault("write", &error))?;
        Ok(FolderWriting { upload, buffer: Buffer::new(WRITE_BYTES), target })
    }

    pub(super) async fn read(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        let options = GetOptions::new().with_range(range.map(GetRange::from));
        let path = key_path(key)?;
        let found = in_time("read", self.store.get_opts(&path, options)).await?;
        let found = found.map_err(|error| library_error("read", key, &error))?;
        let range = found.range.clone();
        match found.payload {
            GetResultPayload::File(file, _) => Ok(read_in_pieces(file, range)),
            GetResultPayload::Stream(pieces) => {
                Ok(pieces.map_err(|error| library_fault("read", &error).into()).boxed())
            }
        }
    }

    pub(super) async fn size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        let path = key_path(key)?;
        match in_time("find", self.store.head(&path)).await? {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(library_fault("find", &error).into()),
        }
    }

    pub(super) async fn copy(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let (source, target) = (key_path(from)?, key_path(to)?);
        let copied = in_time("copy", self.store.copy(&source, &target)).await?;
        copied.map_err(|error| library_error("copy", from, &error))
    }

    /// Deletes an object with what killed writings of it left, or such a rest, which the library would not.
    pub(super) async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let path = self.root.join(key_path(key)?.as_ref());
        blocking("delete", move || {
            absent_is_fine(fs::remove_file(&path))?;
            // The library numbers those of uploads from 1, and those of copies from 0.
            let rest = |number: u32| {
                let mut rest = path.clone().into_os_string();
                rest.push(format!("#{number}"));
                rest
            };
            let mut number = 0;
            while absent_is_fine(fs::remove_file(rest(number)))?.is_some() || number == 0 {
                number = number.saturating_add(1);
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Lists folder by folder: the memory is that of one of them.
    pub(super) fn list(&self, prefix: &str) -> BoxStream<'static, Result<Object, StorageError>> {
        let root = Arc::clone(&self.root);
        let first = match key_path(prefix) {
            Ok(path) => root.join(path.as_ref()),
            Err(error) => return stream::iter([Err(error.into())]).boxed(),
        };
        let batches = stream::try_unfold(vec![first], move |mut folders| {
            let root = Arc::clone(&root);
            async move {
                let Some(folder) = folders.pop() else { return Ok(None) };
                let (objects, below) = blocking("list", move || entries(&root, &folder)).await?;
                folders.extend(below);
                Ok::<_, StorageError>(Some((stream::iter(objects).map(Ok), folders)))
            }
        });
        batches.try_flatten().boxed()
    }
}

/// An object that is being written beside its place.
#[derive(Debug)]
pub(super) struct FolderWriting {
    upload: Box<dyn MultipartUpload>,
    buffer: Buffer,
    target: PathBuf,
}

impl FolderWriting {
    pub(super) async fn write(&mut self, mut bytes: Bytes) -> Result<(), StorageError> {
        while !bytes.is_empty() {
            if let Some(part) = self.buffer.fill(&mut bytes) {
                self.append(part).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<(), StorageError> {
        let rest = self.buffer.rest();
        self.append(rest).await?;
        let completed = in_time("write", self.upload.complete()).await?;
        completed.map_err(|error| library_fault("write", &error))?;
        // The library leaves the mode to the umask. Until here the folder alone keeps others out.
        blocking("protect", move || fs::set_permissions(self.target, Permissions::from_mode(MODE_OBJECT)))
            .await?;
        Ok(())
    }

    pub(super) async fn abort(mut self) {
        let aborted = in_time("delete", self.upload.abort()).await;
        let aborted = aborted.and_then(|done| done.map_err(|error| library_fault("delete", &error)));
        if let Err(fault) = aborted {
            tracing::warn!("the rest of an upload remains: {fault}");
        }
    }

    async fn append(&mut self, part: Bytes) -> Result<(), StorageError> {
        let written = in_time("write", self.upload.put_part(PutPayload::from(part))).await?;
        written.map_err(|error| library_fault("write", &error).into())
    }
}

fn check_private(path: &Path, found: &Metadata) -> Result<(), StorageFault> {
    if !found.is_dir() {
        return Err(refused(path, "is no folder, and no symbolic link is followed here"));
    }
    let account = geteuid().as_raw();
    if found.uid() != account {
        let sentence = format!("belongs to uid {}, and this process is uid {account}: chown it", found.uid());
        return Err(refused(path, &sentence));
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let sentence = format!("lets other accounts in (mode {mode:04o}): chmod 700 it");
        return Err(refused(path, &sentence));
    }
    Ok(())
}

/// Makes the folders of all keys, so that none has to be made and flushed during an upload.
fn make_shelves(root: &Path) -> io::Result<()> {
    let mut is_changed = false;
    let mut make = |path: &Path| match DirBuilder::new().mode(MODE_FOLDER).create(path) {
        Ok(()) => {
            is_changed = true;
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    };
    for name in [FINAL, UPLOADED] {
        make(&root.join(name))?;
        for shelf in 0..=u8::MAX {
            make(&root.join(name).join(format!("{shelf:02x}")))?;
        }
    }
    make(&root.join(SELF_TEST))?;
    if is_changed {
        for path in [&root.join(FINAL), &root.join(UPLOADED), root] {
            File::open(path)?.sync_all()?;
        }
    }
    Ok(())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Reads with few calls; the library would read 8 KiB at once.
fn read_in_pieces(file: File, range: Range<u64>) -> BoxStream<'static, Result<Bytes, StorageError>> {
    let file = Arc::new(file);
    let pieces = stream::try_unfold(range, move |range| {
        let file = Arc::clone(&file);
        async move {
            let left = range.end.saturating_sub(range.start);
            if left == 0 {
                return Ok(None);
            }
            let size = usize::try_from(left).map_or(READ_BYTES, |left| left.min(READ_BYTES));
            let piece = blocking("read", move || {
                let mut piece = vec![0; size];
                file.read_exact_at(&mut piece, range.start)?;
                Ok(piece)
            });
            let piece = Bytes::from(piece.await?);
            let next = range.start.saturating_add(u64::try_from(piece.len()).unwrap_or(left));
            Ok(Some((piece, next..range.end)))
        }
    });
    pieces.boxed()
}

/// The files in a folder, and the folders in it. Links are neither.
fn entries(root: &Path, folder: &Path) -> io::Result<(Vec<Object>, Vec<PathBuf>)> {
    let (mut objects, mut folders) = (Vec::new(), Vec::new());
    let Some(found) = absent_is_fine(fs::read_dir(folder))? else {
        return Ok((objects, folders));
    };
    for entry in found {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            folders.push(path);
        } else if kind.is_file() {
            // It may have been deleted meanwhile.
            let Some(found) = absent_is_fine(entry.metadata())? else { continue };
            let key = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            objects.push(Object { key, modified: OffsetDateTime::from(found.modified()?) });
        }
    }
    Ok((objects, folders))
}

fn absent_is_fine<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StorageFault> {
    match in_time(doing, tokio::task::spawn_blocking(work)).await? {
        Ok(done) => done.map_err(|error| StorageFault::of_folder(doing, &error)),
        Err(_) => Err(cancelled(doing)),
    }
}

/// The result of work on the folder, which may be one of another machine that is away.
async fn in_time<T>(doing: &str, work: impl Future<Output = T>) -> Result<T, StorageFault> {
    tokio::time::timeout(TIME_MAX, work).await.map_err(|_| {
        let sentence = format!("took more than {} s to {doing}", TIME_MAX.as_secs());
        StorageFault::new(FaultCause::Timeout, "DATA_DIR", sentence)
    })
}

fn cancelled(doing: &str) -> StorageFault {
    StorageFault::of_folder(doing, &io::Error::other("the process is ending"))
}

fn refused(path: &Path, sentence: &str) -> StorageFault {
    StorageFault::new(FaultCause::Folder, "DATA_DIR", format!("{} {sentence}", path.display()))
}

fn library_error(doing: &str, key: &str, error: &object_store::Error) -> StorageError {
    match error {
        object_store::Error::NotFound { .. } => StorageError::NotFound { key: key.to_owned() },
        error => library_fault(doing, error).into(),
    }
}

fn library_fault(doing: &str, error: &object_store::Error) -> StorageFault {
    let mut chain = causes(error);
    match chain.find_map(|error| error.downcast_ref::<io::Error>()) {
        Some(error) => StorageFault::of_folder(doing, error),
        None => StorageFault::of_folder(doing, &io::Error::other(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_flushed_to_the_disk() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::open(&outer.path().join("files")).unwrap();
        // The library has no other way to show it.
        assert!(format!("{:?}", folder.store).contains("fsync: true"));
    }

    #[test]
    fn a_full_disk_is_named() {
        let error = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from(ErrorKind::StorageFull)),
        };
        let fault = library_fault("write", &error);
        assert_eq!(fault.cause(), FaultCause::Full);
        assert_eq!(fault.to_string(), "DATA_DIR: cannot write: no space is left on the disk");
    }
}
