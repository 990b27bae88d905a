//! Writes the seeds into `seeds/`, a directory for each target.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    let (mut count, mut size) = (0, 0);
    for seed in pspf_fuzz::seeds::all() {
        let directory = root.join(seed.target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(seed.name), &seed.bytes)?;
        count += 1;
        size += seed.bytes.len();
    }
    println!("{count} seeds, {size} bytes");
    Ok(())
}
