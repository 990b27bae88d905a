//! A folder of files to serve.

use super::{App, Files, Proposal, Slot};
use crate::error::Result;
use crate::python::elf::Elf;

pub(super) fn propose(files: &Files) -> Result<Option<Proposal>> {
    let Some(place) = place(files) else { return Ok(None) };
    let index = if place == "." { "index.html".to_owned() } else { format!("{place}/index.html") };
    let mut reasons = vec![format!("{index}: a folder of files to serve, on port 8000 of the user's machine")];
    let mut slots = Vec::new();
    let command: &[&str] = match busybox() {
        Some(busybox) => {
            reasons.push(format!("{busybox} of this machine goes into the package as the server"));
            slots.push(Slot::program("server", busybox, "busybox"));
            &["{workenv}/bin/busybox", "httpd", "-f", "-p", "127.0.0.1:8000", "-h", "{workenv}/site"]
        }
        None => {
            reasons.push(
                "python3 of the user's machine serves it: a busybox without libraries would go into the package (Debian's \
                 busybox-static), but there is none on this machine"
                    .to_owned(),
            );
            &["/usr/bin/env", "python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", "{workenv}/site"]
        }
    };
    slots.push(Slot::directory("site", if place == "." { ".".to_owned() } else { format!("{place}/") }, &[]));
    let command = command.iter().map(|&word| word.to_owned()).collect();
    let app = App { name: &files.name, command, slots, ..App::default() };
    Ok(app.proposal("a static site", reasons))
}

/// Where the pages are, below the folder.
pub(super) fn place(files: &Files) -> Option<&'static str> {
    /// Where generators of sites write to, the folder itself first.
    const PLACES: [&str; 8] = [".", "site", "public", "dist", "build", "_site", "out", "www"];
    PLACES.into_iter().find(|place| files.has(&format!("{place}/index.html")))
}

/// A busybox of this machine that needs no library.
fn busybox() -> Option<&'static str> {
    let is_static =
        |path: &&str| Elf::read(path.as_ref()).is_ok_and(|elf| elf.is_some_and(|elf| elf.needed.is_empty()));
    ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(is_static)
}
