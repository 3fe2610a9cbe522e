//! What clients of outside services share.

use reqwest::Response;
use url::{Host, Url};

/// The body of an answer could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The connection failed.
    #[error(transparent)]
    Transport(#[from] reqwest::Error),
    /// It has more bytes than are read.
    #[error("the answer is too long")]
    TooLarge,
}

/// Returns true if a URL names this machine, whatever its scheme.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host_str().map(Host::parse) {
        Some(Ok(Host::Domain(name))) => name == "localhost",
        Some(Ok(Host::Ipv4(address))) => address.is_loopback(),
        Some(Ok(Host::Ipv6(address))) => address.is_loopback(),
        Some(Err(_)) | None => false,
    }
}

/// Reads the body of an answer, of at most so many bytes.
pub(crate) async fn read_body(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len().saturating_add(chunk.len()) > bytes_max {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_few_names() {
        let judge = |url: &str| is_loopback(&Url::parse(url).unwrap());
        for url in [
            "http://127.0.0.1:1/",
            "http://[::1]/",
            "smtp://localhost",
            "smtp://127.8.9.1:25",
            "smtp://[::1]",
        ] {
            assert!(judge(url), "{url}");
        }
        for url in ["http://10.0.0.1/", "http://127.0.0.1.example.com/", "smtp://[::2]", "file:///etc/hosts"]
        {
            assert!(!judge(url), "{url}");
        }
    }
}
