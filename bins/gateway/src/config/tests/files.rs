//! Storage and limits of files.

use std::path::Path;

use files::objects::{Objects, S3Addressing, S3Settings, StorageSettings};
use secrecy::ExposeSecret as _;

use super::{LONG, config, problems, production, read};

const BUCKET: (&str, &str) = ("S3_BUCKET", "user-files");
const ENDPOINT: (&str, &str) = ("S3_ENDPOINT", "https://s3.example.com");
const KEY: (&str, &str) = ("S3_ACCESS_KEY_ID", "AKIA1");
const SECRET: (&str, &str) = ("S3_SECRET_ACCESS_KEY", "hunter2/+=");

fn s3(pairs: &[(&str, &str)]) -> S3Settings {
    match config(pairs).files.storage {
        StorageSettings::S3(settings) => *settings,
        StorageSettings::Folder(path) => panic!("{}", path.display()),
    }
}

#[test]
fn files_are_in_the_data_folder_by_default() {
    let files = config(&[("DATA_DIR", "/srv/data")]).files;
    assert!(matches!(files.storage, StorageSettings::Folder(path) if path == Path::new("/srv/data/files")));
    assert_eq!((files.max_bytes, files.quota_bytes, files.quota_files), (52_428_800, 1 << 30, 10_000));
    let files =
        config(&[("FILE_MAX_BYTES", "1"), ("FILE_QUOTA_BYTES", "0"), ("FILE_QUOTA_FILES", "7")]).files;
    assert_eq!((files.max_bytes, files.quota_bytes, files.quota_files), (1, 0, 7));
}

#[test]
fn a_bucket_alone_is_one_of_aws() {
    let s3 = s3(&production(&[BUCKET]));
    assert_eq!((s3.bucket.as_str(), s3.region.as_str()), ("user-files", "us-east-1"));
    assert!(s3.endpoint.is_none() && s3.public_endpoint.is_none() && s3.keys.is_none());
    assert_eq!(s3.addressing, S3Addressing::VirtualHost);
    assert!(Objects::open(&StorageSettings::S3(Box::new(s3))).is_ok());
}

#[test]
fn given_values_of_a_store_are_taken() {
    let public = ("S3_PUBLIC_ENDPOINT", "https://files.example.com");
    let pairs = [BUCKET, ENDPOINT, KEY, SECRET, public, ("S3_REGION", "eu-central-1")];
    let loaded = read(&production(&pairs)).unwrap();
    assert!(loaded.notices.is_empty());
    assert!(!format!("{loaded:?}").contains("hunter2") && !format!("{loaded:?}").contains("AKIA1"));
    let given = s3(&pairs);
    assert_eq!(given.endpoint.unwrap().as_str(), "https://s3.example.com/");
    assert_eq!(given.public_endpoint.unwrap().as_str(), "https://files.example.com/");
    assert_eq!((given.region.as_str(), given.addressing), ("eu-central-1", S3Addressing::Path));
    let keys = given.keys.unwrap();
    assert_eq!(
        (keys.access_key_id.expose_secret(), keys.secret_access_key.expose_secret()),
        (KEY.1, SECRET.1)
    );
    let other = s3(&[BUCKET, ENDPOINT, KEY, SECRET, ("S3_PATH_STYLE", "false")]);
    assert_eq!(other.addressing, S3Addressing::VirtualHost);
    assert_eq!(s3(&[BUCKET, ("S3_PATH_STYLE", "true")]).addressing, S3Addressing::Path);
}

#[test]
fn settings_of_a_store_that_do_not_fit_are_refused() {
    let numbers = ("S3_ENDPOINT", "http://10.0.0.7:9000");
    for (pairs, line) in [
        (vec![ENDPOINT, KEY, SECRET], "S3_BUCKET: is not set, but S3_ENDPOINT is"),
        (vec![("S3_REGION", "eu-1")], "S3_BUCKET: is not set, but S3_REGION is"),
        (vec![BUCKET, KEY], "S3_SECRET_ACCESS_KEY: is not set, but S3_ACCESS_KEY_ID is"),
        (vec![BUCKET, SECRET], "S3_ACCESS_KEY_ID: is not set, but S3_SECRET_ACCESS_KEY is"),
        (
            vec![BUCKET, ENDPOINT],
            "S3_ACCESS_KEY_ID: is not set, but S3_ENDPOINT is: only AWS gives roles to machines",
        ),
        (
            vec![BUCKET, numbers, KEY, SECRET, ("S3_PATH_STYLE", "false")],
            "S3_ENDPOINT: is an address of numbers, and S3_PATH_STYLE=false puts the bucket before a name",
        ),
        (
            vec![("S3_BUCKET", "my.files")],
            "S3_BUCKET: has a point, so no certificate fits its host: set S3_PATH_STYLE=true",
        ),
        (
            vec![BUCKET, KEY, ("S3_SECRET_ACCESS_KEY", "hunter2 x")],
            "S3_SECRET_ACCESS_KEY: the value may hold visible ASCII characters only",
        ),
    ] {
        assert_eq!(problems(&pairs), [line]);
    }
    for bucket in ["ab", "Files", "a/b", "user_files", "-files", "a..b", "127.0.0.1", &"x".repeat(64)] {
        let line = "is not the name of a bucket: 3 to 63 of a-z, 0-9, \"-\" and \".\"";
        assert_eq!(problems(&[("S3_BUCKET", bucket)]), [format!("S3_BUCKET: {bucket:?} {line}")]);
    }
    for (url, fault) in [
        ("https://s3.example.com/user-files", "has a path: the bucket belongs into S3_BUCKET"),
        ("https://me:pw@s3.example.com", "has a user name or password in it"),
        ("s3.example.com", "is not an http or https URL"),
        ("https://s3.example.com?a=b", "has a query or a fragment, and paths are appended to it"),
    ] {
        let lines = problems(&[BUCKET, KEY, SECRET, ("S3_ENDPOINT", url)]);
        assert_eq!(lines, [format!("S3_ENDPOINT: {url:?} {fault}")]);
    }
    let bytes = |name: &str, value: &str, range: &str| {
        assert_eq!(
            problems(&[(name, value)]),
            [format!("{name}: {value:?} is not a number of bytes ({range})")]
        );
    };
    bytes("FILE_MAX_BYTES", "52428801", "1 to 52428800");
    bytes("FILE_MAX_BYTES", "0", "1 to 52428800");
    bytes("FILE_QUOTA_BYTES", "-1", "0 to 1125899906842624");
}

#[test]
fn plain_http_to_a_public_host_is_pointed_out() {
    let notices = |url: &str, name: &str| {
        let mut pairs = vec![BUCKET, KEY, SECRET, (name, url)];
        if name != "S3_ENDPOINT" {
            pairs.push(ENDPOINT);
        }
        read(&production(&pairs)).unwrap().notices
    };
    for name in ["S3_ENDPOINT", "S3_PUBLIC_ENDPOINT"] {
        for url in ["http://s3.example.com", "http://203.0.113.9:9000", "http://[2001:db8::1]"] {
            let line =
                format!("{name} is plain http to a public host: files and links are readable on their way");
            assert_eq!(notices(url, name), [line], "{url}");
        }
        for url in [
            "http://localhost:9000",
            "http://minio:9000",
            "http://192.168.1.4",
            "http://[fd00::1]",
            "http://s3.internal",
            "https://s3.example.com",
        ] {
            assert!(notices(url, name).is_empty(), "{url}");
        }
    }
}

#[test]
fn the_secret_of_the_store_is_for_this_purpose_only() {
    let lines = problems(&production(&[BUCKET, KEY, ("S3_SECRET_ACCESS_KEY", LONG)]));
    let line = "S3_SECRET_ACCESS_KEY: is the same as SUPABASE_JWT_SECRET: use a secret for one purpose only";
    assert_eq!(lines, [line]);
}
