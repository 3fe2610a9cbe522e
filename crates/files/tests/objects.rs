//! The storage: a folder, and S3 against a server that verifies signatures.

mod diagnosis;
mod folder;
mod links;
mod s3;
mod silence;

use bytes::Bytes;
use files::objects::{Objects, S3Addressing, S3Keys, S3Settings, S3Timeouts, StorageError, StorageSettings};
use futures_util::TryStreamExt as _;
use testkit::{S3_ACCESS_KEY, S3_BUCKET, S3_SECRET_KEY, S3Server};

/// Settings for the server of the test.
fn settings(server: &S3Server) -> S3Settings {
    S3Settings {
        bucket: S3_BUCKET.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(server.endpoint().parse().unwrap()),
        public_endpoint: None,
        keys: Some(keys(S3_ACCESS_KEY, S3_SECRET_KEY)),
        addressing: S3Addressing::Path,
        prefix: String::new(),
        timeouts: S3Timeouts::default(),
    }
}

fn keys(access_key_id: &str, secret_access_key: &str) -> S3Keys {
    S3Keys { access_key_id: access_key_id.into(), secret_access_key: secret_access_key.into() }
}

fn open(settings: S3Settings) -> Objects {
    Objects::open(&StorageSettings::S3(Box::new(settings))).unwrap()
}

/// Bytes that differ from place to place.
fn content(size: usize) -> Bytes {
    (0..size).map(|place| (place % 251).to_le_bytes()[0]).collect()
}

async fn put(objects: &Objects, key: &str, content: &Bytes) -> Result<(), StorageError> {
    let mut writing = objects.write(key, "text/plain").await?;
    for piece in content.chunks(100_000) {
        writing.write(Bytes::copy_from_slice(piece)).await?;
    }
    writing.finish().await
}

async fn get(objects: &Objects, key: &str) -> Result<Vec<u8>, StorageError> {
    Ok(objects.read(key, None).await?.try_collect::<Vec<_>>().await?.concat())
}

async fn keys_of(objects: &Objects, prefix: &str) -> Vec<String> {
    let listed: Vec<_> = objects.list(prefix).try_collect().await.unwrap();
    let mut keys: Vec<_> = listed.into_iter().map(|object| object.key).collect();
    keys.sort();
    keys
}

/// Both kinds of storage do this alike.
async fn behaves(objects: &Objects) {
    let id = uuid::Uuid::from_u128(0x12ab);
    let (key, other) = (files::objects::upload_key(id), files::objects::final_key(id));
    assert_eq!(
        (key.as_str(), other.as_str()),
        ("uploads/ab/00000000-0000-0000-0000-0000000012ab", "files/ab/00000000-0000-0000-0000-0000000012ab")
    );
    for size in [0, 1, 262_143, 262_144, 262_145, 700_000] {
        let content = content(size);
        let mut writing = objects.write(&key, "text/plain").await.unwrap();
        writing.write(content.clone()).await.unwrap();
        writing.finish().await.unwrap();
        assert_eq!(objects.size(&key).await.unwrap(), Some(size.try_into().unwrap()));
        assert_eq!(get(objects, &key).await.unwrap(), content);
    }
    let whole = content(700_000);
    for range in [0..1, 0..700_000, 5..5 + 262_144, 699_999..700_000, 131_072..262_144] {
        let part = objects.read(&key, Some(range.clone())).await.unwrap();
        let part = part.try_collect::<Vec<_>>().await.unwrap().concat();
        let (from, to) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        assert!(part == whole[from..to], "{range:?}");
    }
    assert_eq!(keys_of(objects, "uploads").await, [key.as_str()]);

    objects.copy(&key, &other).await.unwrap();
    assert_eq!(objects.read_whole(&key, 3..9).await.unwrap(), whole[3..9]);
    objects.delete(&key).await.unwrap();
    assert_eq!(objects.size(&key).await.unwrap(), None);
    assert_eq!(get(objects, &other).await.unwrap(), whole);
    assert!(keys_of(objects, "uploads").await.is_empty());
    let absent = |error| matches!(error, Err(StorageError::NotFound { key: found }) if found == key);
    assert!(absent(objects.copy(&key, &other).await));
    assert!(absent(objects.read(&key, None).await.map(drop)));

    objects.delete(&other).await.unwrap();
    objects.delete(&other).await.unwrap();
    assert!(keys_of(objects, "files").await.is_empty());
    for key in ["", "../secret", "files/../../secret", "files//x", "/etc/passwd", "files/a\0"] {
        assert!(objects.write(key, "text/plain").await.is_err(), "{key:?}");
        assert!(objects.read(key, None).await.is_err(), "{key:?}");
        assert!(objects.delete(key).await.is_err(), "{key:?}");
    }
    objects.check().await.unwrap();
    objects.self_test(id).await.unwrap();
    assert!(keys_of(objects, "self-test").await.is_empty());
}
