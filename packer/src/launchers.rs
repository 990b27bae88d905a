//! The launchers that packer carries.
//!
//! A launcher is the native executable at the front of a package. Those for x86-64 Linux are built
//! from `launcher/freestanding` by packer's build script and embedded here, so packer is one file and
//! needs no compiler where it runs. `--launcher-bin` takes another one instead.
//!
//! | launcher | slots | setup commands run programs | size |
//! |---|---|---|---|
//! | `pspf-launcher` | those that packer makes itself, with gzip | no | [`SMALL_LIMIT`] at most |
//! | `pspf-launcher-all` | also bzip2, xz, zstd, and what others made | yes | [`ALL_LIMIT`] at most |
//!
//! They are static executables without libc, so they fit every x86-64 Linux, whatever its distribution.
//!
//! For other platforms, and for those who want another one, there is a [registry](Registry) of the user's.

mod choose;
mod registry;
mod wheel;

pub use choose::{Choice, Chosen, choose};
pub use registry::{Naming, Registered, Registry};

/// The largest that `pspf-launcher` may become, in bytes.
pub const SMALL_LIMIT: usize = 128 << 10;
/// The largest that `pspf-launcher-all` may become, in bytes.
pub const ALL_LIMIT: usize = 256 << 10;

/// The smallest launcher for the platform that packer was built for, or `None` where there is none yet.
pub fn built_in() -> Option<&'static [u8]> {
    built_in_for(false)
}

/// The smallest launcher that is enough for a package which [needs all](crate::plan::Plan::needs_all) or does not; `None`
/// where there is none for the platform yet.
pub fn built_in_for(needs_all: bool) -> Option<&'static [u8]> {
    Some(if needs_all { ALL } else { SMALL }).filter(|launcher| !launcher.is_empty())
}

/// Whose rules a package keeps to, so that its launcher can start it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Ours: all of docs/format.md.
    Packer,
    /// FlavorPack's: gzip alone, no symbolic links, and every archive is unpacked into the workenv's root.
    FlavorPack,
}

impl Dialect {
    /// The one of this launcher. FlavorPack's launchers, in Rust and in Go, have the names of their own modules in them.
    pub fn of(program: &[u8]) -> Self {
        const MODULE: &[u8] = b"format_2025";
        if program.windows(MODULE.len()).any(|bytes| bytes == MODULE) { Self::FlavorPack } else { Self::Packer }
    }
}

/// The name and the size in bytes of each launcher that packer carries.
pub fn carried() -> Vec<(&'static str, u64)> {
    let all = [(choose::PACKER, SMALL), (choose::PACKER_ALL, ALL)];
    all.into_iter()
        .filter(|(_, program)| !program.is_empty())
        .map(|(name, program)| (name, program.len() as u64))
        .collect()
}

/// Empty on other platforms than x86-64 Linux, as is the other one.
static SMALL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pspf-launcher"));
static ALL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pspf-launcher-all"));

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn they_are_executables_of_this_platform() {
        for launcher in LAUNCHERS {
            assert_eq!(&launcher[..6], b"\x7fELF\x02\x01", "64 bits, little-endian");
            assert_eq!(u16_at(launcher, 16), 2, "e_type: ET_EXEC, that is, not position-independent");
            assert_eq!(u16_at(launcher, 18), 62, "e_machine: x86-64");
        }
    }

    #[test]
    fn the_small_one_stays_within_its_limit() {
        assert!(SMALL.len() <= SMALL_LIMIT, "{} bytes", SMALL.len());
    }

    #[test]
    fn the_one_for_all_codecs_stays_within_its_limit() {
        assert!(ALL.len() <= ALL_LIMIT, "{} bytes", ALL.len());
    }

    #[test]
    fn they_need_no_loader_and_no_libraries() {
        for segment in segments() {
            assert!(![PT_INTERP, PT_DYNAMIC].contains(&segment.kind), "{segment:?}");
        }
    }

    #[test]
    fn no_memory_is_both_writable_and_executable() {
        for segment in segments() {
            assert_ne!(segment.flags & (PF_W | PF_X), PF_W | PF_X, "{segment:?}");
        }
    }

    #[test]
    fn their_stacks_are_not_executable() {
        let stacks: Vec<_> = segments().filter(|segment| segment.kind == PT_GNU_STACK).collect();
        assert_eq!(stacks.len(), LAUNCHERS.len(), "without PT_GNU_STACK the kernel makes the stack executable");
        assert!(stacks.iter().all(|stack| stack.flags & PF_X == 0), "{stacks:?}");
    }

    #[test]
    fn they_do_not_tell_where_they_were_built() {
        let root = env!("CARGO_MANIFEST_DIR").trim_end_matches("packer");
        let home = std::env::home_dir().expect("cargo runs with one");
        for path in [root, home.to_str().expect("UTF-8"), "registry/src"] {
            // A home directory of "/" says nothing.
            if path.len() > 1 {
                for launcher in LAUNCHERS {
                    assert!(!launcher.windows(path.len()).any(|bytes| bytes == path.as_bytes()), "{path}");
                }
            }
        }
    }

    #[test]
    fn their_dependencies_have_the_versions_of_the_workspace() {
        let ours = locked(include_str!("../../Cargo.lock"));
        for package in locked(include_str!("../../launcher/freestanding/Cargo.lock")) {
            assert!(
                ours.contains(&package),
                "{package:?} is not in Cargo.lock: run `cargo update` in launcher/freestanding, with --precise where needed"
            );
        }
    }

    /// Name, version and checksum of the packages from registries in a lock file.
    fn locked(lock: &str) -> Vec<[&str; 3]> {
        let packages = lock.split("[[package]]").skip(1).filter_map(|package| {
            let value = |name| package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            Some([value("name")?, value("version")?, value("checksum")?])
        });
        packages.collect()
    }

    /// The parts of a program header that matter here.
    #[derive(Debug)]
    struct Segment {
        kind: u32,
        flags: u32,
    }

    /// Those of all launchers.
    fn segments() -> impl Iterator<Item = Segment> {
        LAUNCHERS.iter().flat_map(|launcher| {
            let table = u64::from_le_bytes(launcher[32..40].try_into().unwrap()) as usize;
            let (size, count) = (usize::from(u16_at(launcher, 54)), usize::from(u16_at(launcher, 56)));
            assert!(count > 0);
            (0..count).map(move |i| {
                let header = &launcher[table + i * size..];
                Segment { kind: u32_at(header, 0), flags: u32_at(header, 4) }
            })
        })
    }

    fn u16_at(bytes: &[u8], at: usize) -> u16 {
        u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    static LAUNCHERS: [&[u8]; 2] = [SMALL, ALL];

    // <elf.h>
    const PT_DYNAMIC: u32 = 2;
    const PT_INTERP: u32 = 3;
    const PT_GNU_STACK: u32 = 0x6474_e551;
    const PF_X: u32 = 1;
    const PF_W: u32 = 2;
}
