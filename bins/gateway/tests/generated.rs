//! Generated files are current.

use std::{fs, path::Path};

#[test]
fn generated_files_are_current() {
    for (file, generated) in [
        ("errors.md", gateway::http::errors_markdown()),
        ("events.md", webhooks::markdown()),
        ("configuration.md", gateway::config::markdown()),
        ("openapi.json", gateway::http::openapi_json()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file);
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == generated, "docs/{file} is not current: run `just docs`");
    }
}
