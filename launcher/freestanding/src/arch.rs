//! What depends on the processor. Each file provides the same names: `_start`, [`exit`] and the memory functions.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;
