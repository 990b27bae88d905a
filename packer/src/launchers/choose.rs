//! Which launcher a package gets: ours for this platform, else one of the registry, or the file that was named.

use std::fs;
use std::path::{Path, PathBuf};

use super::registry::{Registered, Registry};
use super::{Dialect, built_in, built_in_for};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;

/// Which launcher goes in front of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// Ours where there is one for the platform, else the newest of the registry, one in Rust first.
    #[default]
    Automatic,
    /// "rust" (ours is one), "go", or any kind or name in the registry.
    Named(String),
    /// The one in this file.
    File(PathBuf),
}

/// A launcher that was chosen, and what follows from it.
#[derive(Debug)]
pub struct Chosen {
    name: String,
    /// What its packages run on.
    pub platform: Platform,
    /// Whose rules its packages keep to.
    pub dialect: Dialect,
    program: Program,
}

#[derive(Debug)]
enum Program {
    /// One of ours; which one depends on what is packed.
    BuiltIn,
    Read(Vec<u8>),
}

impl Chosen {
    /// How it is called in reports; `needs_all` as for [`program`](Self::program).
    pub fn name(&self, needs_all: bool) -> &str {
        match self.program {
            Program::BuiltIn if needs_all => PACKER_ALL,
            _ => &self.name,
        }
    }

    /// Its bytes. `needs_all`: whether the package needs more than the smaller one of ours can do.
    pub fn program(self, needs_all: bool) -> Result<Vec<u8>> {
        match self.program {
            Program::Read(bytes) => Ok(bytes),
            Program::BuiltIn => Ok(built_in_for(needs_all).ok_or_else(|| nowhere(None, "", &[]))?.to_vec()),
        }
    }

    /// Its size in bytes.
    pub fn size(&self, needs_all: bool) -> u64 {
        match &self.program {
            Program::Read(bytes) => bytes.len() as u64,
            Program::BuiltIn => built_in_for(needs_all).map_or(0, <[u8]>::len) as u64,
        }
    }
}

/// Chooses a launcher for `platform`, or for the one that packer was built for.
pub fn choose(choice: &Choice, platform: Option<Platform>) -> Result<Chosen> {
    if let Choice::File(path) = choice {
        return given(path, platform);
    }
    let own = built_in().and_then(Platform::of_program);
    let wanted = platform.or(own);
    let ours = own.filter(|own| wanted == Some(*own));
    let name = match choice {
        Choice::Named(name) => Some(name.as_str()),
        _ => None,
    };
    if let Some(platform) = ours
        && name.is_none_or(|name| [RUST, PACKER, PACKER_ALL].contains(&name))
    {
        return Ok(Chosen { name: PACKER.to_owned(), platform, dialect: Dialect::Packer, program: Program::BuiltIn });
    }
    let registry = Registry::of_this_user()?;
    let found = match (name, wanted) {
        (Some(name), _) => match registry.find(name, wanted)? {
            Some(found) => Some(found),
            // A whole name says its platform.
            None => registry.find(name, None)?.filter(|_| platform.is_none()),
        },
        (None, Some(platform)) => {
            let rust = registry.find(RUST, Some(platform))?;
            rust.or(registry.list()?.into_iter().rfind(|launcher| launcher.platform == platform))
        }
        (None, None) => None,
    };
    let Some(found) = found else {
        return Err(nowhere(wanted, name.unwrap_or_default(), &registry.list()?));
    };
    let program = registry.read(&found)?;
    Ok(Chosen {
        dialect: Dialect::of(&program),
        platform: found.platform,
        name: found.name,
        program: Program::Read(program),
    })
}

fn given(path: &Path, platform: Option<Platform>) -> Result<Chosen> {
    let program = fs::read(path).map_err(|error| Error::io("cannot read the launcher", path, &error))?;
    let Some(own) = Platform::of_program(&program) else {
        return Err(Error::new(Kind::Arguments, "the launcher is not a program")
            .file(path)
            .field("--launcher-bin")
            .expected("an ELF, Mach-O or PE executable")
            .hint("leave --launcher-bin out to use the built-in one"));
    };
    if let Some(wanted) = platform
        && !own.fits(wanted)
    {
        return Err(Error::new(Kind::Arguments, "the launcher is for another platform than the package")
            .file(path)
            .field("--launcher-bin")
            .expected(wanted.to_string())
            .found(own.to_string())
            .hint(format!("write --platform {own}, or name a launcher for {wanted}")));
    }
    Ok(Chosen {
        name: path.display().to_string(),
        platform: own,
        dialect: Dialect::of(&program),
        program: Program::Read(program),
    })
}

fn nowhere(platform: Option<Platform>, name: &str, known: &[Registered]) -> Error {
    let place = platform.map_or(String::new(), |platform| format!(" for {platform}"));
    let what = match name {
        "" => format!("there is no launcher{place}"),
        name => format!("there is no launcher {name}{place}"),
    };
    let mut names: Vec<String> = known.iter().map(|launcher| launcher.name.clone()).collect();
    if let Some(own) = built_in().and_then(Platform::of_program) {
        names.insert(0, format!("{PACKER} ({RUST}, {own})"));
    }
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let field = if name.is_empty() { "--platform" } else { "--launcher" };
    let wheel = match platform.map(|platform| platform.to_string()).as_deref() {
        Some("windows_amd64") => "win_amd64",
        Some("windows_arm64") => "win_arm64",
        Some("darwin_arm64") => "macosx_11_0_arm64",
        Some("darwin_amd64") => "macosx_10_12_x86_64",
        Some("linux_arm64") => "manylinux2014_aarch64",
        _ => "manylinux2014_x86_64",
    };
    Error::new(Kind::Configuration, what).field(field).found(known).hint(format!(
        "packer launchers add FILE, a launcher or a wheel that carries some: pip download flavorpack --no-deps \
         --only-binary=:all: --platform {wheel}"
    ))
}

/// The kind of ours, and of FlavorPack's that is written in Rust.
const RUST: &str = "rust";
/// The names of ours: the one for most packages, and the one that reads everything.
pub(super) const PACKER: &str = "packer";
pub(super) const PACKER_ALL: &str = "packer-all";
