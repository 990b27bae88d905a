//! Where slots and workenvs are kept, and why that place can be trusted.

use alloc::format;
use alloc::vec::Vec;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::sys::{Dir, join};

/// The cache directory: ours alone, at one of the places of [`Cache::open`].
#[derive(Debug)]
pub struct Cache {
    root: Dir,
    /// One extracted slot each.
    pub slots: Dir,
    /// One workenv each.
    pub envs: Dir,
}

impl Cache {
    /// Opens the cache at the first of these places, making it where it is missing:
    ///
    /// 1. `PSPF_CACHE_DIR`, or systemd's `CACHE_DIRECTORY`: when this place does not work, nothing else is tried;
    /// 2. `XDG_CACHE_HOME/pspf`, then `HOME/.cache/pspf`, where the user owns that home;
    /// 3. `pspf-<uid>` in `/var/tmp` or `/tmp`, for users without a home of their own.
    pub fn open(env: &Environment) -> Result<Self> {
        for name in [&b"PSPF_CACHE_DIR"[..], b"CACHE_DIRECTORY"] {
            if let Some(value) = env.get(name) {
                // systemd lists several directories with colons between them; the first one is ours.
                let path = if name == b"CACHE_DIRECTORY" { first_of_list(value) } else { value };
                if !path.starts_with(b"/") {
                    let name = core::str::from_utf8(name).unwrap_or_default();
                    return Err(Error::Refused {
                        what: format!("{name} is not an absolute path: {}", show(path)),
                        hint: "set it to a path that begins with /",
                    });
                }
                return Self::open_at(path, &Base::Anywhere);
            }
        }
        let uid = rustix::process::geteuid().as_raw();
        let mut candidates = Vec::new();
        if let Some(home) = env.get(b"XDG_CACHE_HOME").filter(|path| path.starts_with(b"/")) {
            candidates.push((join(home, b"pspf"), Base::Anywhere));
        }
        if let Some(home) = env.get(b"HOME").filter(|path| path.starts_with(b"/")) {
            candidates.push((join(home, b".cache/pspf"), Base::Home(home.to_vec())));
        }
        for shared in [&b"/var/tmp"[..], b"/tmp"] {
            candidates.push((join(shared, format!("pspf-{uid}").as_bytes()), Base::Home(shared.to_vec())));
        }
        let mut first_failure = None;
        for (path, base) in candidates {
            match Self::open_at(&path, &base) {
                Ok(cache) => return Ok(cache),
                Err(error) => first_failure = first_failure.or(Some(error)),
            }
        }
        Err(first_failure.unwrap_or(Error::Refused {
            what: "there is no place for extracted files".into(),
            hint: "set PSPF_CACHE_DIR to a directory of your own",
        }))
    }

    /// The directory's path.
    pub fn path(&self) -> &[u8] {
        self.root.path()
    }

    fn open_at(path: &[u8], base: &Base) -> Result<Self> {
        let root = match base {
            Base::Home(home) => {
                let home_dir = Dir::open_path(home).map_err(|errno| Error::io("cannot open", home, errno))?;
                check_base(&home_dir)?;
                descend(home_dir, &path[home.len()..])?
            }
            Base::Anywhere => open_or_make(path)?,
        };
        check_own(&root)?;
        let version = own_dir(&root, b"v1")?;
        Ok(Self { slots: own_dir(&version, b"slots")?, envs: own_dir(&version, b"envs")?, root })
    }
}

/// How a candidate is come by.
enum Base {
    /// Below this directory, which is there already and is the user's own or everybody's.
    Home(Vec<u8>),
    /// Made from the root down where it is missing.
    Anywhere,
}

/// A home has to belong to who runs us (sudo with a kept HOME does not make root write into a user's home); a
/// directory for everybody has to be sticky.
fn check_base(dir: &Dir) -> Result<()> {
    let stat = dir.own_stat()?;
    let mode = stat.st_mode & 0o7777;
    let sticky = mode & 0o1000 != 0;
    if stat.st_uid == rustix::process::geteuid().as_raw() || sticky {
        return check_writers(dir, mode);
    }
    Err(Error::Refused {
        what: format!("{} belongs to somebody else", show(dir.path())),
        hint: "set PSPF_CACHE_DIR to a directory of your own",
    })
}

/// A directory that everybody may write to, and rename in, could be exchanged under our feet.
fn check_writers(dir: &Dir, mode: u32) -> Result<()> {
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        return Err(Error::Refused {
            what: format!("{} can be written to by everybody", show(dir.path())),
            hint: "chmod o-w DIRECTORY, or set PSPF_CACHE_DIR to a directory of your own",
        });
    }
    Ok(())
}

/// Our own directory: nobody else's, and nobody else may write to it.
fn check_own(dir: &Dir) -> Result<()> {
    let stat = dir.own_stat()?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(Error::Refused {
            what: format!("{} belongs to user {}, not to you", show(dir.path()), stat.st_uid),
            hint: "set PSPF_CACHE_DIR to a directory of your own",
        });
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(Error::Refused {
            what: format!("others may write to {}", show(dir.path())),
            hint: "chmod go-w DIRECTORY, or set PSPF_CACHE_DIR to a directory of your own",
        });
    }
    Ok(())
}

fn own_dir(parent: &Dir, name: &[u8]) -> Result<Dir> {
    let dir = parent.ensure_dir(name, 0o700)?;
    check_own(&dir)?;
    Ok(dir)
}

/// Makes and opens the directories of `path` below `base`, following no link in the last one.
fn descend(base: Dir, path: &[u8]) -> Result<Dir> {
    let components: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    let mut dir = base;
    for (i, name) in components.iter().enumerate() {
        let next = match dir.ensure_dir(name, 0o700) {
            // ~/.cache may be a link to a larger disk, when the user made it.
            Err(Error::Io { errno: Errno::LOOP | Errno::NOTDIR, .. }) if i + 1 < components.len() => {
                follow_own_link(&dir, name)?
            }
            other => other?,
        };
        dir = next;
        check_writers(&dir, dir.own_stat()?.st_mode & 0o7777)?;
    }
    Ok(dir)
}

fn follow_own_link(dir: &Dir, name: &[u8]) -> Result<Dir> {
    let path = dir.join(name);
    let stat = dir.stat(name).map_err(|errno| Error::io("cannot look at", &path, errno))?;
    let own = [0, rustix::process::geteuid().as_raw()].contains(&stat.st_uid);
    if !own || FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Err(Error::io("cannot open", &path, Errno::LOOP));
    }
    Dir::open_path(&path).map_err(|errno| Error::io("cannot open", &path, errno))
}

/// Opens a directory that the user named, and makes what is missing of it.
fn open_or_make(path: &[u8]) -> Result<Dir> {
    match Dir::open_path(path) {
        Ok(dir) => Ok(dir),
        Err(Errno::NOENT) => {
            let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            let (parent, name) = (&path[..end.max(1)], &path[end + 1..]);
            if name.is_empty() {
                return open_or_make(parent);
            }
            open_or_make(parent)?.ensure_dir(name, 0o700).map(|_| ())?;
            Dir::open_path(path).map_err(|errno| Error::io("cannot open", path, errno))
        }
        Err(errno) => Err(Error::io("cannot open", path, errno)),
    }
}

fn first_of_list(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == b':').next().unwrap_or_default()
}

fn show(path: &[u8]) -> alloc::string::String {
    alloc::string::String::from_utf8_lossy(path).into_owned()
}
