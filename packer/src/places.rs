//! Where packer keeps what is not part of a project: its cache, the user's key, added launchers, and who is trusted.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use etcetera::BaseStrategy;
use launcher::cache::Cache;
use launcher::environment::Environment;

use crate::error::{Error, Kind, Result};
use crate::package_file::of_launcher;

/// The build cache: interpreters made self-contained, compiled dependencies, encoded slots. Everything in it can be
/// made again.
///
/// `build` in the directory that packages extract to ([`Cache::open`]), which is checked to be the user's own: what is in
/// it goes into what they sign.
pub fn build_cache() -> Result<PathBuf> {
    let cache = Cache::open(&environment()).map_err(|error| of_launcher(&error))?;
    Ok(PathBuf::from(OsString::from_vec(cache.path().to_vec())).join("build"))
}

/// The environment of this process, as the launcher takes it.
pub fn environment() -> Environment {
    let variables: Vec<Vec<u8>> =
        std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat()).collect();
    Environment::new(variables)
}

/// Where the key lives that packer makes when it is given none: `XDG_CONFIG_HOME/pspf/keys`, else
/// `~/.config/pspf/keys`.
pub fn keys() -> Result<PathBuf> {
    let base = etcetera::choose_base_strategy().map_err(|_| {
        Error::new(Kind::Configuration, "there is no home directory to keep a signing key in")
            .hint("set HOME, or give a key with --private-key (packer keygen makes one)")
    })?;
    Ok(base.config_dir().join("pspf/keys"))
}

/// Where the user says whom to trust: `XDG_CONFIG_HOME/pspf`, else `~/.config/pspf`; `None` without a home directory.
pub fn config() -> Option<PathBuf> {
    etcetera::choose_base_strategy().ok().map(|base| base.config_dir().join("pspf"))
}

/// What the user has added to packer, launchers for one: `XDG_DATA_HOME/pspf`, else `~/.local/share/pspf`.
pub fn data() -> Result<PathBuf> {
    let base = etcetera::choose_base_strategy().map_err(|_| {
        Error::new(Kind::Configuration, "there is no home directory to keep launchers in").hint("set HOME")
    })?;
    Ok(base.data_dir().join("pspf"))
}

/// Where the administrator says it for everybody. No variable moves it: what he demands would be gone.
pub fn system_config() -> PathBuf {
    PathBuf::from("/etc/pspf")
}
