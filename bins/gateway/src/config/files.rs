//! Storage and limits of files, with the rules that concern more than one variable.

use std::path::Path;

use files::objects::{S3Addressing, S3Keys, S3Settings, S3Timeouts, StorageSettings};
use url::{Host, Url};

use super::{loaded::Config, reader::Reader, sections::Files, variables as v};

/// The folder of files in DATA_DIR, beside that of the private database.
const FOLDER: &str = "files";

pub(super) fn files(r: &mut Reader<'_>, data_dir: &Path) -> Files {
    let folder = data_dir.join(FOLDER);
    Files {
        storage: s3(r).map_or(StorageSettings::Folder(folder), |s3| StorageSettings::S3(Box::new(s3))),
        max_bytes: r.value(&v::FILE_MAX_BYTES),
        quota_bytes: r.value(&v::FILE_QUOTA_BYTES),
        quota_files: r.value(&v::FILE_QUOTA_FILES),
    }
}

fn s3(r: &mut Reader<'_>) -> Option<S3Settings> {
    let (bucket, region) = (r.optional(&v::S3_BUCKET), r.value(&v::S3_REGION));
    let (endpoint, public_endpoint) = (r.optional(&v::S3_ENDPOINT), r.optional(&v::S3_PUBLIC_ENDPOINT));
    let key = (r.optional(&v::S3_ACCESS_KEY_ID), r.optional(&v::S3_SECRET_ACCESS_KEY));
    let has_endpoint = r.is_set(v::S3_ENDPOINT.about.name);
    let is_path = r.value_or(&v::S3_PATH_STYLE, if has_endpoint { "true" } else { "false" });

    r.both_or_neither(&v::S3_ACCESS_KEY_ID.about, &v::S3_SECRET_ACCESS_KEY.about);
    if !r.is_set(v::S3_BUCKET.about.name) {
        let others = [
            &v::S3_REGION.about,
            &v::S3_ENDPOINT.about,
            &v::S3_PUBLIC_ENDPOINT.about,
            &v::S3_ACCESS_KEY_ID.about,
            &v::S3_SECRET_ACCESS_KEY.about,
            &v::S3_PATH_STYLE.about,
        ];
        if let Some(set) = others.into_iter().find(|about| r.is_set(about.name)) {
            r.problem(&v::S3_BUCKET.about, &format!("is not set, but {} is", set.name));
        }
        return None;
    }
    if has_endpoint
        && !r.is_set(v::S3_ACCESS_KEY_ID.about.name)
        && !r.is_set(v::S3_SECRET_ACCESS_KEY.about.name)
    {
        r.problem(
            &v::S3_ACCESS_KEY_ID.about,
            "is not set, but S3_ENDPOINT is: only AWS gives roles to machines",
        );
    }
    let addresses = [(&v::S3_ENDPOINT.about, &endpoint), (&v::S3_PUBLIC_ENDPOINT.about, &public_endpoint)];
    for (about, url) in addresses {
        let is_name = |url: &Url| matches!(url.host(), Some(Host::Domain(_)));
        if !is_path && url.as_ref().is_some_and(|url| !is_name(url)) {
            r.problem(
                about,
                "is an address of numbers, and S3_PATH_STYLE=false puts the bucket before a name",
            );
        }
    }
    let has_point = bucket.as_ref().is_some_and(|bucket| bucket.contains('.'));
    let is_plain = endpoint.as_ref().is_some_and(|url| url.scheme() == "http");
    if !is_path && has_point && !is_plain {
        r.problem(
            &v::S3_BUCKET.about,
            "has a point, so no certificate fits its host: set S3_PATH_STYLE=true",
        );
    }
    let keys = key.0.zip(key.1);
    Some(S3Settings {
        bucket: bucket?,
        region,
        endpoint,
        public_endpoint,
        keys: keys.map(|(access_key_id, secret_access_key)| S3Keys { access_key_id, secret_access_key }),
        prefix: String::new(),
        addressing: if is_path { S3Addressing::Path } else { S3Addressing::VirtualHost },
        timeouts: S3Timeouts::default(),
    })
}

/// Sentences for the log if files go over a public network in clear.
pub(super) fn readable_files(config: &Config) -> Vec<String> {
    let StorageSettings::S3(s3) = &config.files.storage else { return Vec::new() };
    let mut lines = Vec::new();
    for (name, url) in [("S3_ENDPOINT", &s3.endpoint), ("S3_PUBLIC_ENDPOINT", &s3.public_endpoint)] {
        if url.as_ref().is_some_and(|url| url.scheme() == "http" && is_public(url)) {
            lines.push(format!(
                "{name} is plain http to a public host: files and links are readable on their way"
            ));
        }
    }
    lines
}

/// A name with a point may be in any network; one without is of a private one, as are the names of containers.
fn is_public(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let private = ["localhost", "local", "internal", "lan", "test", "svc"];
            let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
            name.contains('.') && !private.contains(&last)
        }
        Some(Host::Ipv4(address)) => {
            !(address.is_loopback() || address.is_private() || address.is_link_local())
        }
        Some(Host::Ipv6(address)) => {
            !(address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local())
        }
        None => false,
    }
}
