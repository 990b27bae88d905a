//! Link arguments of the binaries. The host tests of the library link as any other program.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=link.ld");
    for argument in [
        // Our own `_start`, and nothing from the C library or its start files.
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        // Code is never writable and the stack never executable.
        "-Wl,-z,noexecstack",
        // Without relocations there is nothing to protect after them.
        "-Wl,-z,norelro",
        // Segments start on 4 KiB pages, not on 2 MiB ones.
        "-Wl,-z,max-page-size=4096",
        "-Wl,-z,common-page-size=4096",
        "-Wl,--gc-sections",
        "-Wl,--build-id=none",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    // Panics exit: unwind tables are of no use.
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    for argument in ["-Wl,--no-eh-frame-hdr", "-T", &format!("{directory}/link.ld")] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
