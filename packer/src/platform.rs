//! Which machines a package is for.

use std::fmt;

/// An operating system, and perhaps a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// The operating system.
    pub os: Os,
    /// The processor; `None` for any.
    pub arch: Option<Arch>,
}

/// An operating system; the number is the one in slot descriptors (docs/format.md section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Os {
    /// Linux
    Linux = 1,
    /// macOS
    Darwin = 2,
    /// Windows
    Windows = 3,
}

/// A processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// x86-64
    Amd64,
    /// AArch64
    Arm64,
}

impl Platform {
    /// All spellings of platforms, for errors.
    pub const NAMES: [&'static str; 9] = [
        "linux",
        "darwin",
        "windows",
        "linux_amd64",
        "linux_arm64",
        "darwin_amd64",
        "darwin_arm64",
        "windows_amd64",
        "windows_arm64",
    ];

    /// The spellings that `packer pack --platform` takes: a package is for one processor.
    pub const TARGETS: [&'static str; 6] =
        ["linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64", "windows_amd64", "windows_arm64"];

    /// The platform that packer itself runs on; `None` where it has no name in the format.
    pub fn host() -> Option<Self> {
        let os = match std::env::consts::OS {
            "linux" => Os::Linux,
            "macos" => Os::Darwin,
            "windows" => Os::Windows,
            _ => return None,
        };
        let arch = match std::env::consts::ARCH {
            "x86_64" => Arch::Amd64,
            "aarch64" => Arch::Arm64,
            _ => return None,
        };
        Some(Self { os, arch: Some(arch) })
    }

    /// Parses "linux" or "linux_amd64".
    pub fn from_name(name: &str) -> Option<Self> {
        let (os, arch) = match name.split_once('_') {
            Some((os, arch)) => (os, Some(Arch::from_name(arch)?)),
            None => (name, None),
        };
        let os = [Os::Linux, Os::Darwin, Os::Windows].into_iter().find(|known| known.name() == os)?;
        Some(Self { os, arch })
    }

    /// What a program runs on, by its header; `None` when it is no program that could be a launcher.
    pub fn of_program(program: &[u8]) -> Option<Self> {
        let u16_at = |at: usize| Some(u16::from_le_bytes(program.get(at..at + 2)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_le_bytes(program.get(at..at + 4)?.try_into().ok()?));
        if program.starts_with(b"\x7fELF") {
            let arch = match u16_at(18)? {
                62 => Some(Arch::Amd64),
                183 => Some(Arch::Arm64),
                _ => None,
            };
            return Some(Self { os: Os::Linux, arch });
        }
        if program.starts_with(b"MZ") {
            let header = usize::try_from(u32_at(60)?).ok()?;
            let arch = match u16_at(header.checked_add(4)?) {
                Some(0x8664) => Some(Arch::Amd64),
                Some(0xaa64) => Some(Arch::Arm64),
                _ => None,
            };
            return Some(Self { os: Os::Windows, arch });
        }
        if program.starts_with(&[0xcf, 0xfa, 0xed, 0xfe]) {
            let arch = match u32_at(4)? {
                0x0100_0007 => Some(Arch::Amd64),
                0x0100_000c => Some(Arch::Arm64),
                _ => None,
            };
            return Some(Self { os: Os::Darwin, arch });
        }
        None
    }

    /// True when what is for this platform is of use on the other one.
    pub fn fits(self, other: Self) -> bool {
        self.os == other.os && (self.arch.is_none() || other.arch.is_none() || self.arch == other.arch)
    }
}

impl Os {
    /// The name in metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Darwin => "darwin",
            Self::Windows => "windows",
        }
    }
}

impl Arch {
    /// The name in metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Amd64, Self::Arm64].into_iter().find(|known| known.name() == name)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.os.name())?;
        self.arch.map_or(Ok(()), |arch| write!(f, "_{}", arch.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in Platform::NAMES {
            assert_eq!(Platform::from_name(name).unwrap().to_string(), name);
        }
        for name in ["", "any", "linux_", "linux_x86", "Linux", "linux_amd64_"] {
            assert_eq!(Platform::from_name(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_platform_without_a_processor_fits_every_one() {
        let platform = |name| Platform::from_name(name).unwrap();
        assert!(platform("linux").fits(platform("linux_arm64")));
        assert!(!platform("linux_amd64").fits(platform("linux_arm64")));
        assert!(!platform("darwin").fits(platform("linux_arm64")));
    }

    #[test]
    fn a_program_tells_its_platform() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(Platform::of_program(&own).map(|platform| platform.os), Some(Os::Linux));
        for bytes in [&b""[..], b"\x7fELF", b"MZ", b"#!/bin/sh\n"] {
            assert_eq!(Platform::of_program(bytes), None, "{bytes:?}");
        }
    }
}
