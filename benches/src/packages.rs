//! The packages that are started: as small as they can be, or with the slots of a real one.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use pspf_core::build::{Builder, Encoded, Slot};
use pspf_core::digest::Digest;
use pspf_core::json::Value;
use pspf_core::placement::Placement;
use pspf_core::sign::{KeyOrigin, SecretKey};
use pspf_core::{Package, Source};

/// The launcher in every package here.
pub(crate) fn launcher() -> Result<&'static [u8]> {
    packer::launchers::built_in().context("this build of packer has no launcher for this machine")
}

/// A package without slots that starts /bin/true.
pub(crate) fn only_a_command(path: &Path) -> Result<()> {
    write(path, "/bin/true", &[], &[])
}

/// A package that carries a program, and starts it.
pub(crate) fn with_program(path: &Path, program: &[u8]) -> Result<()> {
    const NAME: &str = "program";
    let mut slot = Slot::raw(NAME, NAME, &program)?;
    slot.permissions = 0o755;
    let placement = Placement::Shared(NAME.into());
    slot.encoded = Encoded::raw(NAME, Digest::of(program), program.len() as u64, &placement, slot.permissions);
    write(path, "{workenv}/program", &[slot], &[&program])
}

/// A package with the slots of another one that starts /bin/true: what it costs is the launcher's.
pub(crate) fn with_slots_of(other: &Path, path: &Path) -> Result<()> {
    let file = File::open(other)?;
    let package = Package::open(file.try_clone()?)?;
    let verified = package.verify()?;
    let claims = verified.claims().context("the package has no claims")?;
    let (mut slots, mut windows) = (Vec::new(), Vec::new());
    for (index, (claim, entry)) in (0..).zip(claims.slots.iter().zip(&verified.metadata().slots)) {
        windows.push(Window { file: &file, offset: package.descriptor(index)?.offset, len: claim.size });
        slots.push(Slot {
            id: claim.id.clone(),
            source: claim.id.clone(),
            target: entry.target.clone(),
            purpose: "payload".into(),
            lifecycle: entry.lifecycle,
            platform: claim.platform,
            permissions: claim.permissions,
            operations: claim.operations,
            encoded: Encoded {
                size: claim.size,
                original_size: claim.original_size,
                digest: claim.digest,
                tree: claim.tree,
                files: claim.files,
                chunks: claim.chunks.clone(),
            },
        });
    }
    let sources: Vec<&dyn Source> = windows.iter().map(|window| window as &dyn Source).collect();
    write(path, "/bin/true", &slots, &sources)
}

fn write(path: &Path, command: &str, slots: &[Slot], contents: &[&dyn Source]) -> Result<()> {
    let launcher = launcher()?;
    let document = Value::object([
        ("package", Value::object([("name", "bench".into()), ("version", "1.0.0".into())])),
        ("execution", Value::object([("command", command.to_owned().into())])),
    ]);
    let builder = slots.iter().fold(Builder::new(document, &launcher)?, |builder, slot| builder.slot(slot.clone()));
    let head = builder.sign(&SecretKey::from_seed_text("bench"), KeyOrigin::Seed)?;
    head.write(&launcher, contents, &mut File::create(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Part of a file.
struct Window<'a> {
    file: &'a File,
    offset: u64,
    len: u64,
}

impl Source for Window<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> pspf_core::Result<usize> {
        let left = self.len.saturating_sub(offset);
        let size = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.file.read_at(self.offset + offset, &mut buf[..size])
    }
}

/// The smallest useful program: an ELF header, one segment, and `exit(0)`. What starting it costs is the kernel's.
pub(crate) fn smallest_program() -> Vec<u8> {
    const ADDRESS: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    // mov eax, 60 (exit); xor edi, edi; syscall
    const CODE: [u8; 9] = [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
    let size = HEADERS + CODE.len() as u64;
    let mut elf = Vec::from(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // e_type ET_EXEC, e_machine x86-64, e_version; e_entry, e_phoff, e_shoff.
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    [ADDRESS + HEADERS, 64, 0].iter().for_each(|word| elf.extend(word.to_le_bytes()));
    // e_flags, e_ehsize, e_phentsize, e_phnum, no sections.
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    // PT_LOAD, read and execute: all of the file.
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    [0, ADDRESS, ADDRESS, size, size, 4096].iter().for_each(|word| elf.extend(word.to_le_bytes()));
    elf.extend(CODE);
    elf
}

/// A copy of a project that may be changed.
pub(crate) fn copy_project(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() && entry.file_name() != "__pycache__" => copy_project(&entry.path(), &target)?,
            kind if kind.is_file() => drop(fs::copy(entry.path(), &target)?),
            _ => {}
        }
    }
    Ok(())
}

/// The helpers that flavorpack's wheel brings along, in the environment that it was installed into.
pub(crate) fn reference_helpers(venv: &Path) -> Result<PathBuf> {
    let lib = venv.join("lib");
    let pythons = fs::read_dir(&lib).context("it is not installed")?;
    let helpers = pythons.flatten().map(|python| python.path().join("site-packages/flavor/helpers/bin"));
    helpers.into_iter().find(|path| path.is_dir()).context("it has no helpers for this machine")
}

/// A package of the reference, without slots, that starts /bin/true. `launcher` is `rs` or `go`.
pub(crate) fn of_the_reference(helpers: &Path, launcher: &str, scratch: &Path) -> Result<PathBuf> {
    let manifest = scratch.join("reference.json");
    let (package, execution) = (r#"{"name":"bench","version":"1.0.0"}"#, r#"{"command":"/bin/true"}"#);
    fs::write(&manifest, format!(r#"{{"package":{package},"execution":{execution},"slots":[]}}"#))?;
    let path = scratch.join(format!("reference-{launcher}.psp"));
    let mut build = std::process::Command::new(helper(helpers, "flavor-rs-builder")?);
    build.arg("--manifest").arg(&manifest).arg("--output").arg(&path).args(["--key-seed", "bench"]);
    build.arg("--launcher-bin").arg(helper(helpers, &format!("flavor-{launcher}-launcher"))?);
    crate::process::prepare(&mut build)?;
    ensure!(path.is_file(), "its builder made no package");
    Ok(path)
}

fn helper(helpers: &Path, prefix: &str) -> Result<PathBuf> {
    let found = fs::read_dir(helpers)?.flatten().find(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(prefix)
    });
    found.map(|entry| entry.path()).with_context(|| format!("there is no {prefix} for this machine"))
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::process::Program;

    #[test]
    fn the_smallest_program_runs() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("smallest");
        fs::write(&path, smallest_program()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Program::new(&path).run().unwrap();
    }
}
