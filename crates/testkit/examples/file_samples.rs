//! Writes the samples of files into a folder, with a list of them in `index.json`.

use std::{error::Error, fs, path::PathBuf};

use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name a folder")?);
    fs::create_dir_all(&folder)?;
    let samples = testkit::good_files().into_iter().chain(testkit::hostile_files());
    let index = samples.enumerate().map(|(number, sample)| {
        let file = number.to_string();
        fs::write(folder.join(&file), &sample.content)?;
        let accepted = sample.accepted.is_some();
        Ok(json!({"file": file, "name": sample.name, "declared": sample.declared, "accepted": accepted}))
    });
    let index: Result<Vec<Value>, std::io::Error> = index.collect();
    fs::write(folder.join("index.json"), serde_json::to_vec(&index?)?)?;
    Ok(())
}
