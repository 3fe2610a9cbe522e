//! Usage records as files: CSV and NDJSON (HTTP contract 4.9).

use csv::{Terminator, WriterBuilder};
use usage::Record;

use crate::http::routes::usage::record_body::UsageBody;

/// Format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, with a header.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

/// A file that cannot be written on: a fault of ours.
#[derive(Debug, thiserror::Error)]
#[error("a record cannot be written")]
pub struct Unwritable(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Format {
    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    /// Suffix of the names of such files.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    /// The text before the first record.
    ///
    /// # Errors
    /// [`Unwritable`].
    pub fn head(self) -> Result<Vec<u8>, Unwritable> {
        match self {
            Self::Csv => table([UsageBody::COLUMNS]),
            Self::Ndjson => Ok(Vec::new()),
        }
    }

    /// Some records.
    ///
    /// # Errors
    /// [`Unwritable`].
    pub fn records(self, records: Vec<Record>) -> Result<Vec<u8>, Unwritable> {
        let bodies = records.into_iter().map(UsageBody::from);
        match self {
            Self::Csv => table(bodies.map(|body| body.cells())),
            Self::Ndjson => {
                let mut lines = Vec::new();
                for body in bodies {
                    serde_json::to_writer(&mut lines, &body).map_err(|error| Unwritable(error.into()))?;
                    lines.push(b'\n');
                }
                Ok(lines)
            }
        }
    }

    /// Last line of a file that is not whole, for readers who do not see a broken connection. It fits in no column
    /// and no record.
    #[must_use]
    pub fn broken_off(self) -> &'static str {
        match self {
            Self::Csv => "ERROR: this export broke off and is not complete\r\n",
            Self::Ndjson => "{\"error\":\"this export broke off and is not complete\"}\n",
        }
    }
}

fn table(rows: impl IntoIterator<Item: IntoIterator<Item: AsRef<[u8]>>>) -> Result<Vec<u8>, Unwritable> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).map_err(|error| Unwritable(error.into()))?;
    }
    writer.into_inner().map_err(|error| Unwritable(error.to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::{Credits, FreeForm};
    use time::macros::datetime;
    use usage::UsageInput;

    fn record(endpoint: &str) -> Record {
        UsageInput {
            endpoint: Some(endpoint.to_owned()),
            credits_charged: Some("5.5".parse().unwrap()),
            billing_metadata: Some(FreeForm::object(r#"{"a": "x,\"y\""}"#).unwrap()),
            ..UsageInput::new("auth0|a".parse().unwrap(), "chat")
        }
        .complete()
        .stored(7, datetime!(2026-01-15 12:00:00.5 UTC))
    }

    fn lines(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn cells_are_quoted_as_rfc_4180_says() {
        let csv = lines(Format::Csv.records(vec![record("a \"b\", c\r\nd")]).unwrap());
        assert_eq!(
            csv,
            "7,auth0|a,,,\"a \"\"b\"\", c\r\nd\",chat,5.5,0.0,unknown,0,0,0,,,,,\
             \"{\"\"a\"\": \"\"x,\\\"\"y\\\"\"\"\"}\",{},{},2026-01-15T12:00:00.500000Z,service,,false,0.0,,\r\n"
        );
        let head = lines(Format::Csv.head().unwrap());
        assert!(head.starts_with("id,user_id,") && head.ends_with(",transaction_id,correction_of\r\n"));
    }

    #[test]
    fn texts_that_would_be_formulas_are_disarmed_and_numbers_are_not() {
        let correction = record("-x").corrected(8, "wrong");
        let csv = lines(Format::Csv.records(vec![correction]).unwrap());
        assert!(csv.contains(",'-x,chat,-5.5,0.0,correction,"), "{csv}");
        assert_eq!(Credits::from_micro(-1).to_string(), "-0.000001");
    }

    #[test]
    fn a_line_of_ndjson_is_the_record_of_the_list() {
        let record = record("/x");
        let line = lines(Format::Ndjson.records(vec![record.clone()]).unwrap());
        let body = serde_json::to_string(&UsageBody::from(record)).unwrap();
        assert_eq!(line, format!("{body}\n"));
        assert_eq!(Format::Ndjson.head().unwrap(), b"");
    }
}
