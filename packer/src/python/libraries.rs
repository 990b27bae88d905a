//! The shared libraries that an interpreter borrows from this machine.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::{self, run};
use super::elf::{self, Elf};
use crate::error::Result;
use crate::progress::Progress;

/// Finds libraries as this machine's loader would.
pub(super) struct Loader {
    /// What `ldconfig -p` lists: every file that has the name, best first.
    listed: HashMap<String, Vec<PathBuf>>,
    /// `LD_LIBRARY_PATH`, since an interpreter that only runs with it is packaged with it too.
    from_environment: Vec<PathBuf>,
}

/// What one ELF file needs from outside itself and glibc, all the way down.
#[derive(Debug, Default)]
pub(super) struct Closure {
    /// Libraries to carry, by soname.
    pub(super) found: BTreeMap<String, PathBuf>,
    /// Sonames that this machine has not.
    pub(super) missing: Vec<String>,
}

impl Loader {
    pub(super) fn new(progress: &dyn Progress) -> Result<Self> {
        let program = command::on_path("ldconfig")
            .into_iter()
            .chain(["/sbin/ldconfig", "/usr/sbin/ldconfig"].map(PathBuf::from))
            .find(|file| command::is_executable(file));
        let mut listed: HashMap<String, Vec<PathBuf>> = HashMap::new();
        if let Some(program) = program {
            let output = run(Command::new(program).arg("-p").env("LC_ALL", "C"), progress)?;
            for line in output.stdout_text().lines() {
                // "\tlibz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1"
                let Some((name, path)) = line.trim().split_once(" => ") else { continue };
                let name = name.split_whitespace().next().unwrap_or_default();
                listed.entry(name.to_owned()).or_default().push(PathBuf::from(path.trim()));
            }
        }
        let path = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let from_environment = std::env::split_paths(&path).filter(|directory| directory.is_absolute()).collect();
        Ok(Self { listed, from_environment })
    }

    /// Everything that the file at `path` makes the loader load. Libraries of its neighbours count as found.
    pub(super) fn closure(&self, path: &Path) -> Result<Closure> {
        let mut closure = Closure::default();
        let Some(elf) = Elf::read(path)? else { return Ok(closure) };
        // A run path with the old tag also holds for the libraries of a library, so it is handed down.
        let mut queue = vec![(elf, path.to_path_buf(), Vec::new())];
        while let Some((elf, path, inherited)) = queue.pop() {
            let origin = path.parent().unwrap_or(Path::new("/")).to_path_buf();
            let rpath = expand(elf.rpath.as_deref(), &origin);
            let runpath = expand(elf.runpath.as_deref(), &origin);
            let mut handed_down = rpath;
            handed_down.extend(inherited);
            for soname in &elf.needed {
                if is_glibc(soname) || closure.found.contains_key(soname) || closure.missing.contains(soname) {
                    continue;
                }
                match self.find(soname, &elf, &handed_down, &runpath) {
                    // Useless without the glibc it was built with, which is the one thing that does not travel.
                    Some((_, library)) if library.private => {}
                    Some((file, library)) => {
                        closure.found.insert(soname.clone(), file.clone());
                        queue.push((library, file, handed_down.clone()));
                    }
                    None => closure.missing.push(soname.clone()),
                }
            }
        }
        closure.missing.sort();
        Ok(closure)
    }

    fn find(&self, soname: &str, user: &Elf, rpath: &[PathBuf], runpath: &[PathBuf]) -> Option<(PathBuf, Elf)> {
        let rpath = if user.runpath.is_some() { &[] } else { rpath };
        let in_directories = [rpath, &self.from_environment, runpath].concat().into_iter().map(|dir| dir.join(soname));
        let listed = self.listed.get(soname).into_iter().flatten().cloned();
        let standard = STANDARD.iter().map(|directory| Path::new(directory).join(soname));
        in_directories.chain(listed).chain(standard).find_map(|file| {
            let file = std::fs::canonicalize(file).ok()?;
            let library = Elf::read(&file).ok()??;
            (library.machine == user.machine).then_some((file, library))
        })
    }
}

/// The libraries that extension modules below `sites` expect of the user's machine, besides glibc: what is neither
/// beside them nor in the runtime's `lib`.
pub(super) fn expected_of_the_machine(sites: &[&Path], runtime: &Path) -> Result<BTreeSet<String>> {
    let mut present = BTreeSet::new();
    let mut needed = BTreeSet::new();
    for site in sites {
        elf::each(site, &mut |relative, elf| {
            present.extend(relative.file_name().map(|name| name.to_string_lossy().into_owned()));
            needed.extend(elf.needed);
        })?;
    }
    needed
        .retain(|soname| !is_glibc(soname) && !present.contains(soname) && !runtime.join("lib").join(soname).exists());
    Ok(needed)
}

/// Where loaders look without being told, for machines whose loader keeps no list.
const STANDARD: [&str; 5] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"];

/// True for the parts of the C library: they belong to the machine that runs the package.
///
/// libcrypt and libnsl are not among them. Both left glibc, many machines have neither, and where they are still
/// glibc's the symbols they need say so.
pub(super) fn is_glibc(soname: &str) -> bool {
    let stem = soname.split(".so").next().unwrap_or(soname);
    let family = [
        "libc",
        "libm",
        "libpthread",
        "libdl",
        "librt",
        "libutil",
        "libresolv",
        "libanl",
        "libmvec",
        "libthread_db",
        "libBrokenLocale",
    ];
    family.contains(&stem)
        || ["ld-linux", "ld-musl", "libc.musl", "ld64", "linux-vdso", "libnss_"]
            .iter()
            .any(|prefix| soname.starts_with(prefix))
}

fn expand(run_path: Option<&str>, origin: &Path) -> Vec<PathBuf> {
    let origin = origin.to_string_lossy();
    run_path
        .unwrap_or_default()
        .split(':')
        .filter(|directory| !directory.is_empty())
        .map(|directory| PathBuf::from(directory.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_library_stays_and_what_left_it_travels() {
        for soname in ["libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "libpthread.so.0", "libresolv.so.2"] {
            assert!(is_glibc(soname), "{soname}");
        }
        for soname in ["libcrypt.so.1", "libnsl.so.2", "libcrypto.so.3", "libmpdec.so.3", "libgcc_s.so.1"] {
            assert!(!is_glibc(soname), "{soname}");
        }
    }

    #[test]
    fn origin_is_the_directory_of_the_file() {
        let expanded = expand(Some("$ORIGIN/../lib::${ORIGIN}"), Path::new("/opt/x/bin"));
        assert_eq!(expanded, [PathBuf::from("/opt/x/bin/../lib"), PathBuf::from("/opt/x/bin")]);
    }
}
