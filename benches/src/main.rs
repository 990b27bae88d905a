//! `cargo xtask bench`: what packages and the packer cost, side by side with what they stand in for.
//!
//! ```text
//! load       many starts at once: `cargo xtask load`
//! machine    what the numbers depend on
//! packages   what is started: an empty package, one with a tiny program, one with hello-cli's slots, the reference's
//! process    posix_spawn, wait4: time, processor time and peak memory of one run
//! series     runs that take turns, medians, ratios
//! report     Markdown
//! ```

mod load;
mod machine;
mod packages;
mod process;
mod report;
mod series;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use process::{Program, Sample};
use report::{PAIRED, Report, SINGLE, bytes, mib};
use series::{Pair, Series};

/// What was asked for.
#[derive(Debug, Default)]
struct Options {
    /// Write benches/RESULTS.md as well.
    write: bool,
    /// A tenth of the rounds: to see that it works.
    quick: bool,
    /// The environment that flavorpack is installed in, to compare with it.
    peers: Option<PathBuf>,
    /// Many starts at once, in place of everything else; written to benches/RESULTS-load.md.
    load: bool,
    /// The interpreter to pack; its prefix has to be its own.
    python: Option<PathBuf>,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let mut options = Options::default();
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().map(PathBuf::from).with_context(|| format!("{} needs a path", arg.display()));
        match arg.to_str() {
            Some("--write") => options.write = true,
            Some("--quick") => options.quick = true,
            Some("--load") => options.load = true,
            Some("--peers") => options.peers = Some(value()?),
            Some("--python") => options.python = Some(value()?),
            _ => bail!("bench does not know {arg:?}; it takes --write, --quick, --load, --peers DIR and --python FILE"),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<()> {
    ctrlc::set_handler(|| process::STOPPED.store(true, Ordering::Relaxed))?;
    let bench = Bench::new(options)?;
    let (text, name) =
        if options.load { (load::run(&bench)?, "RESULTS-load.md") } else { (costs(&bench, options)?, "RESULTS.md") };
    print!("{text}");
    if options.write {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote benches/{name}");
    }
    Ok(())
}

/// What one start costs, and what packing does.
fn costs(bench: &Bench, options: &Options) -> Result<String> {
    let mut report = Report::new(&options.command(), &bench.memory.kind, &bench.disk.kind);
    let project = Project::new(bench, options)?;
    sizes(&project, &mut report)?;
    starts(bench, options, &mut report)?;
    hello(bench, &project, &mut report)?;
    extraction(bench, &project, &mut report)?;
    // Last: it deletes thousands of files, and ext4 then looks for new inodes for minutes.
    tool(bench, &project, &mut report)?;
    Ok(report.finish())
}

impl Options {
    /// The command to type for the same again.
    fn command(&self) -> String {
        let mut words = vec!["cargo xtask bench"];
        for (given, flag) in [
            (self.quick, "--quick"),
            (self.peers.is_some(), "--peers"),
            (self.python.is_some(), "--python FILE"),
            (self.write, "--write"),
        ] {
            if given {
                words.push(flag);
            }
        }
        words.join(" ")
    }
}

/// A directory that goes away, and the file system that it is on.
struct Place {
    dir: TempDir,
    kind: String,
}

impl Place {
    fn in_dir(parent: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("pspf-bench-").tempdir_in(parent)?;
        Ok(Self { kind: machine::file_system(dir.path()), dir })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// True when programs may be started from it.
    fn runs_programs(&self) -> bool {
        let program = self.path().join("probe");
        fs::write(&program, packages::smallest_program()).is_ok()
            && fs::set_permissions(&program, executable()).is_ok()
            && Program::new(program).run().is_ok()
    }
}

/// Where things are, and how often they are run.
struct Bench {
    /// For caches: a file system in memory where there is one, so that no disk has a say.
    memory: Place,
    /// For packages, and for caches where it says so.
    disk: Place,
    packer: PathBuf,
    quick: bool,
}

impl Bench {
    fn new(options: &Options) -> Result<Self> {
        let own = std::env::current_exe()?;
        let built = own.parent().context("this program lies in no directory")?;
        let packer = built.join("packer");
        ensure!(packer.is_file(), "packer is not built: cargo build --release --package packer");
        let disk = Place::in_dir(built)?;
        let memory = Place::in_dir(Path::new("/dev/shm")).ok().filter(Place::runs_programs);
        let memory = match memory {
            Some(memory) => memory,
            None => Place::in_dir(built)?,
        };
        // No program shall find a configuration or a module where this was called.
        std::env::set_current_dir(disk.path())?;
        Ok(Self { memory, disk, packer, quick: options.quick })
    }

    fn rounds(&self, count: usize) -> usize {
        if self.quick { count.div_ceil(10).max(2) } else { count }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    fn home(&self) -> PathBuf {
        self.file("home")
    }

    fn packer_cache(&self) -> PathBuf {
        self.file("packer-cache")
    }

    /// A program with the environment of somebody who has just logged in.
    fn program(&self, path: impl Into<PathBuf>) -> Program {
        Program::new(path).env("HOME", self.home()).env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8")
    }

    /// A package whose cache is `cache`.
    fn package(&self, path: impl Into<PathBuf>, cache: &Path) -> Program {
        self.program(path).env("PSPF_CACHE_DIR", cache)
    }
}

/// hello-cli: a copy of its sources, its package, and what it would run in without us.
struct Project {
    sources: PathBuf,
    python: String,
    package: PathBuf,
    /// The same sources packed again after a change.
    changed: PathBuf,
    /// A plain virtual environment of the same interpreter, with the project installed by pip.
    venv: PathBuf,
}

impl Project {
    fn new(bench: &Bench, options: &Options) -> Result<Self> {
        eprintln!("packing hello-cli, and installing it beside");
        let sources = bench.file("hello-cli");
        packages::copy_project(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hello-cli"), &sources)?;
        fs::create_dir_all(bench.home())?;

        let python = options.python.clone().unwrap_or_else(|| "python3".into());
        let own_path = ["-c", "import os, sys; print(os.path.realpath(sys.executable))"];
        let python = process::prepare(Command::new(&python).args(own_path))
            .context("a Python is needed to pack; name one with --python")?;
        let venv = bench.file("venv");
        process::prepare(Command::new(&python).args(["-I", "-m", "venv"]).arg(&venv))?;
        let install = ["-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        process::prepare(Command::new(venv.join("bin/python")).args(install).arg(&sources).env("HOME", bench.home()))?;

        let (package, changed) = (bench.file("hello-cli.psp"), bench.file("changed.psp"));
        let project = Self { sources, python, package, changed, venv };
        let cache = bench.packer_cache();
        project.packing(bench, &cache, &project.package).run()?;
        project.edit(0)?;
        project.packing(bench, &cache, &project.changed).run()?;
        Ok(project)
    }

    /// `packer pack` as somebody would type it.
    fn packing(&self, bench: &Bench, cache: &Path, output: &Path) -> Program {
        let given = ["pack", "--quiet", "--key-seed", "bench", "--python", &self.python, "--manifest"];
        let program = Program::new(&bench.packer).args(given).args([self.sources.join("pyproject.toml")]);
        let program = program.args(["--output".as_ref(), output]);
        // What packing reaches the network by: proxies, indexes, certificates.
        let ours = |name: &str| name == "HOME" || name.starts_with("PSPF_") || name.starts_with("FLAVOR_");
        let caller = std::env::vars().filter(|(name, _)| !ours(name));
        let program = caller.fold(program, |program, (name, value)| program.env(&name, value));
        program.env("HOME", bench.home()).env("PSPF_CACHE_DIR", cache)
    }

    /// Changes a source so that it is another one than after every other edit.
    fn edit(&self, edit: u32) -> Result<()> {
        let source = self.sources.join("src/hello_cli/__init__.py");
        fs::write(&source, format!("EDIT = {edit}\n")).with_context(|| format!("cannot write {}", source.display()))
    }
}

/// What the first start costs the launcher, without the app.
fn extraction(bench: &Bench, project: &Project, report: &mut Report) -> Result<()> {
    let extracting = bench.file("extracting.psp");
    packages::with_slots_of(&project.package, &extracting)?;
    let note = format!(
        "The launcher alone: hello-cli's slots, extracted in full, and /bin/true as the command. Peak memory is that of the launcher \
         or of the process that started it, which had {}, whichever is more.",
        mib(process::own_peak())
    );
    report.section("First start without an app", &note, &SINGLE);
    for place in [&bench.memory, &bench.disk] {
        let mut caches = Caches::new(place, "extracting");
        let rounds = caches.rounds(bench);
        let series = Series::take(rounds, || caches.next(|cache| bench.package(&extracting, cache).run()))?;
        report.series(&format!("hello-cli's slots, cache on {}", place.kind), "<= 32 MiB", &series);
        caches.clear()?;
    }
    Ok(())
}

/// An empty cache for every round. In memory the last one is removed first; on a disk all stay until the end, because
/// ext4 makes files ten times as slowly for minutes after many were deleted.
struct Caches<'a> {
    place: &'a Place,
    name: &'static str,
    used: u32,
}

impl<'a> Caches<'a> {
    fn new(place: &'a Place, name: &'static str) -> Self {
        Self { place, name, used: 0 }
    }

    /// How many rounds there is room for.
    fn rounds(&self, bench: &Bench) -> usize {
        bench.rounds(if self.in_memory() { 20 } else { 8 })
    }

    fn next(&mut self, run: impl FnOnce(&Path) -> Result<Sample>) -> Result<Sample> {
        self.clear()?;
        self.used += 1;
        run(&self.last())
    }

    /// Makes room for others.
    fn clear(&self) -> Result<()> {
        if self.in_memory() { remove(&self.last()) } else { Ok(()) }
    }

    fn last(&self) -> PathBuf {
        self.place.path().join(format!("{}-{}", self.name, self.used))
    }

    fn in_memory(&self) -> bool {
        self.place.kind == "tmpfs"
    }
}

fn sizes(project: &Project, report: &mut Report) -> Result<()> {
    let opened = pspf_core::Package::open(fs::File::open(&project.package)?)?;
    report.section("Size", "What a package weighs, and what it is made of.", &["", "bytes", "limit"]);
    let launcher = packages::launcher()?.len() as u64;
    report.row(&["launcher", &bytes(launcher), "131,072"]);
    report.row(&["hello-cli's package", &bytes(fs::metadata(&project.package)?.len()), "20,000,000"]);
    let verified = opened.verify()?;
    for (index, slot) in (0..).zip(&verified.metadata().slots) {
        report.row(&[&format!("... its {}", slot.id), &bytes(opened.descriptor(index)?.size), ""]);
    }
    Ok(())
}

/// Packages that do nothing.
fn starts(bench: &Bench, options: &Options, report: &mut Report) -> Result<()> {
    const NOTE: &str = "A package against the same program started directly, both by posix_spawn, warm: what is extracted is \
        there. The smallest program is 129 bytes, static, and only exits.";
    report.section("Start", NOTE, &PAIRED);
    let rounds = bench.rounds(400);
    let base = bench.program("/bin/true");
    let package = bench.file("true.psp");
    packages::only_a_command(&package)?;
    for place in [&bench.memory, &bench.disk] {
        let cache = place.path().join("start");
        let program = bench.package(&package, &cache);
        let pair = Pair::take(rounds, || program.run(), || base.run())?;
        report.pair(&format!("/bin/true in a package, cache on {}", place.kind), "<= 1.6", &pair);
    }
    let smallest = packages::smallest_program();
    let path = bench.file("smallest");
    fs::write(&path, &smallest)?;
    fs::set_permissions(&path, executable())?;
    let package = bench.file("smallest.psp");
    packages::with_program(&package, &smallest)?;
    let program = bench.package(&package, &bench.memory.path().join("start"));
    let direct = bench.program(&path);
    let pair = Pair::take(rounds, || program.run(), || direct.run())?;
    report.pair(&format!("the smallest program, in a slot, cache on {}", bench.memory.kind), "", &pair);

    let Some(venv) = &options.peers else { return Ok(()) };
    for (launcher, name) in [("rs", "Rust"), ("go", "Go")] {
        let what = format!("/bin/true in a package of flavorpack 0.5.4, {name} launcher");
        let package = packages::reference_helpers(venv)
            .and_then(|helpers| packages::of_the_reference(&helpers, launcher, bench.disk.path()));
        match package {
            Ok(package) => {
                // Without it the launchers write a page of log at every start.
                let program = bench.program(package).env("FLAVOR_LOG_LEVEL", "error");
                let program = program.env("FLAVOR_CACHE", bench.memory.path().join("reference"));
                report.pair(&what, "", &Pair::take(rounds, || program.run(), || base.run())?);
            }
            Err(error) => report.skip(&what, &format!("{error:#}; cargo xtask test --install gets it")),
        }
    }
    Ok(())
}

/// A real application, warm and cold.
fn hello(bench: &Bench, project: &Project, report: &mut Report) -> Result<()> {
    const NOTE: &str = "click and rich, a table printed. The base is `python -m hello_cli` in a plain virtual environment of the same \
        interpreter. Warm: extracted before. Cold: the cache is empty at every start, the package is in the page cache. \
        Upgrade: another version has run before, and the first start of this one extracts what differs.";
    report.section("hello-cli", NOTE, &PAIRED);
    let base = bench.program(project.venv.join("bin/python")).args(["-m", "hello_cli"]);
    for place in [&bench.memory, &bench.disk] {
        let cache = place.path().join("hello");
        let program = bench.package(&project.package, &cache);
        let pair = Pair::take(bench.rounds(100), || program.run(), || base.run())?;
        report.pair(&format!("hello-cli, warm, cache on {}", place.kind), "<= 1.00", &pair);
    }
    for place in [&bench.memory, &bench.disk] {
        let mut caches = Caches::new(place, "cold");
        let rounds = caches.rounds(bench);
        let cold = || caches.next(|cache| bench.package(&project.package, cache).run());
        let pair = Pair::take(rounds, cold, || base.run())?;
        let target = "<= 250 ms; CPU <= 875 ms";
        report.pair(&format!("hello-cli, cold, cache on {}", place.kind), target, &pair);
        caches.clear()?;
    }
    let mut caches = Caches::new(&bench.memory, "upgrade");
    let rounds = caches.rounds(bench);
    let upgrade = || {
        caches.next(|cache| {
            bench.package(&project.package, cache).run()?;
            bench.package(&project.changed, cache).run()
        })
    };
    let pair = Pair::take(rounds, upgrade, || base.run())?;
    report.pair(&format!("hello-cli, upgrade, cache on {}", bench.memory.kind), "warm + 20 ms", &pair);
    caches.clear()
}

/// The developer's side.
fn tool(bench: &Bench, project: &Project, report: &mut Report) -> Result<()> {
    let note = format!(
        "The packer's commands, as typed, on {}. Empty cache: packer's own. What uv and pip have downloaded is kept, as on a machine \
         that has installed these packages before{}.",
        bench.disk.kind,
        if on_path("uv") { "; uv is on PATH" } else { "; uv is not on PATH, so that packer installs it as well" }
    );
    report.section("Packer", &note, &SINGLE);
    for (verb, target) in [("verify", ""), ("inspect", "<= 5 ms, <= 16 MiB")] {
        let program = bench.program(&bench.packer).args([verb.as_ref(), project.package.as_os_str()]);
        program.run()?;
        report.series(&format!("{verb} hello-cli"), target, &Series::take(bench.rounds(40), || program.run())?);
    }
    let cache = bench.packer_cache();
    let packing = project.packing(bench, &cache, &project.changed);
    let unchanged = Series::take(bench.rounds(10), || packing.run())?;
    report.series("pack hello-cli again, nothing changed", "", &unchanged);
    let mut edit = 0;
    let edited = Series::take(bench.rounds(10), || {
        edit += 1;
        project.edit(edit)?;
        packing.run()
    })?;
    report.series("pack hello-cli again, a source changed", "<= 1 s", &edited);
    let cold = Series::take(bench.rounds(5), || {
        remove(&cache)?;
        packing.run()
    })?;
    report.series("pack hello-cli, empty cache", "<= 8 s", &cold);
    Ok(())
}

/// Removes a directory of ours, if it is there.
fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn executable() -> fs::Permissions {
    fs::Permissions::from_mode(0o755)
}
