//! Fuzz targets of the format library, their seeds, and what the stable engine changes inputs with.
//!
//! [`targets`] are plain functions: `fuzz_targets/` hands them to libFuzzer, `src/bin/stable.rs` runs them without it,
//! and `pspf-core/tests/corpus.rs` runs them over every seed and every past finding. `README.md` says how to run them.

pub mod mutate;
pub mod seeds;
pub mod targets;
