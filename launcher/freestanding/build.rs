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
    // Functions that come to the same code become one: 500 bytes. rustc brings this linker along where it is its own.
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
    // Panics exit: unwind tables are of no use.
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    for argument in ["-Wl,--no-eh-frame-hdr", "-T", &format!("{directory}/link.ld")] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
