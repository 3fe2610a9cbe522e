//! The last bytes of a stream, which show whether a part of a further request came with the last one.

/// Number of bytes that are kept.
const BYTES: usize = 32;

/// The last bytes of a stream.
#[derive(Debug, Default, Clone)]
pub struct StreamEnd(Vec<u8>);

impl StreamEnd {
    /// Appends what came.
    pub fn push(&mut self, bytes: &[u8]) {
        let last = bytes.get(bytes.len().saturating_sub(BYTES)..).unwrap_or(bytes);
        self.0.extend_from_slice(last);
        self.0.drain(..self.0.len().saturating_sub(BYTES));
    }

    /// Returns whether the stream goes on after the request whose body ends like `body`; that is empty if the request has no
    /// body or one in chunks. A rest that ends like the body passes unnoticed.
    #[must_use]
    pub fn goes_on_after(&self, body: &Self) -> bool {
        if self.0.is_empty() {
            return false;
        }
        if body.0.is_empty() {
            // The empty line after a head or after chunks.
            return !(self.0.ends_with(b"\n\r\n") || self.0.ends_with(b"\n\n"));
        }
        let (end, body) = (without_line_ends(&self.0), without_line_ends(&body.0));
        !(end.ends_with(body) || body.ends_with(end))
    }
}

/// Returns whether bytes begin a request: empty lines before one are ignored (RFC 9112, 2.2).
#[must_use]
pub fn begins_request(bytes: &[u8]) -> bool {
    !without_line_ends(bytes).is_empty()
}

fn without_line_ends(mut bytes: &[u8]) -> &[u8] {
    while let Some((b'\r' | b'\n', rest)) = bytes.split_last() {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_request_is_noticed() {
        let long = "x".repeat(100);
        let end = |pieces: &[&str]| {
            let mut end = StreamEnd::default();
            pieces.iter().for_each(|piece| end.push(piece.as_bytes()));
            end
        };
        for (received, body, goes_on) in [
            (&["GET / HTTP/1.1\r\n\r\n"][..], "", false),
            (&["GET / HTTP/1.1\r\n\r", "\n"], "", false),
            (&["GET / HTTP/1.1\n\n\r\n"], "", false),
            (&["GET / HTTP/1.1\r\n\r\nG"], "", true),
            (&["GET / HTTP/1.1\r\n\r\n", "G"], "", true),
            (&["0\r\n\r\n"], "", false),
            (&["0\r\n\r\nGET / HTTP/1.1\r\n"], "", true),
            (&["\r\n\r\n{}"], "{}", false),
            (&["\r\n\r\n{}\r\n"], "{}", false),
            (&["\r\n\r\n{}\n"], "{}\n", false),
            (&["\r\n\r\n{}G"], "{}", true),
            (&["\r\n\r\n{}\nGET / HTTP/1.1\r\n"], "{}\n", true),
            (&["\r\n\r\n\n\n"], "\n\n", false),
            (&[&long], &long, false),
            (&[&long, "y"], &long, true),
        ] {
            let found = end(received).goes_on_after(&end(&[body]));
            assert_eq!(found, goes_on, "{received:?} {body:?}");
        }
        assert!(!end(&[]).goes_on_after(&end(&[])));
        assert!(!begins_request(b"\r\n\n") && begins_request(b"\nG\n"));
    }
}
