//! The files of the trust store and the policy: who may have written them, and how they are replaced.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// More than any store or policy has; a file above it is refused before it is read.
const LARGEST: u64 = 16 << 20;

/// A directory whose files say whom somebody trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    directory: PathBuf,
    whose: Whose,
}

/// Whom the files in a [`Place`] speak for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The administrator, for everybody on the machine: owned by root.
    System,
    /// The user, for himself: owned by the effective user.
    User,
}

impl Whose {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
        }
    }

    fn owner(self) -> u32 {
        match self {
            Self::System => 0,
            Self::User => rustix::process::geteuid().as_raw(),
        }
    }
}

impl Place {
    /// The place at `directory`, which need not be there.
    pub fn new(directory: PathBuf, whose: Whose) -> Self {
        Self { directory, whose }
    }

    /// Whom it speaks for.
    pub fn whose(&self) -> Whose {
        self.whose
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Reads a file in it; `None` when there is none. Refused are a file or directory that somebody else owns or may write: what
    /// it says could be anybody's word.
    pub fn read(&self, name: &str) -> Result<Option<String>> {
        let path = self.file(name);
        let failed = |error: &io::Error| Error::io("cannot read who is trusted", &path, error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(failed(&error)),
        };
        self.check(&self.directory, &fs::metadata(&self.directory).map_err(|error| failed(&error))?)?;
        let metadata = file.metadata().map_err(|error| failed(&error))?;
        self.check(&path, &metadata)?;
        if !metadata.is_file() || metadata.len() > LARGEST {
            return Err(Error::new(Kind::Configuration, "this is not a file that says who is trusted")
                .file(&path)
                .expected(format!("a file of at most {LARGEST} bytes"))
                .hint("move it away"));
        }
        let mut text = String::new();
        file.take(LARGEST).read_to_string(&mut text).map_err(|error| failed(&error))?;
        Ok(Some(text))
    }

    /// Takes the lock that every writer of this place holds; waits for other writers. It ends with the file, and with the
    /// process.
    pub fn lock(&self) -> Result<File> {
        DirBuilder::new()
            .recursive(true)
            .mode(self.directory_mode())
            .create(&self.directory)
            .map_err(|error| self.cannot_write(&error))?;
        let metadata = fs::metadata(&self.directory).map_err(|error| self.cannot_write(&error))?;
        self.check(&self.directory, &metadata)?;
        let path = self.file("trust.lock");
        let lock = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let lock = lock.map_err(|error| self.cannot_write(&error))?;
        lock.lock().map_err(|error| self.cannot_write(&error))?;
        Ok(lock)
    }

    /// Replaces a file, as a whole or not at all. The caller holds the [`lock`](Self::lock).
    pub fn replace(&self, name: &str, text: &str) -> Result<()> {
        let replace = || {
            let mut file = tempfile::Builder::new()
                .prefix(&format!(".{name}."))
                .permissions(fs::Permissions::from_mode(self.mode()))
                .tempfile_in(&self.directory)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(self.file(name)).map_err(|error| error.error)?;
            File::open(&self.directory)?.sync_all()
        };
        replace().map_err(|error| self.cannot_write(&error))
    }

    /// Adds a line to a file. The caller holds the [`lock`](Self::lock).
    pub fn append(&self, name: &str, line: &str) -> Result<()> {
        let file = OpenOptions::new().append(true).create(true).mode(self.mode()).open(self.file(name));
        let mut file = file.map_err(|error| self.cannot_write(&error))?;
        file.write_all(format!("{line}\n").as_bytes()).map_err(|error| self.cannot_write(&error))
    }

    fn check(&self, path: &Path, metadata: &Metadata) -> Result<()> {
        let (owner, mode) = (self.whose.owner(), metadata.mode() & 0o7777);
        let refused = |what, expected: String, found: String, hint| {
            Error::new(Kind::Configuration, what).file(path).expected(expected).found(found).hint(hint)
        };
        if metadata.uid() != owner {
            let hint = match self.whose {
                Whose::System => format!("chown root {}", path.display()),
                Whose::User => {
                    "use your own HOME (sudo -H), or set XDG_CONFIG_HOME to a directory of your own".to_owned()
                }
            };
            let what = "somebody else owns what says who is trusted, so it is not used";
            return Err(refused(what, format!("owner {owner}"), format!("owner {}", metadata.uid()), hint));
        }
        if mode & 0o022 != 0 {
            return Err(refused(
                "others can write what says who is trusted, so it is not used",
                "write permission for its owner alone".to_owned(),
                format!("mode {mode:04o}"),
                format!("look at what it says, then: chmod go-w {}", path.display()),
            ));
        }
        Ok(())
    }

    /// What everybody on the machine goes by, everybody may read.
    fn mode(&self) -> u32 {
        match self.whose {
            Whose::System => 0o644,
            Whose::User => 0o600,
        }
    }

    fn directory_mode(&self) -> u32 {
        match self.whose {
            Whose::System => 0o755,
            Whose::User => 0o700,
        }
    }

    fn cannot_write(&self, error: &io::Error) -> Error {
        Error::io("cannot write to the directory of trust and policy", &self.directory, error)
    }
}
