//! Every type under the names and declarations of every other one.

use super::{
    documents, images,
    sample::{FileSample, TYPES},
    spreadsheets,
};

pub(super) fn hostile() -> Vec<FileSample> {
    let mut samples = Vec::new();
    for (extension, content_type) in TYPES {
        for (other, declared) in TYPES.iter().filter(|(other, _)| *other != extension) {
            let content = content(extension);
            let name = format!("a.{other}");
            let why = format!("{extension} as {other}");
            // A table and JSON are texts, and a text is a table with one column.
            let is_text = |one: &str| matches!(one, "csv" | "txt" | "json");
            let accepted = is_text(extension) && is_text(other) && *other != "json";
            samples.push(FileSample {
                accepted: accepted.then_some(*declared),
                ..FileSample::bad(&name, content.clone(), &why)
            });
            // The name is right; Windows with Excel declares tables as spreadsheets.
            let accepted = extension == "csv" && *other == "xls";
            samples.push(FileSample {
                name: format!("a.{extension}"),
                declared: Some((*declared).to_owned()),
                content: content.clone(),
                accepted: accepted.then_some(content_type),
                why: format!("{extension} declared as {other}"),
            });
            // The declared type is right.
            samples.push(FileSample {
                name,
                declared: Some(content_type.to_owned()),
                content,
                accepted: None,
                why: format!("{extension} named as {other}"),
            });
        }
    }
    samples
}

fn content(extension: &str) -> Vec<u8> {
    match extension {
        "pdf" => documents::pdf("1.4"),
        "csv" => b"a,b\n1,2\n".to_vec(),
        "txt" => b"plain\n".to_vec(),
        "json" => b"{\"a\":1}".to_vec(),
        "xls" => documents::xls(),
        "xlsx" => spreadsheets::spreadsheet(),
        "jpg" => images::jpeg(&[]),
        "png" => images::png(1, 1),
        "gif" => images::gif(1, 1, 1),
        _ => images::webp(images::LOSSY),
    }
}
