//! Shows from inside what the runtime does, for tests/runtime.rs. Not part of any package.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;

use freestanding::Process;

freestanding::entry!(main);

fn main(process: Process) -> i32 {
    let args: Vec<_> = process.args().collect();
    match args.get(1).map(|verb| verb.to_bytes()) {
        Some(b"show") => show(&process),
        Some(b"exit") => return number(&args) as i32,
        Some(b"panic") => panic!("as the caller wished"),
        Some(b"index") => _ = black_box(&args)[99],
        Some(b"exhaust") => _ = black_box(vec![1_u8; 1 << 50]),
        Some(b"churn") => churn(number(&args)),
        _ => return 2,
    }
    0
}

/// Arguments and environment, one per line, then what else the kernel said.
fn show(process: &Process) {
    for string in process.args().chain(process.env()).chain(process.execfn()) {
        print(string.to_bytes());
    }
    print(if process.secure() { b"secure" } else { b"not secure" });
}

/// Allocates, grows and frees as extracting so many files does, then prints the process's memory figures.
fn churn(files: usize) {
    for file in 0..files {
        let name = vec![b'n'; 20 + file % 90];
        let mut contents: Vec<u8> = Vec::new();
        while contents.len() < (file * 7919) % 300_000 {
            contents.extend_from_slice(&name);
            contents.extend_from_slice(&[0; 4000]);
        }
        black_box((&name, &contents));
    }
    let mut buffer = [0; 4096];
    for figures in ["/proc/self/status", "/proc/self/smaps_rollup"] {
        let file = rustix::fs::open(figures, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
        if let Ok(len) = file.and_then(|file| rustix::io::read(file, &mut buffer)) {
            print(buffer.get(..len).unwrap_or_default());
        }
    }
}

/// The second argument.
fn number(args: &[&core::ffi::CStr]) -> usize {
    args.get(2).and_then(|text| text.to_str().ok()?.parse().ok()).unwrap_or(0)
}

fn print(line: &[u8]) {
    // SAFETY: file descriptor 1 is borrowed for these calls; were it closed, the kernel would answer EBADF.
    let stdout = unsafe { rustix::stdio::stdout() };
    _ = rustix::io::write(stdout, line);
    _ = rustix::io::write(stdout, b"\n");
}
