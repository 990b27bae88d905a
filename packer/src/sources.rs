//! The slots of a manifest as a plan has them: every source is looked at, none is read in full yet.
//!
//! | source | is | without `operations` |
//! |---|---|---|
//! | a directory | an archive | `tar.gz` |
//! | a pattern, `data/*.csv` | an archive of what matches | `tar.gz` |
//! | a file | itself | `gzip` when that is worth it, else `raw` |

use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use launcher::text;
use pspf_core::format::{Operation, Operations};
use pspf_core::metadata::Lifecycle;
use pspf_core::placement::relative;

use crate::error::{Error, Result};
use crate::manifest::SlotSpec;
use crate::plan::{PlannedSlot, Source};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::slots;

/// Where the slots of a manifest come from, and where they go.
pub(crate) struct Sources<'a> {
    /// What sources are relative to.
    pub(crate) directory: &'a Path,
    /// What the package is for.
    pub(crate) platform: Platform,
    /// How slots are compressed that say nothing of it; `None` for gzip.
    pub(crate) compression: Option<Operations>,
    /// True where encoded archives go to the workenv's root, as FlavorPack's launchers unpack them.
    pub(crate) like_flavorpack: bool,
    /// The program in the workenv that runs `.py` files; `None` where there is none.
    pub(crate) interpreter: Option<String>,
}

impl Sources<'_> {
    /// The slots for the platform, and the number among them of each slot of the manifest.
    pub(crate) fn plan(
        &self,
        specs: &[SlotSpec],
        progress: &dyn Progress,
    ) -> Result<(Vec<PlannedSlot>, Vec<Option<usize>>)> {
        let (mut slots, mut numbers) = (Vec::new(), Vec::new());
        for spec in specs {
            progress.check()?;
            if let Some(only) = spec.platform.filter(|only| !only.fits(self.platform)) {
                let platform = self.platform;
                progress.note(&format!("slot {} is for {only} and stays out of a package for {platform}", spec.id));
                numbers.push(None);
                continue;
            }
            numbers.push(Some(slots.len()));
            slots.push(self.slot(spec, progress)?);
        }
        Ok((slots, numbers))
    }

    fn slot(&self, spec: &SlotSpec, progress: &dyn Progress) -> Result<PlannedSlot> {
        let found = self.find(spec)?;
        let executable = matches!(&found, Found::File(_, metadata) if is_executable(metadata));
        let Choice { source, operations, level } = match found {
            Found::Directory(path) => self.directory(spec, path, Vec::new())?,
            Found::Matches(path, exclude) => self.directory(spec, path, exclude)?,
            Found::File(path, _) => self.file(spec, path)?,
        };
        let is_archive = operations.is_archive();
        let mut target = spec.target.clone();
        if is_archive {
            target.truncate(target.trim_end_matches('/').len());
            if self.like_flavorpack
                && matches!(source, Source::Encoded { .. })
                && spec.encoded.is_none()
                && !target.is_empty()
            {
                progress.note(&format!(
                    "slot {}: as with FlavorPack's launchers, the archive is unpacked into the workenv's root, not into \
                     {target} (\"encoded\": true changes that)",
                    spec.id
                ));
                target.clear();
            }
        } else if target.is_empty() || target.ends_with('/') {
            target.push_str(&file_name(&source, operations));
        }
        let commands = match spec.lifecycle {
            Lifecycle::Shutdown => self.commands(spec, &source, executable, &target)?,
            _ => Vec::new(),
        };
        Ok(PlannedSlot {
            id: spec.id.clone(),
            source_name: source_name(&spec.source),
            target: if target.is_empty() { "{workenv}".to_owned() } else { target },
            purpose: spec.purpose.clone(),
            lifecycle: spec.lifecycle,
            platform: spec.platform.map_or(0, |platform| platform.os as u8),
            permissions: spec.permissions.unwrap_or(match &source {
                Source::File { .. } if executable => 0o755,
                _ if is_archive => 0o755,
                _ => 0o644,
            }),
            operations,
            level,
            source,
            commands,
        })
    }

    /// What a shutdown slot is there for: its command, else the file itself, else the programs in the directory, in the order of
    /// their names.
    fn commands(&self, spec: &SlotSpec, source: &Source, executable: bool, target: &str) -> Result<Vec<String>> {
        if let Some(command) = &spec.command {
            return Ok(vec![command.clone()]);
        }
        let command = |path: &str, file: &Path, executable: bool| {
            let path = format!("{{workenv}}/{path}");
            match &self.interpreter {
                Some(python) if file.extension().is_some_and(|suffix| suffix == "py") => {
                    Some(text::quote(&[python.clone(), path]))
                }
                _ => executable.then(|| text::quote(&[path])),
            }
        };
        let mut found = Vec::new();
        match source {
            Source::File { path } => {
                let executable = spec.permissions.map_or(executable, |mode| mode & 0o100 != 0);
                found.extend(command(target, path, executable));
            }
            Source::Tree { path, exclude, .. } => {
                let looked = |error: std::io::Error| Error::io("cannot read", path, &error);
                // A pattern that is none is told when the slot is packed.
                let patterns = slots::patterns(exclude).ok();
                let mut entries =
                    fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(looked)?;
                entries.sort_by_key(fs::DirEntry::file_name);
                for entry in entries {
                    let metadata = fs::metadata(entry.path()).map_err(looked)?;
                    let is_out =
                        |patterns: &Gitignore| patterns.matched(entry.file_name(), metadata.is_dir()).is_ignore();
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if metadata.is_file() && !patterns.as_ref().is_some_and(is_out) {
                        let inside = if target.is_empty() { name } else { format!("{target}/{name}") };
                        found.extend(command(&inside, &entry.path(), is_executable(&metadata)));
                    }
                }
            }
            Source::Encoded { .. } => {}
        }
        // FlavorPack's manifests name lifecycles that nothing acted on.
        if found.is_empty() && !self.like_flavorpack {
            return Err(spec
                .place
                .error("lifecycle", format!("nothing says what shutdown slot {} runs when the app has ended", spec.id))
                .expected("a command, an executable file, or a directory with executable files")
                .hint("write command = \"{workenv}/TARGET/PROGRAM\", or chmod +x the file"));
        }
        Ok(found)
    }

    fn find(&self, spec: &SlotSpec) -> Result<Found> {
        let path = match spec.source.starts_with('/') {
            true => PathBuf::from(&spec.source),
            false => self.directory.join(relative(&spec.source)),
        };
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Ok(Found::Directory(path)),
            Ok(metadata) if metadata.is_file() => Ok(Found::File(path, metadata)),
            Ok(_) => Err(spec
                .place
                .error("source", "the source is neither a file nor a directory")
                .found(path.display().to_string())
                .hint("name a file or a directory")),
            Err(_) if spec.source.contains(WILDCARDS) => matches(spec, &path),
            Err(error) => {
                let new = spec
                    .place
                    .error("source", format!("the source of slot {} cannot be read", spec.id))
                    .expected("a file, a directory or a pattern, relative to the manifest")
                    .found(format!("{}: {error}", path.display()));
                Err(match similar(&path) {
                    Some(near) => new.hint(format!("did you mean {near:?}?")),
                    None => new.hint("make it before packing, or mend the path"),
                })
            }
        }
    }

    fn directory(&self, spec: &SlotSpec, path: PathBuf, mut exclude: Vec<String>) -> Result<Choice> {
        if spec.encoded == Some(true) {
            return Err(spec
                .place
                .error("encoded", "a directory is never encoded already")
                .hint("leave encoded out, or name the archive as the source"));
        }
        // A directory is an archive in any case: what is said of it without "tar" is how that is compressed.
        let operations = archive(spec.operations.or(self.compression).unwrap_or(Operations::GZIP));
        let level = checked_level(spec, operations)?;
        exclude.extend(spec.exclude.iter().cloned());
        Ok(Choice { source: Source::Tree { path, key: None, exclude }, operations, level })
    }

    fn file(&self, spec: &SlotSpec, path: PathBuf) -> Result<Choice> {
        let looked = |error: std::io::Error| Error::io("cannot read", &path, &error);
        if !spec.exclude.is_empty() {
            return Err(spec
                .place
                .error("exclude", "nothing can be left out of a file")
                .hint("leave exclude out, or name a directory as the source"));
        }
        let Some(operations) = spec.operations else {
            if spec.encoded == Some(true) {
                return Err(spec
                    .place
                    .error("operations", "how the source is encoded is not said")
                    .hint("add operations, such as \"tar.gz\""));
            }
            let operations = self.compression.unwrap_or(Operations::GZIP);
            let level = checked_level(spec, operations)?;
            return Ok(match operations != Operations::RAW && slots::shrinks(&path).map_err(looked)? {
                true => Choice { source: Source::File { path }, operations, level },
                false => Choice { source: Source::File { path }, operations: Operations::RAW, level: None },
            });
        };
        let is_encoded = match spec.encoded {
            _ if operations == Operations::RAW => false,
            Some(encoded) => encoded,
            None => operations.is_archive() || slots::looks_encoded(&path, operations).map_err(looked)?,
        };
        if is_encoded {
            if let Some(level) = spec.level {
                return Err(spec
                    .place
                    .error("level", "the source is encoded already, and is packed as it is")
                    .expected("no level, or a source that is not compressed")
                    .found(level.to_string())
                    .hint("leave the level out"));
            }
            return Ok(Choice { source: Source::Encoded { path }, operations, level: None });
        }
        if operations.is_archive() {
            return Err(spec
                .place
                .error("operations", "a file alone does not become an archive")
                .expected(format!("raw, {}, or a directory as the source", slots::COMPRESSIONS))
                .found(format!("{:?}", operations.name()))
                .hint("name the directory that the file is in, or write operations = \"raw\""));
        }
        let level = checked_level(spec, operations)?;
        Ok(Choice { source: Source::File { path }, operations, level })
    }
}

/// The operations that make an archive of a directory, with this compression.
pub(crate) fn archive(operations: Operations) -> Operations {
    if operations.is_archive() {
        return operations;
    }
    let steps: Vec<Operation> = [Operation::Tar].into_iter().chain(operations.steps().unwrap_or_default()).collect();
    Operations::from_steps(&steps).unwrap_or(operations)
}

pub(crate) fn is_executable(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}

/// What there is at a source.
enum Found {
    Directory(PathBuf),
    File(PathBuf, Metadata),
    /// A directory, and patterns that leave out of it what does not match.
    Matches(PathBuf, Vec<String>),
}

/// How a source is stored.
struct Choice {
    source: Source,
    operations: Operations,
    /// How hard to compress, if that was said.
    level: Option<u64>,
}

/// What makes a source a pattern, if nothing is called that.
const WILDCARDS: [char; 4] = ['*', '?', '[', '{'];

/// Everything that the pattern at the end of `path` matches, below the directory that it begins with.
fn matches(spec: &SlotSpec, path: &Path) -> Result<Found> {
    let is_plain = |part: &std::path::Component<'_>| !part.as_os_str().to_string_lossy().contains(WILDCARDS);
    let root: PathBuf = path.components().take_while(is_plain).collect();
    let pattern = format!("/{}", path.strip_prefix(&root).unwrap_or(path).display());
    let refused = |error: ignore::Error| {
        let new = spec.place.error("source", "this is not a pattern for files").found(format!("{:?}", spec.source));
        new.hint(error.to_string())
    };
    let mut builder = GitignoreBuilder::new("");
    builder.add_line(None, &pattern).map_err(refused)?;
    let matcher = builder.build().map_err(refused)?;
    let depth = if pattern.contains("**") { usize::MAX } else { pattern.matches('/').count() };
    // All is left out but the way to what matches.
    let mut exclude = vec!["*".to_owned()];
    let found = search(&root, Path::new(""), &matcher, depth, &mut exclude)
        .map_err(|(path, error)| Error::io("cannot read", path, &error))?;
    if found {
        return Ok(Found::Matches(root, exclude));
    }
    Err(spec
        .place
        .error("source", format!("the source of slot {} matches nothing", spec.id))
        .expected("files that a pattern such as data/*.csv or data/**/*.csv finds")
        .found(format!("{:?}, that is nothing in {}", spec.source, root.display()))
        .hint("make the files before packing, or mend the pattern"))
}

/// Adds patterns for what matches in `below` of `root`; whether something did.
fn search(
    root: &Path,
    below: &Path,
    matcher: &Gitignore,
    depth: usize,
    patterns: &mut Vec<String>,
) -> Result<bool, (PathBuf, std::io::Error)> {
    let directory = root.join(below);
    let failed = |error| (directory.clone(), error);
    let mut entries =
        fs::read_dir(&directory).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut any = false;
    for entry in entries {
        let path = below.join(entry.file_name());
        let is_directory = entry.file_type().map_err(failed)?.is_dir();
        let line = format!("!/{}", escaped(&path));
        if matcher.matched(&path, is_directory).is_ignore() {
            patterns.push(line.clone());
            patterns.extend(is_directory.then(|| format!("{line}/**")));
            any = true;
        } else if is_directory && depth > 1 {
            let before = patterns.len();
            patterns.push(format!("{line}/"));
            if search(root, &path, matcher, depth - 1, patterns)? {
                any = true;
            } else {
                patterns.truncate(before);
            }
        }
    }
    Ok(any)
}

/// A path as a line of a `.gitignore` that matches nothing else.
fn escaped(path: &Path) -> String {
    let mut line = String::new();
    for c in path.to_string_lossy().chars() {
        if "*?[]{}\\!#, ".contains(c) {
            line.push('\\');
        }
        line.push(c);
    }
    line
}

/// The slot's level, once it is clear that packer writes such slots.
fn checked_level(spec: &SlotSpec, operations: Operations) -> Result<Option<u64>> {
    match slots::check(operations, spec.level) {
        Ok(()) => Ok(spec.level),
        Err((key, error)) => Err(spec.place.locate(key, error)),
    }
}

/// What the file is called once it is decoded.
fn file_name(source: &Source, operations: Operations) -> String {
    let (Source::Tree { path, .. } | Source::File { path } | Source::Encoded { path }) = source;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let suffixes: &[&str] = match source {
        Source::Encoded { .. } if operations != Operations::RAW => &[".gz", ".bz2", ".xz", ".zst"],
        _ => &[],
    };
    let bare = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).filter(|bare| !bare.is_empty());
    bare.map(str::to_owned).unwrap_or(name)
}

/// A source as readers of the package see it: where the builder's own files are is nobody's business.
fn source_name(source: &str) -> String {
    let last = Path::new(source).file_name().map(|name| name.to_string_lossy().into_owned());
    last.filter(|_| source.starts_with('/')).unwrap_or_else(|| source.to_owned())
}

/// What there is beside a path that does not exist, and has a similar name.
fn similar(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_string_lossy().into_owned();
    let names = fs::read_dir(path.parent()?).ok()?.flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let near = names.map(|name| (strsim::jaro_winkler(&name, &wanted), name)).filter(|(likeness, _)| *likeness > 0.75);
    near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}
