//! The build script of every domain that has tables: lists the migrations in `migrations/<domain>` for its `MIGRATIONS`.

use std::{env, error::Error, fs, io, path::Path};

#[expect(clippy::print_stdout, reason = "cargo reads the output of a build script")]
#[expect(clippy::disallowed_methods, reason = "cargo tells a build script by the environment where to write")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new("../../migrations").join(env!("CARGO_PKG_NAME"));
    println!("cargo::rerun-if-changed={}", folder.display());
    let migrations = fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut migrations = migrations.collect::<io::Result<Vec<_>>>()?;
    migrations.retain(|migration| migration.is_dir());
    migrations.sort();
    let mut list = String::new();
    for migration in migrations {
        let name = migration.file_name().unwrap_or_default();
        // Relative to the crate, so that another checkout with the same target folder does not embed the files of this one.
        let file = |name| {
            let path = Path::new("/").join(&migration).join(name);
            format!("include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))")
        };
        let (up, down) = (file("up.sql"), file("down.sql"));
        list += &format!("pg::Migration {{ name: {name:?}, up: {up}, down: {down} }},");
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("migrations.rs"), format!("&[{list}]"))?;
    Ok(())
}
