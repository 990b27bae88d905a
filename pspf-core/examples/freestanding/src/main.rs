//! `list-slots PACKAGE`: checks every byte of a package and lists its slots, with `pspf-core` and system calls alone.
//!
//! ```sh
//! cd pspf-core/examples/freestanding && cargo build --release
//! target/release/list-slots myapp.psp
//! ```
//!
//! All that the format library asks of its host is an allocator and a [`Source`]: here `pread` on Linux. The entry
//! point, the allocator and the panic handler are the launcher's, which sets the processor: x86-64.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString as _};
use core::ffi::CStr;

use freestanding::Process;
use pspf_core::{Error, ErrorKind, Package, Result, Source};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

freestanding::entry!(main);

/// Exit codes: 0 when every check passed, 1 when one did not, 2 without a package.
fn main(process: Process) -> i32 {
    let (text, to, code) = match process.args().nth(1).map(list) {
        // SAFETY: both file descriptors are borrowed for one write; were one closed, the kernel would answer EBADF.
        Some(Ok(list)) => (list, unsafe { rustix::stdio::stdout() }, 0),
        // SAFETY: as above.
        Some(Err(error)) => (format!("list-slots: {error}\n"), unsafe { rustix::stdio::stderr() }, 1),
        // SAFETY: as above.
        None => ("usage: list-slots PACKAGE\n".to_string(), unsafe { rustix::stdio::stderr() }, 2),
    };
    if write_all(to, text.as_bytes()).is_ok() { code } else { 1 }
}

/// One line for each slot: its id, how many bytes are stored, how many they stand for, and how they were made.
fn list(path: &CStr) -> Result<String> {
    let package = Package::open(File::open(path)?)?;
    let verified = package.verify()?;
    verified.check_launcher()?;
    let mut list = format!("{}: key {}\n", verified.metadata().name, verified.key_id());
    for (index, (slot, descriptor)) in (0..).zip(verified.metadata().slots.iter().zip(package.table())) {
        let mut reader = verified.slot(index)?;
        loop {
            let ready = reader.fill()?.len();
            if ready == 0 {
                break;
            }
            reader.consume(ready);
        }
        let size = reader.consumed();
        // Only the end proves that these were the signed bytes.
        reader.finish()?;
        list.push_str(&format!("{} {} {size} {}\n", slot.id, descriptor.size, descriptor.operations.name()));
    }
    Ok(list)
}

/// An open file of a size that was asked for once.
struct File {
    fd: OwnedFd,
    size: u64,
}

impl File {
    fn open(path: &CStr) -> Result<Self> {
        let failed = |errno| source_error(0, 0, errno);
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let size = rustix::fs::fstat(&fd).map_err(failed)?.st_size as u64;
        Ok(Self { fd, size })
    }
}

impl Source for File {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let len = buf.len();
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(&self.fd, &mut *buf, offset));
        read.map_err(|errno| source_error(offset, len, errno))
    }
}

fn source_error(at: u64, len: usize, errno: Errno) -> Error {
    ErrorKind::Source { at, len: len as u64, errno: Some(errno.raw_os_error()) }.into()
}

fn write_all(to: BorrowedFd<'_>, mut text: &[u8]) -> Result<(), Errno> {
    while !text.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(to, text))?;
        text = text.get(written..).unwrap_or_default();
    }
    Ok(())
}
