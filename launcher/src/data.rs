//! What of a package belongs to its user: the slots with the lifecycle config, in the app's data directory.
//!
//! A slot is extracted there when it is absent, and never touched again: later versions, other caches and cleaning up leave it
//! as the user has it. The workenv has links.

use alloc::string::String;
use alloc::vec::Vec;

use pspf_core::metadata::{Lifecycle, Metadata};
use pspf_core::text::concat;
use pspf_core::{Digest, Source, Verified, limits};
use rustix::io::Errno;

use crate::cache::Cache;
use crate::environment::Environment;
use crate::error::Result;
use crate::lifecycle::{alone, replace};
use crate::store::{self, Lock};
use crate::sys::{self, Dir};
use crate::workenv::{check_path, is_archive};

/// Makes sure that everything of the user's is there; where, unless there is no such slot.
pub fn prepare<S: Source>(verified: &Verified<'_, S>, cache: &Cache, env: &Environment) -> Result<Option<Vec<u8>>> {
    let slots = alone(verified.metadata(), Lifecycle::Config, true);
    if slots.is_empty() {
        return Ok(None);
    }
    for slot in &verified.metadata().slots {
        check_path(&slot.target)?;
    }
    let (root, path) = cache.open_data(env)?;
    let app = app_name(verified);
    let dir = root.ensure_dir(app.as_bytes(), 0o700)?;
    let lock_file = concat(&[".lock.", &app]);
    // Where there is the file of a lock, somebody is at it, or did not come to the end.
    let mut complete = !is_there(&root, &lock_file)?;
    for (_, target) in &slots {
        complete = complete && is_there(&dir, target)?;
    }
    if !complete {
        let _lock = Lock::exclusive(&root, &app)?;
        store::sweep(&root, &app)?;
        let mut is_tidy = true;
        for (index, target) in slots {
            if !is_there(&dir, target)? {
                let (temporary, beside) = store::temporary_dir(&root, &app)?;
                let made = replace(verified, index, target, &beside, &dir);
                is_tidy &= root.remove(&temporary).is_ok();
                made?;
            }
        }
        // Otherwise it tells the next start to sweep. Whoever waits for it looks whether it is still there.
        if is_tidy {
            root.remove(lock_file.as_bytes())?;
        }
    }
    Ok(Some(sys::join(&path, app.as_bytes())))
}

/// Makes sure that the workenv leads to the user's files. A file that the app put in a link's place is the user's from now on.
pub fn link(metadata: &Metadata, workenv: &Dir, data: &[u8]) -> Result<()> {
    for (index, target) in alone(metadata, Lifecycle::Config, true) {
        let (parent, name) = sys::split(target);
        let (parent, name) = (workenv.walk(parent, true)?, name.as_bytes());
        let there = sys::join(data, target.as_bytes());
        match parent.read_link(name) {
            Ok(link) if link == there => continue,
            Ok(_) => parent.remove(name)?,
            Err(error) if error.errno() == Some(Errno::NOENT) => {}
            // Programs write a file beside another one and rename it. On another disk, or for a directory, it stays where it is.
            Err(error) if error.errno() == Some(Errno::INVAL) => {
                if is_archive(metadata, index) || sys::rename(&parent, name, &there).is_err() {
                    continue;
                }
            }
            Err(error) => return Err(error),
        }
        parent.link(name, &there)?;
    }
    Ok(())
}

fn is_there(dir: &Dir, target: &str) -> Result<bool> {
    let (parent, name) = sys::split(target);
    match dir.walk(parent, false).and_then(|parent| parent.stat(name.as_bytes())) {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(false),
        found => found.map(|_| true),
    }
}

/// What the app's directory is called: by its `app_id`, which later versions share, else by the package's name.
fn app_name<S: Source>(verified: &Verified<'_, S>) -> String {
    let metadata = verified.metadata();
    let id = verified.claims().and_then(|claims| claims.app_id.as_ref()).unwrap_or(&metadata.name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+' | b'@');
    if id.len() <= limits::COMPONENT && !id.starts_with('.') && !id.is_empty() && id.bytes().all(plain) {
        return id.clone();
    }
    Digest::of(id.as_bytes()).text()
}
