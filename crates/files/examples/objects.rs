//! The storage for clients in other languages: `objects <endpoint> <bucket> <key> <secret>`.
//!
//! Each line of the input is a command, its words separated by tabs; the answer is one line:
//! `get <key> <type> <disposition>` a link; `put <key> <type> <size> <digest in hex, or ->` a link and headers as JSON;
//! `write <key> <size>` an object of that many letters `a`; `read <key>` its size.

use std::{
    env,
    error::Error,
    io::{Write as _, stdin, stdout},
    time::Duration,
};

use bytes::Bytes;
use files::objects::{Objects, S3Addressing, S3Keys, S3Settings, S3Timeouts, StorageSettings};
use futures_util::TryStreamExt as _;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [endpoint, bucket, key, secret] = words.as_slice() else {
        return Err("endpoint, bucket, key and secret are needed".into());
    };
    let objects = Objects::open(&StorageSettings::S3(Box::new(S3Settings {
        bucket: bucket.clone(),
        region: "us-east-1".to_owned(),
        endpoint: Some(endpoint.parse()?),
        public_endpoint: None,
        keys: Some(S3Keys { access_key_id: key.as_str().into(), secret_access_key: secret.as_str().into() }),
        addressing: S3Addressing::Path,
        prefix: String::new(),
        timeouts: S3Timeouts::default(),
    })))?;
    for line in stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split('\t').collect();
        writeln!(stdout(), "{}", answer(&objects, &words).await?)?;
    }
    Ok(())
}

async fn answer(objects: &Objects, words: &[&str]) -> Result<String, Box<dyn Error>> {
    Ok(match *words {
        ["get", key, content_type, disposition] => {
            let url = objects.signed_get(key, content_type, disposition, HOUR).await?;
            url.ok_or("no link")?.to_string()
        }
        ["put", key, content_type, size, digest] => {
            let digest = if digest == "-" { None } else { Some(digest_of(digest)?) };
            let signed = objects.signed_put(key, content_type, size.parse()?, digest, HOUR).await?;
            let signed = signed.ok_or("no link")?;
            let headers: serde_json::Map<_, _> =
                signed.headers.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            serde_json::json!({"url": signed.url.as_str(), "headers": headers}).to_string()
        }
        ["write", key, size] => {
            let mut writing = objects.write(key, "text/plain").await?;
            writing.write(Bytes::from(vec![b'a'; size.parse()?])).await?;
            writing.finish().await?;
            "written".to_owned()
        }
        ["read", key] => {
            let pieces: Vec<Bytes> = objects.read(key, None).await?.try_collect().await?;
            pieces.iter().map(Bytes::len).sum::<usize>().to_string()
        }
        _ => return Err(format!("unknown command {words:?}").into()),
    })
}

fn digest_of(text: &str) -> Result<[u8; 32], Box<dyn Error>> {
    let bytes: Result<Vec<u8>, _> = (0..32)
        .map(|place| u8::from_str_radix(text.get(place * 2..place * 2 + 2).unwrap_or("x"), 16))
        .collect();
    bytes?.try_into().map_err(|_| "no digest".into())
}
