//! `GET /files/raw/{file_id}`: the bytes of a file, by a signed link (HTTP contract 7).

use std::ops::Range;

use actix_web::http::{
    Method, StatusCode,
    header::{
        self, ByteRangeSpec, EntityTag, Header as _, HeaderValue, IfNoneMatch, IfRange, Range as RangeHeader,
    },
};
use bytes::Bytes;
use files::{File, final_key, links::LinkUse, names::content_disposition, objects::StorageError};
use futures_util::{StreamExt as _, stream};
use kernel::Detail;
use pg::pool::chain;
use uuid::Uuid;
use web::reply::BrokenOff;

use super::{
    body::{files_of, not_found, unavailable},
    link::{self, LinkInput},
};
use crate::http::prelude::*;

/// Nothing in a file may run, be shown in a frame, or ask for anything.
const POLICY: &str = "default-src 'none'; sandbox";

pub fn doc() -> Doc {
    Doc::new("files", "The bytes of a file")
        .description(
            "By a link of an upload, a list or `files/download`; needs no credential. Always an attachment. Supports `Range`, \
             `If-Range` and `If-None-Match`.",
        )
        .query::<LinkInput>()
        .reply_as("application/octet-stream", json!({"type": "string", "format": "binary"}), serde_json::Value::Null)
        .errors(&[
            &catalogue::PERMISSION_DENIED,
            &catalogue::FILE_NOT_FOUND,
            &catalogue::RANGE_NOT_SATISFIABLE,
            &catalogue::PROVIDER_NOT_CONFIGURED,
            &catalogue::PROVIDER_UNAVAILABLE,
        ])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input: LinkInput = call.fields.input()?;
    let files = files_of(&call)?.clone();
    let file_id: Uuid = call.id_of_path("file_id", &catalogue::FILE_NOT_FOUND)?;
    link::check(&call, &files, LinkUse::Fetch, file_id, &input)?;
    let file = call.look_up(async |conn| files::find(conn, file_id).await).await?.ok_or_else(not_found)?;
    let size = u64::try_from(file.size_bytes).unwrap_or_default();
    let etag = EntityTag::new_strong(file.sha256.to_string());
    let tag = etag.to_string();
    if is_known(&call, &etag) {
        return Ok(described(Reply::new(file.file_type.content_type(), ""), &file, &tag)
            .status(StatusCode::NOT_MODIFIED));
    }
    let range = wanted(&call, &etag, size)?;
    let (part, is_part) = range.map_or((0..size, false), |range| (range, true));
    let length = part.end.saturating_sub(part.start);
    let body = match call.request.method() == Method::HEAD || length == 0 {
        true => stream::empty().boxed(),
        false => {
            let read = files.objects().read(&final_key(file.object_id), Some(part.clone())).await;
            let bytes = read.map_err(|error| lost(error, &file))?;
            metrics::counter!("files_bytes_total", "direction" => "out").increment(length);
            bytes.map(sent).boxed()
        }
    };
    let reply = Reply::sized_stream(file.file_type.content_type(), length, body);
    let reply = described(reply, &file, &tag).header(header::ACCEPT_RANGES, "bytes");
    Ok(if is_part {
        let last = part.end.saturating_sub(1);
        let range = format!("bytes {}-{last}/{size}", part.start);
        reply.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, &range)
    } else {
        reply
    })
}

fn described(reply: Reply, file: &File, tag: &str) -> Reply {
    reply
        .header(header::ETAG, tag)
        .header(header::CACHE_CONTROL, "private, no-cache")
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::CONTENT_DISPOSITION, &content_disposition(&file.filename))
}

fn sent(piece: Result<Bytes, StorageError>) -> Result<Bytes, BrokenOff> {
    piece.map_err(|error| {
        tracing::error!(error = %chain(&error), "a download broke off");
        BrokenOff
    })
}

/// A row without its object, or a store that does not answer.
fn lost(error: StorageError, file: &File) -> ApiError {
    if matches!(error, StorageError::NotFound { .. }) {
        tracing::error!(file.id = %file.file_id, "the object of a file is gone from the storage");
        return not_found();
    }
    unavailable(error)
}

/// True if the client has these bytes already.
fn is_known(call: &Call, etag: &EntityTag) -> bool {
    match IfNoneMatch::parse(&call.request) {
        Ok(IfNoneMatch::Any) => call.request.headers().contains_key(header::IF_NONE_MATCH),
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(etag)),
        Err(_) => false,
    }
}

/// The part that is wanted; all of it if none is, if several are, or if the client has a part of other bytes.
fn wanted(call: &Call, etag: &EntityTag, size: u64) -> Result<Option<Range<u64>>, ApiError> {
    let headers = call.request.headers();
    if !headers.contains_key(header::RANGE) {
        return Ok(None);
    }
    if headers.contains_key(header::IF_RANGE) {
        let is_same =
            matches!(IfRange::parse(&call.request), Ok(IfRange::EntityTag(tag)) if tag.strong_eq(etag));
        if !is_same {
            return Ok(None);
        }
    }
    let Ok(RangeHeader::Bytes(ranges)) = RangeHeader::parse(&call.request) else {
        return Ok(None);
    };
    let [range] = ranges.as_slice() else {
        return Ok(None);
    };
    let range: &ByteRangeSpec = range;
    match range.to_satisfiable_range(size) {
        Some((first, last)) => Ok(Some(first..last.saturating_add(1))),
        None => Err(out_of_range(size)),
    }
}

fn out_of_range(size: u64) -> ApiError {
    let error = ApiError::new(&catalogue::RANGE_NOT_SATISFIABLE)
        .detail("size", Detail::Integer(i64::try_from(size).unwrap_or(i64::MAX)));
    match HeaderValue::from_str(&format!("bytes */{size}")) {
        Ok(value) => error.header(header::CONTENT_RANGE, value),
        Err(_) => error,
    }
}
