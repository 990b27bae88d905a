//! The panic handler: one line on standard error, then exit.
//!
//! A panic is a bug of ours, never the user's fault. With the feature `locations` the line says where it happened, and
//! what, unless that needs formatting. Without it nothing of a panic is looked at, so that the linker drops every
//! location, every message and most of `core::fmt`: 7,600 bytes.

use core::panic::PanicInfo;

/// The exit code of a Rust program that panicked.
const EXIT_PANIC: i32 = 101;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    report(info);
    crate::exit(EXIT_PANIC)
}

#[cfg(not(feature = "locations"))]
fn report(_: &PanicInfo<'_>) {
    write(b"pspf: internal error: please tell the makers of packer\n");
}

#[cfg(feature = "locations")]
fn report(info: &PanicInfo<'_>) {
    let mut line = Line { bytes: [0; 512], len: 0 };
    line.push(b"pspf: internal error");
    if let Some(location) = info.location() {
        line.push(b" at ");
        line.push(location.file().as_bytes());
        line.push(b":");
        line.push_number(location.line());
    }
    if let Some(message) = info.message().as_str() {
        line.push(b": ");
        line.push(message.as_bytes());
    }
    line.end();
    write(line.as_bytes());
}

/// One write, so that the line stays whole. If it fails there is nobody left to tell.
pub(crate) fn write(line: &[u8]) {
    // SAFETY: file descriptor 2 is borrowed for one call; were it closed, the kernel would answer EBADF.
    _ = rustix::io::write(unsafe { rustix::stdio::stderr() }, line);
}

/// A line of text of limited length. What does not fit is dropped.
#[cfg(feature = "locations")]
struct Line {
    bytes: [u8; 512],
    len: usize,
}

#[cfg(feature = "locations")]
impl Line {
    fn push(&mut self, text: &[u8]) {
        for (to, &from) in self.bytes.iter_mut().skip(self.len).zip(text) {
            *to = from;
            self.len += 1;
        }
    }

    fn push_number(&mut self, number: u32) {
        if number >= 10 {
            self.push_number(number / 10);
        }
        self.push(&[b'0' + (number % 10) as u8]);
    }

    /// Ends the line, at the cost of its last byte when it is full.
    fn end(&mut self) {
        self.len = self.len.min(self.bytes.len() - 1);
        self.push(b"\n");
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

/// The compiled `core` refers to it; nothing calls it, because panics here do not unwind.
// SAFETY: the only definition of the symbol in a binary without the standard library.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {
    crate::exit(EXIT_PANIC)
}

/// As [`rust_eh_personality`].
// SAFETY: the only definition of the symbol in a binary without the standard library.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    crate::exit(EXIT_PANIC)
}
