//! The launchers that packer carries.
//!
//! A launcher is the native executable at the front of a package. The one for x86-64 Linux is built
//! from `launcher/freestanding` by packer's build script and embedded here, so packer is one file and
//! needs no compiler where it runs. `--launcher-bin` takes another one instead.

/// The launcher for the platform that packer was built for, or `None` where there is none yet.
///
/// It is a static executable without libc, so it fits every x86-64 Linux, whatever its distribution.
pub fn built_in() -> Option<&'static [u8]> {
    Some(EMBEDDED).filter(|launcher| !launcher.is_empty())
}

/// Empty on other platforms than x86-64 Linux.
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pspf-launcher"));

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_executable_of_this_platform() {
        let launcher = launcher();
        assert_eq!(&launcher[..6], b"\x7fELF\x02\x01", "64 bits, little-endian");
        assert_eq!(u16_at(launcher, 16), 2, "e_type: ET_EXEC, that is, not position-independent");
        assert_eq!(u16_at(launcher, 18), 62, "e_machine: x86-64");
    }

    #[test]
    fn it_is_at_most_128_kib() {
        let len = launcher().len();
        assert!(len <= 131_072, "{len} bytes");
    }

    #[test]
    fn it_needs_no_loader_and_no_libraries() {
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
    fn its_stack_is_not_executable() {
        let stack = segments().find(|segment| segment.kind == PT_GNU_STACK);
        let stack = stack.expect("without PT_GNU_STACK the kernel makes the stack executable");
        assert_eq!(stack.flags & PF_X, 0);
    }

    #[test]
    fn it_does_not_tell_where_it_was_built() {
        let root = env!("CARGO_MANIFEST_DIR").trim_end_matches("packer");
        let home = std::env::home_dir().expect("cargo runs with one");
        for path in [root, home.to_str().expect("UTF-8"), "registry/src"] {
            // A home directory of "/" says nothing.
            if path.len() > 1 {
                assert!(!launcher().windows(path.len()).any(|bytes| bytes == path.as_bytes()), "{path}");
            }
        }
    }

    #[test]
    fn its_dependencies_have_the_versions_of_the_workspace() {
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

    fn launcher() -> &'static [u8] {
        built_in().expect("there is one for this platform")
    }

    /// The parts of a program header that matter here.
    #[derive(Debug)]
    struct Segment {
        kind: u32,
        flags: u32,
    }

    fn segments() -> impl Iterator<Item = Segment> {
        let launcher = launcher();
        let table = u64::from_le_bytes(launcher[32..40].try_into().unwrap()) as usize;
        let (size, count) = (usize::from(u16_at(launcher, 54)), usize::from(u16_at(launcher, 56)));
        assert!(count > 0);
        (0..count).map(move |i| {
            let header = &launcher[table + i * size..];
            Segment { kind: u32_at(header, 0), flags: u32_at(header, 4) }
        })
    }

    fn u16_at(bytes: &[u8], at: usize) -> u16 {
        u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    // <elf.h>
    const PT_DYNAMIC: u32 = 2;
    const PT_INTERP: u32 = 3;
    const PT_GNU_STACK: u32 = 0x6474_e551;
    const PF_X: u32 = 1;
    const PF_W: u32 = 2;
}
