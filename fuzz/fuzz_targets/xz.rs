#![no_main]
#![allow(missing_docs, reason = "pspf_fuzz::targets describes the targets")]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    pspf_fuzz::targets::run("xz", input);
});
