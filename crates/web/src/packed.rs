//! Bodies that never change, kept both plain and packed: nothing is packed, unpacked or copied for a request.

use std::{
    io::{Read as _, Write as _},
    sync::OnceLock,
};

use actix_web::http::header;
use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use super::{call::Call, catalogue, error::ApiError, reply::Reply, service::Service};

/// One such body. The packed form is made at its first use.
#[derive(Debug, Default)]
pub struct Packed {
    gzip: OnceLock<Option<Bytes>>,
    plain: OnceLock<Option<Bytes>>,
}

impl Packed {
    /// A body that is there packed.
    #[must_use]
    pub fn of_gzip(gzip: Bytes) -> Self {
        Self { gzip: OnceLock::from(Some(gzip)), plain: OnceLock::new() }
    }

    /// A body that is there plain.
    #[must_use]
    pub fn of_plain(plain: Bytes) -> Self {
        Self { gzip: OnceLock::new(), plain: OnceLock::from(Some(plain)) }
    }

    /// The answer that the client can read.
    ///
    /// # Errors
    /// 500 when it cannot be packed or unpacked.
    pub fn reply<S: Service>(&self, call: &Call<S>, content_type: &'static str) -> Result<Reply, ApiError> {
        let takes_gzip = takes_gzip(call.header(&header::ACCEPT_ENCODING).unwrap_or_default());
        let body = if takes_gzip { self.gzip() } else { self.plain() };
        let body = body.ok_or_else(|| {
            tracing::error!(operation = call.operation, "an embedded file cannot be packed or unpacked");
            ApiError::new(&catalogue::INTERNAL)
        })?;
        let reply = Reply::new(content_type, body).header(header::VARY, "Accept-Encoding");
        Ok(match takes_gzip {
            true => reply.header(header::CONTENT_ENCODING, "gzip"),
            false => reply,
        })
    }

    fn gzip(&self) -> Option<Bytes> {
        let pack = || {
            let mut packer = GzEncoder::new(Vec::new(), Compression::default());
            packer.write_all(self.plain.get()?.as_ref()?).ok()?;
            packer.finish().ok().map(Bytes::from)
        };
        self.gzip.get_or_init(pack).clone()
    }

    fn plain(&self) -> Option<Bytes> {
        let unpack = || {
            let mut plain = Vec::new();
            GzDecoder::new(&**self.gzip.get()?.as_ref()?).read_to_end(&mut plain).ok()?;
            Some(Bytes::from(plain))
        };
        self.plain.get_or_init(unpack).clone()
    }
}

/// Returns true if an `Accept-Encoding` value lets gzip through; `q=0` does not.
fn takes_gzip(accept: &str) -> bool {
    accept.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        is_gzip && weight.is_ok_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_made_once() {
        let text = Bytes::from_static(b"again and again and again");
        let packed = Packed::of_plain(text.clone());
        let gzip = packed.gzip().unwrap();
        assert_eq!(packed.gzip().unwrap().as_ptr(), gzip.as_ptr());
        assert_eq!(packed.plain().unwrap().as_ptr(), text.as_ptr());
        let back = Packed::of_gzip(gzip.clone());
        assert_eq!(back.plain().unwrap(), text);
        assert_eq!(back.plain().unwrap().as_ptr(), back.plain().unwrap().as_ptr());
        assert_eq!(back.gzip().unwrap().as_ptr(), gzip.as_ptr());
        assert!(Packed::of_gzip(Bytes::from_static(b"no gzip")).plain().is_none());
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for (accept, takes) in
            [("gzip", true), ("br, GZIP;q=0.5", true), ("gzip;q=0", false), ("deflate", false), ("", false)]
        {
            assert_eq!(takes_gzip(accept), takes, "{accept}");
        }
    }
}
