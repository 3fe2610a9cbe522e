//! Files to upload: good ones of every type, and hostile ones.

#![expect(clippy::unwrap_used, reason = "small samples made by tests fit into their fields")]

mod documents;
mod images;
mod names;
mod sample;
mod spreadsheets;
mod texts;
mod wrong_types;
mod zip_file;

pub use sample::FileSample;

/// Valid files of every type, as different programs write them. All are accepted.
#[must_use]
pub fn good_files() -> Vec<FileSample> {
    [documents::good(), texts::good(), spreadsheets::good(), images::good()].concat()
}

/// Files that try to be taken for something else, and harmless ones that look alike. None makes a browser run a script
/// under the type it is stored as.
#[must_use]
pub fn hostile_files() -> Vec<FileSample> {
    [
        documents::hostile(),
        texts::hostile(),
        spreadsheets::hostile(),
        images::hostile(),
        names::hostile(),
        wrong_types::hostile(),
    ]
    .concat()
}
