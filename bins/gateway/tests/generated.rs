//! Generated files are current.

use std::{fs, path::Path};

fn assert_current(file: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file);
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "docs/{file} is not current: run `just docs`");
}

#[test]
fn the_error_page_is_current() {
    assert_current("errors.md", &gateway::http::errors_markdown());
}

#[test]
fn the_page_of_events_is_current() {
    assert_current("events.md", &webhooks::markdown());
}

#[test]
fn the_configuration_page_is_current() {
    assert_current("configuration.md", &gateway::config::markdown());
}

#[test]
fn the_openapi_document_is_current() {
    assert_current("openapi.json", &gateway::http::openapi_json());
}
