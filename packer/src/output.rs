//! The file that becomes the package: it appears complete or not at all.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pspf_core::build::Head;
use pspf_core::source::Source;

use crate::error::{Error, Kind, Result};
use crate::pack::Check;
use crate::package_file::PackageFile;
use crate::progress::Progress;
use crate::slots;

/// The directory and name of the output, and the file that becomes it.
pub(crate) struct Output {
    directory: PathBuf,
    /// `None`: named like the package.
    name: Option<PathBuf>,
    file: Option<tempfile::NamedTempFile>,
    /// The first directory that was made for it, to take away again when nothing comes of it.
    made: Option<PathBuf>,
}

/// Looks at a finished package, and may refuse it.
pub(crate) type Judge<'a> = dyn Fn(&Path) -> Result<()> + 'a;

/// What a package has to pass before it gets its name.
pub(crate) struct Checks<'a> {
    /// Whether it is read again and verified.
    pub(crate) check: Check,
    /// Who else looks at it.
    pub(crate) judge: Option<&'a Judge<'a>>,
}

impl Output {
    pub(crate) fn prepare(output: Option<&Path>) -> Result<Self> {
        let (directory, name) = place(output);
        let made =
            directory.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists()).last();
        let mut new = Self { made: made.map(Path::to_path_buf), directory, name, file: None };
        fs::create_dir_all(&new.directory)
            .map_err(|error| Error::io("cannot create the output directory", &new.directory, &error))?;
        let file = tempfile::Builder::new()
            .prefix(".packer-")
            .suffix(".tmp")
            .permissions(executable())
            .tempfile_in(&new.directory)
            .map_err(|error| Error::io("cannot write to the output directory", &new.directory, &error))?;
        new.file = Some(file);
        Ok(new)
    }

    /// The package, called `name` unless it was named, and the file that becomes it.
    pub(crate) fn files(&self, name: &str) -> Vec<PathBuf> {
        let written = self.file.as_ref().map(|file| file.path().to_path_buf());
        written.into_iter().chain([self.path(name)]).collect()
    }

    /// Where the package goes; it is called `name` unless it was named.
    fn path(&self, name: &str) -> PathBuf {
        joined(&self.directory, self.name.as_deref().unwrap_or(Path::new(name)))
    }

    /// Writes the package, lets it pass its checks, and gives it its name.
    pub(crate) fn publish(
        mut self,
        name: &str,
        head: &Head,
        launcher: &dyn Source,
        stored: &[Stored],
        checks: Checks<'_>,
        progress: &dyn Progress,
    ) -> Result<PathBuf> {
        let path = self.path(name);
        let Some(mut file) = self.file.take() else {
            return Err(Error::new(Kind::Io, "the output was written before").file(&path));
        };
        let failed = |error: &io::Error| Error::io("cannot write the package", &path, error);
        let mut sink = Watched { file: file.as_file_mut(), progress, error: None };
        let sources: Vec<&dyn Source> = stored.iter().map(|slot| slot as &dyn Source).collect();
        if let Err(error) = head.write(launcher, &sources, &mut sink) {
            return Err(match sink.error.take() {
                Some(error) if error.kind() == io::ErrorKind::Interrupted => Error::cancelled(),
                Some(error) => failed(&error),
                None => {
                    Error::new(Kind::Io, "cannot read what is to be packed").found(error.to_string()).hint("pack again")
                }
            });
        }
        file.as_file().sync_data().map_err(|error| failed(&error))?;
        if checks.check == Check::Verify {
            progress.stage("verifying what was written", None);
            verify(file.path(), &path)?;
        }
        progress.check()?;
        let mut file = file.into_temp_path();
        // Kept until the package has left it.
        let mut beside = None;
        if let Some(judge) = checks.judge {
            let place = tempfile::Builder::new()
                .prefix(".packer-")
                .tempdir_in(&self.directory)
                .map_err(|error| Error::io("cannot write to the output directory", &self.directory, &error))?;
            // Under its own name, and closed: a file that is open for writing cannot be run.
            let named = place.path().join(path.file_name().unwrap_or_default());
            file.persist(&named).map_err(|error| failed(&error.error))?;
            file = tempfile::TempPath::try_from_path(named).map_err(|error| failed(&error))?;
            beside = Some(place);
            let package = std::path::absolute(&file).unwrap_or_else(|_| file.to_path_buf());
            let verified = slots::digest_of(&file).map_err(|error| failed(&error))?;
            judge(&package)?;
            if slots::digest_of(&file).ok() != Some(verified) {
                return Err(Error::new(Kind::Build, "a hook changed the finished package, so it was thrown away")
                    .file(&path)
                    .field("tool.flavor.build.post_build")
                    .hint("let the hook work on a copy"));
            }
            progress.check()?;
        }
        file.persist(&path).map_err(|error| failed(&error.error))?;
        drop(beside);
        self.made = None;
        Ok(path)
    }
}

/// Where a package that is called `name` goes; nothing is made.
pub(crate) fn planned(output: Option<&Path>, name: &str) -> PathBuf {
    let (directory, given) = place(output);
    joined(&directory, given.as_deref().unwrap_or(Path::new(name)))
}

/// The directory that the output goes to, and its name there unless it is called like the package.
fn place(output: Option<&Path>) -> (PathBuf, Option<PathBuf>) {
    match output {
        None => (PathBuf::from("."), None),
        Some(path) if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            (path.to_path_buf(), None)
        }
        Some(path) => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            (parent.unwrap_or(Path::new(".")).to_path_buf(), path.file_name().map(PathBuf::from))
        }
    }
}

fn joined(directory: &Path, name: &Path) -> PathBuf {
    if directory == Path::new(".") { name.to_path_buf() } else { directory.join(name) }
}

fn verify(written: &Path, path: &Path) -> Result<()> {
    PackageFile::open(written).and_then(|written| written.verify_whole().map(drop)).map_err(|error| {
        Error::new(Kind::Integrity, "what was written is not what was meant, so it was thrown away")
            .file(path)
            .found(error.to_string().replace('\n', ";"))
            .hint("check the disk and the memory of this machine, and pack again")
    })
}

impl Drop for Output {
    fn drop(&mut self) {
        self.file = None;
        if let Some(made) = &self.made {
            // Only when they are still empty; somebody else may have begun to use them.
            let mut directory = Some(self.directory.as_path());
            while let Some(path) = directory.filter(|path| path.starts_with(made)) {
                if fs::remove_dir(path).is_err() {
                    break;
                }
                directory = path.parent();
            }
        }
    }
}

/// Writes to the output, stops when told to, and keeps the error, which says more than the one that the core passes on.
struct Watched<'a> {
    file: &'a mut File,
    progress: &'a dyn Progress,
    error: Option<io::Error>,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = if self.progress.is_cancelled() {
            Err(io::Error::from(io::ErrorKind::Interrupted))
        } else {
            self.file.write(bytes)
        };
        match written {
            Ok(count) => {
                self.progress.advance(count as u64);
                Ok(count)
            }
            Err(error) => {
                let kind = error.kind();
                self.error = Some(error);
                // `write_all` would try again after `Interrupted`.
                Err(if kind == io::ErrorKind::Interrupted { io::ErrorKind::Other.into() } else { kind.into() })
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The stored bytes of a slot: a file that is open only while it is read, since packages may have more slots than a
/// process may have files.
#[derive(Debug)]
pub(crate) struct Stored {
    path: PathBuf,
    size: u64,
    file: RefCell<Option<File>>,
}

impl Stored {
    /// The file at `path`, which has `size` bytes.
    pub(crate) fn new(path: PathBuf, size: u64) -> Self {
        Self { path, size, file: RefCell::new(None) }
    }
}

impl Source for Stored {
    fn len(&self) -> u64 {
        // One that grew or shrank is noticed while it is read, or by the verification afterwards.
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> pspf_core::Result<usize> {
        let mut open = self.file.borrow_mut();
        let file = match open.take() {
            Some(file) => file,
            None => File::open(&self.path).map_err(|error| pspf_core::ErrorKind::Source {
                at: offset,
                len: buf.len() as u64,
                errno: error.raw_os_error(),
            })?,
        };
        let read = Source::read_at(&file, offset, buf)?;
        if offset + (read as u64) < self.size {
            *open = Some(file);
        }
        Ok(read)
    }
}

fn executable() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}
