//! Is what was extracted still what it was?

use std::collections::BTreeSet;

use launcher::extract::hash_tree;
use launcher::seal::Seal;
use launcher::store::{CONTENT, is_still_there, present};
use launcher::sys::Dir;
use rustix::fs::FileType;
use rustix::io::Errno;
use serde::Serialize;

use super::collect::{delete, move_away};
use super::{Place, Store, in_use, of_store};
use crate::error::Result;

/// What a check of the store found. Its JSON is a stable interface.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// How many workenvs were looked at.
    pub workenvs: usize,
    /// How many slots were read.
    pub slots: usize,
    /// What does not hold.
    pub damaged: Vec<Damage>,
}

/// A slot or workenv that is not what it was.
#[derive(Debug, Serialize)]
pub struct Damage {
    /// Which of the two.
    pub kind: Kind,
    /// Its name in the store.
    pub name: String,
    /// What is wrong with it, in a sentence.
    pub problem: &'static str,
    /// The paths in it that changed in mode, size or time, or are gone; empty where none of that shows.
    pub files: Vec<String>,
    /// The names of the workenvs that have links to it; for a workenv itself, its own.
    pub workenvs: BTreeSet<String>,
    /// An app runs that uses it.
    pub in_use: bool,
    /// It was moved away, so that the next start extracts it again.
    pub repaired: bool,
}

/// What is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A slot in the store.
    Slot,
    /// A workenv.
    Workenv,
}

impl Store {
    /// Reads every slot against the digest of the tree in its seal, and looks at the files of workenvs that their seals
    /// name. With `only`, these workenvs and the slots that they have links to. With `repair`, damaged slots that no
    /// running app uses are moved away.
    ///
    /// A process of the same user can rewrite seals: this finds damage, not forgery.
    pub fn verify(&self, only: Option<&BTreeSet<String>>, repair: bool) -> Result<Checked> {
        let workenvs = self.workenvs()?;
        let is_meant = |name: &String| only.is_none_or(|only| only.contains(name));
        let mut checked = Checked { workenvs: 0, slots: 0, damaged: Vec::new() };
        for workenv in workenvs.iter().filter(|workenv| is_meant(&workenv.name)) {
            checked.workenvs += 1;
            let finding = self.check(Place::Envs, &workenv.name)?;
            checked.damaged.extend(finding.map(|(problem, files)| Damage {
                kind: Kind::Workenv,
                name: workenv.name.clone(),
                problem,
                files,
                workenvs: [workenv.name.clone()].into(),
                in_use: false,
                repaired: false,
            }));
        }
        let linked: BTreeSet<&String> =
            workenvs.iter().filter(|workenv| is_meant(&workenv.name)).flat_map(|workenv| &workenv.slots).collect();
        for name in self.names(Place::Slots)? {
            if only.is_some() && !linked.contains(&name) {
                continue;
            }
            checked.slots += 1;
            let Some((problem, files)) = self.check(Place::Slots, &name)? else { continue };
            let users = workenvs.iter().filter(|workenv| workenv.slots.contains(&name));
            let workenvs = users.map(|workenv| workenv.name.clone()).collect();
            let kind = Kind::Slot;
            checked.damaged.push(Damage { kind, name, problem, files, workenvs, in_use: false, repaired: false });
        }
        if !checked.damaged.is_empty() {
            self.settle(&mut checked.damaged, repair)?;
        }
        Ok(checked)
    }

    /// What is wrong with a slot or a workenv. One that goes away meanwhile is no damage.
    fn check(&self, place: Place, name: &str) -> Result<Option<(&'static str, Vec<String>)>> {
        let parent = self.dir(place);
        if place == Place::Slots && is_link(parent, name).map_err(|error| of_store(&error))? {
            return check_link(parent, name).map_err(|error| of_store(&error));
        }
        let Some(dir) = present(parent.open_dir(name.as_bytes())).map_err(|error| of_store(&error))? else {
            return Ok(None);
        };
        let finding = match place {
            Place::Slots => check_slot(&dir, name),
            Place::Envs => check_env(&dir, name),
        };
        match finding {
            Ok(None) => Ok(None),
            other if is_still_there(&dir, parent, name.as_bytes()).unwrap_or(true) => {
                other.map_err(|error| of_store(&error))
            }
            _ => Ok(None),
        }
    }

    /// Says of everything damaged whether it is in use, and moves away what can be repaired that way.
    fn settle(&self, damaged: &mut [Damage], repair: bool) -> Result<()> {
        let mut trash = Vec::new();
        // Nobody starts to use a slot meanwhile: that takes the lock of the store, or the one of a workenv's seal.
        let lock = repair.then(|| self.lock_alone()).transpose()?;
        let done = damaged.iter_mut().try_for_each(|damage| self.settle_one(damage, repair, &mut trash));
        drop(lock);
        for name in trash {
            // It is out of the way; what is left of it goes with the next collection.
            let _ = delete(&self.cache.slots, name.as_bytes());
        }
        done
    }

    /// The same of one; what is moved away goes to `trash`.
    fn settle_one(&self, damage: &mut Damage, repair: bool, trash: &mut Vec<String>) -> Result<()> {
        let slots = &self.cache.slots;
        let failed = |error| of_store(&error);
        let locks = damage.workenvs.iter().map(|name| in_use::of_env(&self.cache.envs, name));
        let locks: Vec<_> = locks.collect::<Result<_, _>>().map_err(failed)?;
        let running = in_use::running()?;
        damage.in_use = locks.iter().any(Option::is_none) || damage.workenvs.iter().any(|name| running.contains(name));
        if !repair || damage.in_use || damage.kind == Kind::Workenv {
            return Ok(());
        }
        let Some(_lock) = in_use::of_name(slots, &damage.name).map_err(failed)? else { return Ok(()) };
        // Somebody may have mended it meanwhile.
        if self.check(Place::Slots, &damage.name)?.is_some() {
            trash.push(move_away(slots, &damage.name)?);
        }
        damage.repaired = true;
        Ok(())
    }
}

fn is_link(slots: &Dir, name: &str) -> launcher::Result<bool> {
    match slots.stat(name.as_bytes()) {
        Ok(status) => Ok(status.kind == FileType::Symlink),
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A slot of the system's.
fn check_link(slots: &Dir, name: &str) -> launcher::Result<Option<(&'static str, Vec<String>)>> {
    match present(slots.open_linked(name.as_bytes()))? {
        Some(dir) => check_slot(&dir, name),
        None => Ok(Some(("it was in the system's store, and is there no more", Vec::new()))),
    }
}

fn check_slot(dir: &Dir, name: &str) -> launcher::Result<Option<(&'static str, Vec<String>)>> {
    let Some(seal) = Seal::open(dir, name)? else { return Ok(Some((NO_SEAL, Vec::new()))) };
    let Some(content) = present(dir.open_dir(CONTENT.as_bytes()))? else {
        return Ok(Some(("its files are gone", Vec::new())));
    };
    if hash_tree(&content)? == seal.tree {
        return Ok(None);
    }
    Ok(Some(("its files are not those that were extracted", changed(&seal, &content)?)))
}

fn check_env(dir: &Dir, name: &str) -> launcher::Result<Option<(&'static str, Vec<String>)>> {
    let Some(seal) = Seal::open(dir, name)? else { return Ok(Some((NO_SEAL, Vec::new()))) };
    if seal.rows_hold(dir, u64::MAX)? {
        return Ok(None);
    }
    Ok(Some(("files that start the app have changed", changed(&seal, dir)?)))
}

fn changed(seal: &Seal, dir: &Dir) -> launcher::Result<Vec<String>> {
    Ok(seal.rows(dir)?.into_iter().filter(|(_, holds)| !holds).map(|(path, _)| path).collect())
}

const NO_SEAL: &str = "it has no seal, or a broken one";
