//! Counts words: of the files that are named, or of standard input. The most frequent ones come first.

use std::collections::HashMap;
use std::io::Read as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match count() {
        Ok(lines) => {
            print!("{lines}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("wordcount: {error}");
            ExitCode::FAILURE
        }
    }
}

fn count() -> Result<String, String> {
    let mut text = String::new();
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if files.is_empty() {
        std::io::stdin().read_to_string(&mut text).map_err(|error| format!("standard input: {error}"))?;
    }
    for file in files {
        let read = std::fs::read_to_string(&file);
        text += &read.map_err(|error| format!("{}: {error}", file.to_string_lossy()))?;
        text.push('\n');
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    Ok(counts.iter().take(10).map(|(word, count)| format!("{count:6} {word}\n")).collect())
}
