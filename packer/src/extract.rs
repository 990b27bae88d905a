//! Taking slots out of a package, to look at them. Only what was signed comes out, unless somebody asks for what nobody vouches
//! for, and it appears complete or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use launcher::extract::Extractor;
use launcher::store;
use launcher::sys::Dir;
use pspf_core::Verified;
use pspf_core::placement::Placement;

use crate::error::{Error, Kind, Result};
use crate::package_file::{PackageFile, of_launcher};

/// What becomes of something that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is extracted.
    Keep,
    /// It is replaced.
    Replace,
}

/// Extracts one slot, named by its id or its index: an archive becomes the directory `to`, any other slot the file `to`.
pub fn slot(file: &PackageFile, slot: &str, to: &Path, existing: Existing) -> Result<()> {
    let verified = file.verify()?;
    let index = find(&verified, slot, file)?;
    check_free(to, existing)?;
    let beside = Beside::new(to)?;
    let written = write(&verified, index, &verified.placements(), &beside.path().join("slot"), file)?;
    beside.publish(&written, to, existing)
}

/// Extracts every slot into the directory `to`, each under its id.
pub fn all(file: &PackageFile, to: &Path, existing: Existing) -> Result<()> {
    let verified = file.verify()?;
    check_free(to, existing)?;
    let beside = Beside::new(to)?;
    let root = beside.path().join("all");
    make_directory(&root)?;
    let placements = verified.placements();
    for (index, slot) in (0_u32..).zip(&verified.metadata().slots) {
        // An id is any text; as a name of a file it has to be a plain one.
        let plain = !slot.id.is_empty() && !slot.id.starts_with('.') && !slot.id.contains(['/', '\\', '\0']);
        let name = if plain { slot.id.clone() } else { format!("slot-{index}") };
        let place = root.join(&name);
        let place = if place.exists() { root.join(format!("slot-{index}")) } else { place };
        let scratch = beside.path().join(format!("slot-{index}"));
        let written = write(&verified, index, &placements, &scratch, file)?;
        fs::rename(&written, &place).map_err(|error| Error::io("cannot extract to", &place, &error))?;
    }
    beside.publish(&root, to, existing)
}

/// Extracts one slot, named by its index, of a package that nobody has to vouch for: to look inside, never to run. Neither
/// signature nor digests are looked at; what an archive may have in it, and at most `cap` bytes of it, holds all the same.
pub fn unverified_slot(file: &PackageFile, slot: &str, to: &Path, existing: Existing, cap: u64) -> Result<()> {
    let count = file.package().table().len();
    let Some(index) = slot.parse::<u32>().ok().filter(|index| (*index as usize) < count) else {
        return Err(Error::new(Kind::Arguments, "slots of packages that are not verified go by their numbers")
            .file(file.path())
            .expected(if count < 2 { "0".to_owned() } else { format!("0 to {}", count - 1) })
            .found(slot)
            .hint("packer inspect FILE shows them, as far as they can be read"));
    };
    check_free(to, existing)?;
    let beside = Beside::new(to)?;
    let content = beside.path().join("content");
    make_directory(&content)?;
    let failed = |error: launcher::Error| of_launcher(&error).file(file.path());
    let of_slot = |error: pspf_core::Error| failed(launcher::Error::slot(slot, error));
    let root = Dir::open_path(content.as_os_str().as_encoded_bytes()).map_err(failed)?;
    let mut reader = file.package().unverified_slot(index, cap).map_err(of_slot)?;
    let placement = Placement::Private(String::new());
    let extractor = Extractor::new(slot, &root, &placement, None);
    let operations = file.package().descriptor(index).map_err(of_slot)?.operations;
    let written = if operations.is_archive() {
        extractor.archive(&mut reader).map_err(failed)?;
        content
    } else {
        extractor.raw("content", 0o600, &mut reader).map_err(failed)?;
        content.join("content")
    };
    beside.publish(&written, to, existing)
}

fn find(verified: &Verified<'_, fs::File>, slot: &str, file: &PackageFile) -> Result<u32> {
    let slots = &verified.metadata().slots;
    let by_id = slots.iter().position(|entry| entry.id == slot);
    let found = by_id.or_else(|| slot.parse().ok().filter(|index| *index < slots.len()));
    found.and_then(|index| u32::try_from(index).ok()).ok_or_else(|| {
        let known: Vec<String> = slots.iter().enumerate().map(|(i, entry)| format!("{i} ({})", entry.id)).collect();
        let nearest = slots
            .iter()
            .map(|entry| &entry.id)
            .max_by(|a, b| strsim::jaro_winkler(a, slot).total_cmp(&strsim::jaro_winkler(b, slot)));
        Error::new(Kind::Arguments, "there is no such slot in the package")
            .file(file.path())
            .expected(if known.is_empty() { "a slot, but the package has none".into() } else { known.join(", ") })
            .found(slot)
            .hint(nearest.map_or("packer inspect FILE lists what is in it".into(), |id| format!("did you mean {id}?")))
    })
}

/// Writes a slot into the new directory `scratch`; gives the directory or file that it became.
fn write(
    verified: &Verified<'_, fs::File>,
    index: u32,
    placements: &[Placement],
    scratch: &Path,
    file: &PackageFile,
) -> Result<PathBuf> {
    make_directory(scratch)?;
    let content = scratch.join("content");
    make_directory(&content)?;
    let root = Dir::open_path(content.as_os_str().as_encoded_bytes())
        .map_err(|error| of_launcher(&error).file(file.path()))?;
    let Some(placement) = placements.get(index as usize) else {
        return Err(Error::new(Kind::Arguments, "there is no such slot").file(file.path()).hint("packer inspect FILE"));
    };
    // The name is part of what was signed: the tree of a slot that is one file is that file.
    let target = verified.metadata().slots.get(index as usize).map_or("", |slot| slot.target.as_str());
    let name = match store::file_name(target) {
        "" => "content",
        name => name,
    };
    store::write(verified, index, placement, &root, name, None)
        .map_err(|error| of_launcher(&error).file(file.path()))?;
    let is_archive = verified.package().descriptor(index).is_ok_and(|slot| slot.operations.is_archive());
    Ok(if is_archive { content } else { content.join(name) })
}

fn check_free(to: &Path, existing: Existing) -> Result<()> {
    if existing == Existing::Keep && to.symlink_metadata().is_ok() {
        return Err(Error::new(Kind::Io, "there is something already, and it is not overwritten")
            .file(to)
            .hint("choose another place, or add --force"));
    }
    Ok(())
}

/// A directory on the same file system as the output, which vanishes with what was not published.
struct Beside {
    directory: tempfile::TempDir,
}

impl Beside {
    fn new(to: &Path) -> Result<Self> {
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(|error| Error::io("cannot create the directory", parent, &error))?;
        let directory = tempfile::Builder::new()
            .prefix(".packer-")
            .suffix(".tmp")
            .tempdir_in(parent)
            .map_err(|error| Error::io("cannot write to the directory", parent, &error))?;
        Ok(Self { directory })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn publish(self, from: &Path, to: &Path, existing: Existing) -> Result<()> {
        let failed = |error| Error::io("cannot extract to", to, &error);
        if existing == Existing::Replace && to.symlink_metadata().is_ok() {
            fs::rename(to, self.path().join("replaced")).map_err(failed)?;
        }
        fs::rename(from, to).map_err(failed)
    }
}

fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir(path).map_err(|error| Error::io("cannot create", path, &error))
}
