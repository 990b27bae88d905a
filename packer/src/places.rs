//! Where packer keeps what is not part of a project: its cache and the user's key.

use std::env;
use std::path::PathBuf;

use etcetera::BaseStrategy;

use crate::error::{Error, Kind, Result};

/// The build cache: interpreters made self-contained, compiled dependencies, encoded slots. Everything in it can be
/// made again.
///
/// `PSPF_CACHE_DIR/build`, else `XDG_CACHE_HOME/pspf/build`, else `~/.cache/pspf/build`, else a directory of the user's
/// below the system's temporary one.
pub fn build_cache() -> PathBuf {
    let named = env::var_os("PSPF_CACHE_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = named.or_else(|| etcetera::choose_base_strategy().ok().map(|base| base.cache_dir().join("pspf")));
    base.unwrap_or_else(|| env::temp_dir().join(format!("pspf-{}", rustix::process::geteuid().as_raw()))).join("build")
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
