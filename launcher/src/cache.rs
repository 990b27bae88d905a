//! Where slots and workenvs are kept, and why that place can be trusted.

use alloc::string::String;
use alloc::vec::Vec;

use pspf_core::number::decimal;
use pspf_core::text::concat;
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::sys::{Dir, join};

/// The cache directory: ours alone, at one of the places of [`Cache::open`].
#[derive(Debug)]
pub struct Cache {
    path: Vec<u8>,
    /// One extracted slot each.
    pub slots: Dir,
    /// One workenv each.
    pub envs: Dir,
}

impl Cache {
    /// Opens the cache at the first of these places, making it where it is missing:
    ///
    /// 1. `PSPF_CACHE_DIR`, or systemd's `CACHE_DIRECTORY`: when this place does not work, nothing else is tried; in one
    ///    for everybody, as /tmp is, `pspf-<uid>`;
    /// 2. `XDG_CACHE_HOME/pspf`, then `HOME/.cache/pspf`, where the user owns that home;
    /// 3. `pspf-<uid>` in `/var/tmp` or `/tmp`, for users without a home of their own.
    pub fn open(env: &Environment) -> Result<Self> {
        if let Some(path) = env.get(b"PSPF_CACHE_DIR") {
            return Self::open_named(path, "(PSPF_CACHE_DIR) is not an absolute path");
        }
        if let Some(list) = env.get(b"CACHE_DIRECTORY") {
            // systemd lists several directories with colons between them; the first one is ours.
            let path = list.split(|byte| *byte == b':').next().unwrap_or_default();
            return Self::open_named(path, "(CACHE_DIRECTORY) is not an absolute path");
        }
        let home = |name| env.get(name).filter(|path| path.starts_with(b"/"));
        let own = own_name();
        let candidates = [
            (home(b"XDG_CACHE_HOME"), &b"pspf"[..], Base::Anywhere),
            (home(b"HOME"), b".cache/pspf", Base::Home),
            (Some(b"/var/tmp"), own.as_bytes(), Base::Home),
            (Some(b"/tmp"), own.as_bytes(), Base::Home),
        ];
        let mut first_failure = None;
        for (base, below, kind) in candidates {
            let Some(base) = base else { continue };
            match Self::open_candidate(base, below, kind) {
                Ok(cache) => return Ok(cache),
                Err(error) if error.errno() == Some(Errno::NOENT) => {}
                Err(error) => first_failure = first_failure.or(Some(error)),
            }
        }
        let nowhere = || Error::refused(b"HOME, /var/tmp and /tmp", "are not there: no place to extract to", ELSEWHERE);
        Err(first_failure.unwrap_or_else(nowhere))
    }

    /// Opens where apps keep what is their users', making it where it is missing, at the first of these places:
    ///
    /// 1. `PSPF_DATA_DIR`, or systemd's `STATE_DIRECTORY`: when this place does not work, nothing else is tried;
    /// 2. `XDG_DATA_HOME/pspf`, then `HOME/.local/share/pspf`, where the user owns that home;
    /// 3. `v1/data` in the cache, for users without a home of their own. Cleaning up leaves it alone.
    #[cfg(feature = "all")]
    pub fn open_data(&self, env: &Environment) -> Result<(Dir, Vec<u8>)> {
        let first = |list: &[u8]| list.split(|byte| *byte == b':').next().unwrap_or_default().to_vec();
        if let Some(path) = env.get(b"PSPF_DATA_DIR").map(<[u8]>::to_vec).or(env.get(b"STATE_DIRECTORY").map(first)) {
            if !path.starts_with(b"/") {
                let hint = "set it to a path that begins with /";
                return Err(Error::refused(&path, "(PSPF_DATA_DIR, STATE_DIRECTORY) is not an absolute path", hint));
            }
            let root = open_or_make(&path, 0o700, Making::Anywhere)?;
            check_own(&root, &path)?;
            return Ok((root, path));
        }
        let places =
            [(&b"XDG_DATA_HOME"[..], &b"pspf"[..], Base::Anywhere), (b"HOME", b".local/share/pspf", Base::Home)];
        for (variable, below, kind) in places {
            let Some(base) = env.get(variable).filter(|path| path.starts_with(b"/")) else { continue };
            let path = join(base, below);
            let opened = open_base(base, below, &path, kind);
            if let Ok(root) = opened.and_then(|root| check_own(&root, &path).map(|()| root)) {
                return Ok((root, path));
            }
        }
        let path = join(&self.path, b"v1/data");
        Ok((own_dir(&Dir::open_path(&join(&self.path, b"v1"))?, b"data", &path)?, path))
    }

    /// The directory's path.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    #[inline(never)]
    fn open_candidate(base: &[u8], below: &[u8], kind: Base) -> Result<Self> {
        let path = join(base, below);
        Self::open_in(&open_base(base, below, &path, kind)?, path)
    }

    fn open_named(path: &[u8], otherwise: &'static str) -> Result<Self> {
        if !path.starts_with(b"/") {
            return Err(Error::refused(path, otherwise, "set it to a path that begins with /"));
        }
        let root = open_or_make(path, 0o700, Making::Anywhere)?;
        let stat = root.own_stat()?;
        if stat.mode & STICKY != 0 && stat.mode & 0o022 != 0 && (stat.is_own() || stat.uid == 0) {
            // Others may write here, but not rename or remove what is ours.
            let own = own_name();
            return Self::open_in(&own_dir(&root, own.as_bytes(), path)?, join(path, own.as_bytes()));
        }
        Self::open_in(&root, path.to_vec())
    }

    fn open_in(root: &Dir, path: Vec<u8>) -> Result<Self> {
        check_own(root, &path)?;
        check_writers(root, &path)?;
        let version = own_dir(root, b"v1", &path)?;
        Ok(Self { slots: own_dir(&version, b"slots", &path)?, envs: own_dir(&version, b"envs", &path)?, path })
    }
}

/// What our directory is called in a place for everybody.
fn own_name() -> String {
    concat(&["pspf-", &decimal(rustix::process::geteuid().as_raw().into())])
}

/// How a candidate is come by.
enum Base {
    /// Below a directory which is there already and is the user's own or everybody's.
    Home,
    /// Made from the root down where it is missing.
    Anywhere,
}

fn open_base(base: &[u8], below: &[u8], path: &[u8], kind: Base) -> Result<Dir> {
    match kind {
        Base::Home => open_below(base, below),
        Base::Anywhere => open_or_make(path, 0o700, Making::NotForOthers),
    }
}

/// A home has to belong to who runs us (sudo with a kept HOME does not make root write into a user's home); a
/// directory for everybody has to be sticky.
fn open_below(path: &[u8], below: &[u8]) -> Result<Dir> {
    let home = Dir::open_path(path)?;
    let stat = home.own_stat()?;
    if !stat.is_own() && stat.mode & STICKY == 0 {
        return Err(Error::refused(path, "belongs to somebody else", ELSEWHERE));
    }
    check_writers(&home, path)?;
    descend(home, below)
}

/// Below a directory that everybody may write to, and rename in, ours could be exchanged under our feet.
fn check_writers(dir: &Dir, path: &[u8]) -> Result<()> {
    let (mut up, mut below) = (b".".to_vec(), (0, 0));
    loop {
        let stat = match dir.stat(&up) {
            // What may be passed through but not looked at (SELinux).
            Err(error) if error.errno() == Some(Errno::ACCESS) => return Ok(()),
            stat => stat?,
        };
        if stat.id == below {
            return Ok(());
        }
        if stat.mode & (0o002 | STICKY) == 0o002 {
            let hint = "chmod o-w DIRECTORY, or set PSPF_CACHE_DIR to a directory of your own";
            return Err(Error::refused(path, "or a directory above it can be written to by everybody", hint));
        }
        below = stat.id;
        up.extend_from_slice(b"/..");
    }
}

/// Our own directory: nobody else's, and nobody else may write to it.
fn check_own(dir: &Dir, path: &[u8]) -> Result<()> {
    let stat = dir.own_stat()?;
    if !stat.is_own() {
        return Err(Error::refused(path, "belongs to somebody else", ELSEWHERE));
    }
    if stat.mode & 0o022 != 0 {
        let hint = "chmod go-w DIRECTORY, or set PSPF_CACHE_DIR to a directory of your own";
        return Err(Error::refused(path, "can be written to by others", hint));
    }
    Ok(())
}

fn own_dir(parent: &Dir, name: &[u8], path: &[u8]) -> Result<Dir> {
    let dir = parent.ensure_dir(name, 0o700)?;
    check_own(&dir, path)?;
    Ok(dir)
}

/// Makes and opens the directories of `below` in `base`, following no link in the last one.
fn descend(base: Dir, below: &[u8]) -> Result<Dir> {
    let mut dir = base;
    let mut rest = below.split(|byte| *byte == b'/').peekable();
    while let Some(name) = rest.next() {
        dir = match dir.ensure_dir(name, 0o700) {
            // ~/.cache may be a link to a larger disk, when the user made it.
            Err(error) if matches!(error.errno(), Some(Errno::LOOP | Errno::NOTDIR)) && rest.peek().is_some() => {
                follow_own_link(&dir, name)?
            }
            other => other?,
        };
    }
    Ok(dir)
}

fn follow_own_link(dir: &Dir, name: &[u8]) -> Result<Dir> {
    let stat = dir.stat(name)?;
    if !(stat.is_own() || stat.uid == 0) || stat.kind != FileType::Symlink {
        return Err(dir.failed("cannot open", name, Errno::LOOP));
    }
    dir.open_linked(name)
}

/// Where missing directories are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Making {
    /// Wherever this process may.
    Anywhere,
    /// By root only in its own: with sudo the variables may be those of a user, in whose directories it makes nothing.
    NotForOthers,
}

/// Opens a directory that the user named by a path with a slash, and makes what is missing of it with this mode.
pub fn open_or_make(path: &[u8], mode: u16, making: Making) -> Result<Dir> {
    match Dir::open_path(path) {
        Err(error) if error.errno() == Some(Errno::NOENT) => {}
        other => return other,
    }
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
    let (above, name) = (&path[..end.max(1)], &path[end + 1..]);
    let parent = open_or_make(above, mode, making)?;
    if name.is_empty() {
        return Ok(parent);
    }
    if making == Making::NotForOthers && rustix::process::geteuid().is_root() && !parent.own_stat()?.is_own() {
        return Err(Error::refused(above, "belongs to somebody else", ELSEWHERE));
    }
    parent.ensure_dir(name, mode)?;
    Dir::open_path(path)
}

const STICKY: u16 = 0o1000;
const ELSEWHERE: &str = "set PSPF_CACHE_DIR to a directory of your own";
