//! `cargo xtask tamper`: what a package does whose launcher was changed. Whoever changes the launcher changes what checks
//! it, so that no number here is a promise; `packer verify` and `packer run` do not ask that launcher.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::options::{self, Takes};
use crate::project::{self, cargo, output};
use crate::{results, size};

/// What the app prints, and what it exits with.
const STARTED: &str = "the app was started\n";
const EXIT: u8 = 42;
/// A started process gets this long, in seconds; an unchanged package needs some milliseconds.
const PATIENCE: &str = "2";

pub(crate) fn run(args: &[String]) -> Result<()> {
    let (mut write, mut samples) = (false, 1000);
    let options = &mut [("--write", Takes::Nothing(&mut write)), ("--samples", Takes::Number(&mut samples))];
    options::read("tamper", args, options)?;
    let samples = usize::try_from(samples)?;
    let is_root = output("id", &["-u"]).is_some_and(|id| id == "0");
    ensure!(is_root, "tamper needs root: it starts each package as nobody, in a root directory of its own");
    project::run(&mut cargo(&["build", "--locked", "--package", "packer"]))?;
    let place = Place::new()?;
    let good = place.pack()?;
    let launcher = number(&good, good.len() - 8196 + 16);
    for cache in Cache::ALL {
        let unchanged = place.start(cache, &good)?;
        ensure!(outcome(&unchanged) == Outcome::Started, "the unchanged package does not start: {unchanged:?}");
    }

    let parts = parts(&good[..launcher])?;
    let mut counts: Counts = BTreeMap::new();
    // Few places of an even spread would lie in the headers, and they are what the kernel reads.
    let headers = parts[0].1.end;
    let spread = (0..samples).map(|nth| headers + nth * (launcher - headers) / samples);
    for (nth, at) in (0..headers).chain(spread).enumerate() {
        let mut changed = good.clone();
        // An odd number of bits further each time, so that every bit gets its turn.
        let bit = nth * 5 % 8;
        changed[at] ^= 1 << bit;
        let part = parts.iter().find(|(_, range)| range.contains(&at)).map_or("padding", |(name, _)| name);
        for cache in Cache::ALL {
            let outcome = outcome(&place.start(cache, &changed)?);
            if matches!(outcome, Outcome::Started | Outcome::Other) {
                println!("{outcome:?}: byte {at} ({part}), bit {bit}, {}", cache.name());
            }
            *counts.entry((cache, part)).or_default().entry(outcome).or_default() += 1;
        }
    }
    let report = report(&counts, launcher, samples, headers);
    results::publish("tamper", &report, write)
}

type Counts = BTreeMap<(Cache, &'static str), BTreeMap<Outcome, usize>>;

/// What came of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Refused,
    Crashed,
    Hung,
    NoProgram,
    Other,
    Started,
}

impl Outcome {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Refused, "refused"),
        (Self::Crashed, "crashed"),
        (Self::Hung, "hung"),
        (Self::NoProgram, "no program to the kernel"),
        (Self::Other, "ended otherwise"),
        (Self::Started, "started the app"),
    ];
}

/// What was there before the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cache {
    /// Nothing: everything is checked and extracted.
    Cold,
    /// What the unchanged package left.
    Warm,
}

impl Cache {
    const ALL: [Self; 2] = [Self::Cold, Self::Warm];

    fn name(self) -> &'static str {
        match self {
            Self::Cold => "first start",
            Self::Warm => "later start",
        }
    }
}

fn outcome(output: &Output) -> Outcome {
    let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default());
    match code {
        _ if output.stdout == STARTED.as_bytes() => Outcome::Started,
        // timeout's own code when it had to kill.
        137 => Outcome::Hung,
        101..=110 if output.stdout.is_empty() && !output.stderr.is_empty() => Outcome::Refused,
        126 | 127 => Outcome::NoProgram,
        128.. => Outcome::Crashed,
        _ => Outcome::Other,
    }
}

/// A directory for packages, and the way to start them where they can do no harm.
struct Place {
    directory: PathBuf,
}

impl Place {
    fn new() -> Result<Self> {
        let directory = project::target().join("tamper");
        fs::create_dir_all(directory.join("root")).context("no directory for packages")?;
        Ok(Self { directory })
    }

    /// A package of the real launcher and an app of a few bytes.
    fn pack(&self) -> Result<Vec<u8>> {
        let (app, package) = (self.directory.join("app"), self.directory.join("good.psp"));
        fs::write(&app, program())?;
        fs::set_permissions(&app, fs::Permissions::from_mode(0o755))?;
        let manifest = "[package]\nname = \"tamper\"\nversion = \"1\"\n[execution]\ncommand = \"{workenv}/app\"\n\
                        [[slots]]\nid = \"app\"\nsource = \"app\"\noperations = \"raw\"\n";
        fs::write(self.directory.join("app.toml"), manifest)?;
        let mut pack = Command::new(project::target().join("debug/packer"));
        pack.args(["pack", "--quiet", "--key-seed", "tamper", "--manifest"]).arg(self.directory.join("app.toml"));
        pack.arg("--output").arg(&package).env("PSPF_CACHE_DIR", self.directory.join("cache"));
        project::run(&mut pack)?;
        Ok(fs::read(package)?)
    }

    /// Starts a package as nobody, in a root that holds nothing else and may not be written, with name spaces for
    /// mounts, processes and the network of its own, and limits of memory, time and file sizes.
    fn start(&self, cache: Cache, package: &[u8]) -> Result<Output> {
        const SCRIPT: &str = r#"
            set -e
            directory=$1 cache=$2 patience=$3 root=$directory/root
            mount -t tmpfs -o size=4m,mode=755 tmpfs "$root"
            mkdir "$root/cache"
            mount -t tmpfs -o size=4m,mode=700,uid=65534,gid=65534 tmpfs "$root/cache"
            cp "$directory/good.psp" "$root/good"; cp "$directory/changed.psp" "$root/package"
            chmod 555 "$root/good" "$root/package"
            mount -o remount,ro "$root"
            cd "$root"
            inside() { env -i PATH="$PATH" PSPF_CACHE_DIR=/cache "$@"; }
            as_nobody="chroot --userspec=65534:65534 . "
            [ "$cache" = Cold ] || inside $as_nobody /good >/dev/null || [ $? = 42 ]
            ulimit -v 131072; ulimit -t 5; ulimit -f 8192; ulimit -c 0
            inside timeout -s KILL "$patience" $as_nobody /package"#;
        fs::write(self.directory.join("changed.psp"), package)?;
        let mut start = Command::new("unshare");
        start.args(["--mount", "--pid", "--fork", "--kill-child", "--net", "--ipc", "sh", "-c", SCRIPT, "sh"]);
        start.arg(&self.directory).args([&format!("{cache:?}"), PATIENCE]);
        start.stdin(Stdio::null()).output().context("unshare does not start")
    }
}

/// A static program that prints [`STARTED`] and exits with [`EXIT`].
fn program() -> Vec<u8> {
    const BASE: u32 = 0x40_0000;
    const HEADERS: u32 = 64 + 56;
    const CODE: u32 = 34;
    let text = (BASE + HEADERS + CODE).to_le_bytes();
    let size = (STARTED.len() as u32).to_le_bytes();
    // mov eax, 1 (write); mov edi, 1; mov esi, text; mov edx, size; syscall; mov eax, 60 (exit); mov edi, EXIT; syscall
    let code = [
        &[0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0xbe][..],
        &text,
        &[0xba],
        &size,
        &[0x0f, 0x05, 0xb8, 60, 0, 0, 0, 0xbf, EXIT, 0, 0, 0, 0x0f, 0x05],
    ]
    .concat();
    let all = u64::from(HEADERS) + (code.len() + STARTED.len()) as u64;
    let header = [
        &b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"[..],
        // e_type: executable; e_machine: x86-64; e_version
        &[2, 0, 62, 0, 1, 0, 0, 0],
        // e_entry, e_phoff, e_shoff
        &u64::from(BASE + HEADERS).to_le_bytes(),
        &64_u64.to_le_bytes(),
        &[0; 8],
        // e_flags; sizes of the header and of the one program header
        &[0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0],
        // p_type: load; p_flags: read and execute; p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
        &[1, 0, 0, 0, 5, 0, 0, 0],
        &[0; 8],
        &u64::from(BASE).to_le_bytes(),
        &u64::from(BASE).to_le_bytes(),
        &all.to_le_bytes(),
        &all.to_le_bytes(),
        &0x1000_u64.to_le_bytes(),
    ]
    .concat();
    [&header[..], &code, STARTED.as_bytes()].concat()
}

/// The parts of a launcher, in the order in which they are looked for.
fn parts(launcher: &[u8]) -> Result<Vec<(&'static str, Range<usize>)>> {
    let headers = 64 + 56 * usize::from(u16::from_le_bytes([launcher[56], launcher[57]]));
    let mut parts = vec![("ELF headers", 0..headers)];
    for segment in size::segments(launcher)? {
        let name = segment.what.split(':').next().unwrap_or(segment.what);
        parts.push((name, segment.offset as usize..(segment.offset + segment.size) as usize));
    }
    Ok(parts)
}

fn report(counts: &Counts, launcher: usize, samples: usize, headers: usize) -> String {
    let mut text = format!(
        "# Changed launchers\n\nWritten by `cargo xtask tamper --write`. One bit of the launcher was changed, in each of the {headers} bytes \
         of its ELF headers\nand at {samples} places spread evenly over the rest of its {launcher} bytes, and the package started: as \
         nobody, in a\nroot directory that holds nothing else. What the counts mean is in docs/format.md, section 4.10.\n\n"
    );
    let _ = writeln!(text, "| start | part of the launcher | {} |", Outcome::ALL.map(|(_, name)| name).join(" | "));
    let _ = writeln!(text, "|---|---|{}", "---:|".repeat(Outcome::ALL.len()));
    for cache in Cache::ALL {
        let mut all: BTreeMap<Outcome, usize> = BTreeMap::new();
        for ((of, part), outcomes) in counts.iter().filter(|((of, _), _)| *of == cache) {
            let _ = writeln!(text, "| {} | {part} | {} |", of.name(), row(outcomes));
            for (outcome, count) in outcomes {
                *all.entry(*outcome).or_default() += count;
            }
        }
        let _ = writeln!(text, "| {} | **all** | {} |", cache.name(), row(&all));
    }
    let _ = writeln!(text, "\n{}", results::measured());
    text
}

fn row(outcomes: &BTreeMap<Outcome, usize>) -> String {
    Outcome::ALL.map(|(outcome, _)| outcomes.get(&outcome).copied().unwrap_or_default().to_string()).join(" | ")
}

/// A number of the index, in eight bytes.
fn number(bytes: &[u8], at: usize) -> usize {
    bytes[at..at + 8].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
}
