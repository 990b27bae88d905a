//! What the tests of the format library make packages with.
#![allow(unreachable_pub, reason = "those tests compile it as modules of their own")]

#[path = "../../../pspf-core/tests/common/mod.rs"]
pub mod common;
#[path = "../../../pspf-core/tests/sweep/mod.rs"]
pub mod sweep;
