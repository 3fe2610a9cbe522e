//! The folder of this machine.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::Barrier,
    thread,
};

use bytes::Bytes;
use files::objects::{FaultCause, Objects, StorageFault, StorageSettings};
use futures_util::TryStreamExt as _;
use tempfile::TempDir;
use testkit::Deadline;

use super::{behaves, content, get, keys_of, put};

const KEY: &str = "files/00/a";

fn open(path: &Path) -> Result<Objects, StorageFault> {
    Objects::open(&StorageSettings::Folder(path.to_owned()))
}

fn storage() -> (TempDir, PathBuf, Objects) {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("data/files");
    let objects = open(&folder).unwrap();
    (outer, folder, objects)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

#[tokio::test]
async fn objects_are_written_read_copied_and_deleted() {
    let (_outer, _folder, objects) = storage();
    behaves(&objects).await;
    assert_eq!(objects.buffer_bytes(), 262_144);
    let links = (
        objects.signed_get(KEY, "text/plain", "attachment", std::time::Duration::from_secs(1)).await.unwrap(),
        objects.signed_put(KEY, "text/plain", 1, None, std::time::Duration::from_secs(1)).await.unwrap(),
    );
    assert!(links.0.is_none() && links.1.is_none());
}

#[tokio::test]
async fn only_the_account_of_the_process_can_reach_objects() {
    let (_outer, folder, objects) = storage();
    put(&objects, KEY, &content(10)).await.unwrap();
    put(&objects, "uploads/zz/made-later", &content(10)).await.unwrap();
    for path in ["", "files", "files/00", "files/ff", "uploads", "uploads/7f", "self-test"] {
        assert_eq!(mode(&folder.join(path)), 0o700, "{path}");
    }
    for path in [KEY, "uploads/zz/made-later"] {
        assert_eq!(mode(&folder.join(path)), 0o600);
    }
}

#[tokio::test]
async fn an_object_appears_whole_and_replaces_an_older_one() {
    let (_outer, folder, objects) = storage();
    put(&objects, KEY, &content(10)).await.unwrap();
    let mut writing = objects.write(KEY, "text/plain").await.unwrap();
    writing.write(content(900_000)).await.unwrap();
    assert_eq!(objects.size(KEY).await.unwrap(), Some(10));
    let mut reading = objects.read(KEY, None).await.unwrap();
    writing.finish().await.unwrap();
    assert_eq!(objects.size(KEY).await.unwrap(), Some(900_000));
    // A reader has the object that it opened.
    assert_eq!(reading.try_next().await.unwrap().unwrap().len(), 10);

    let reading = objects.read(KEY, None).await.unwrap();
    fs::File::options().write(true).open(folder.join(KEY)).unwrap().set_len(200_000).unwrap();
    let cut = reading.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(cut.to_string().starts_with("DATA_DIR: cannot read: "), "{cut}");
}

#[tokio::test]
async fn rests_of_killed_processes_are_listed_and_can_be_deleted() {
    let (_outer, folder, objects) = storage();
    put(&objects, KEY, &content(10)).await.unwrap();
    for _ in 0..2 {
        let mut writing = objects.write(KEY, "text/plain").await.unwrap();
        writing.write(content(600_000)).await.unwrap();
        // As if the process had been killed: nothing cleans up.
        std::mem::forget(writing);
    }
    let again = open(&folder).unwrap();
    assert_eq!(keys_of(&again, "files").await, [KEY, "files/00/a#1", "files/00/a#2"]);
    put(&again, KEY, &content(20)).await.unwrap();
    again.delete("files/00/a#2").await.unwrap();
    assert_eq!(keys_of(&again, "files").await, [KEY, "files/00/a#1"]);
    again.delete(KEY).await.unwrap();
    assert!(keys_of(&again, "files").await.is_empty());
    put(&again, KEY, &content(20)).await.unwrap();
    assert_eq!(get(&again, KEY).await.unwrap(), content(20));
    let listed: Vec<_> = again.list("files").try_collect().await.unwrap();
    let changed = fs::metadata(folder.join(KEY)).unwrap().modified().unwrap();
    assert_eq!(listed[0].modified, changed);
}

#[tokio::test]
async fn a_writing_that_is_aborted_or_dropped_leaves_nothing() {
    let (_outer, _folder, objects) = storage();
    let mut writing = objects.write(KEY, "text/plain").await.unwrap();
    writing.write(content(600_000)).await.unwrap();
    writing.abort().await;
    assert!(keys_of(&objects, "files").await.is_empty());

    let mut writing = objects.write(KEY, "text/plain").await.unwrap();
    writing.write(content(600_000)).await.unwrap();
    drop(writing);
    let mut deadline = Deadline::new();
    while !keys_of(&objects, "files").await.is_empty() {
        assert!(deadline.allows_another(), "the rest of a writing remains");
        tokio::task::yield_now().await;
    }
}

#[test]
fn folders_that_others_could_read_are_refused() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("files");
    let refusal = || {
        let fault = open(&folder).unwrap_err();
        assert_eq!(fault.cause(), FaultCause::Folder);
        fault.to_string()
    };
    fs::create_dir(&folder).unwrap();
    for mode in [0o755, 0o750, 0o710, 0o701, 0o702] {
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        let at = folder.display();
        assert_eq!(
            refusal(),
            format!("DATA_DIR: {at} lets other accounts in (mode {mode:04o}): chmod 700 it")
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is written before");
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    open(&folder).unwrap();

    let elsewhere = outer.path().join("elsewhere");
    fs::rename(&folder, &elsewhere).unwrap();
    symlink(&elsewhere, &folder).unwrap();
    assert!(refusal().ends_with("is no folder, and no symbolic link is followed here"));
    fs::remove_file(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    assert!(refusal().ends_with("is no folder, and no symbolic link is followed here"));
    fs::remove_file(&folder).unwrap();

    fs::write(outer.path().join("PG_VERSION"), "17\n").unwrap();
    assert!(refusal().contains("is the data directory of a PostgreSQL server"));
    assert!(!folder.exists());
}

#[test]
fn a_folder_of_another_account_is_refused() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("files");
    open(&folder).unwrap();
    if outer.path().metadata().unwrap().uid() != 0 {
        return; // Only root can give a folder away.
    }
    std::os::unix::fs::chown(&folder, Some(54_321), None).unwrap();
    let refused = open(&folder).unwrap_err().to_string();
    assert!(refused.ends_with("belongs to uid 54321, and this process is uid 0: chown it"), "{refused}");
}

#[test]
fn several_processes_share_a_folder() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("files");
    let start = Barrier::new(8);
    let write = |number: u8| {
        start.wait();
        let objects = open(&folder).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let own = Bytes::from(vec![number; 600_000]);
            for round in 0..10 {
                put(&objects, KEY, &own).await.unwrap();
                put(&objects, &format!("files/01/{number}-{round}"), &own).await.unwrap();
            }
        });
    };
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || write(number));
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let objects = open(&folder).unwrap();
        let last = get(&objects, KEY).await.unwrap();
        assert!(last.len() == 600_000 && last.iter().all(|byte| *byte == last[0]));
        assert_eq!(keys_of(&objects, "files").await.len(), 81);
    });
}

#[tokio::test]
async fn a_folder_that_went_away_is_a_fault() {
    let (_outer, folder, objects) = storage();
    objects.check().await.unwrap();
    fs::rename(&folder, folder.with_extension("gone")).unwrap();
    for fault in [objects.check().await, objects.self_test(uuid::Uuid::nil()).await.map(drop)] {
        // The library would make missing folders below it; the check does not.
        if let Err(fault) = fault {
            assert_eq!(fault.cause(), FaultCause::Folder);
            assert!(
                fault.to_string().starts_with("DATA_DIR: cannot use the folder of the files: "),
                "{fault}"
            );
        }
    }
    assert!(objects.check().await.is_err());
}
