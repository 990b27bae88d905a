//! What a Rust program needs when there is no C library under it.
//!
//! | part        | stands in for                          |
//! |-------------|----------------------------------------|
//! | `arch`      | crt1.o: `_start` and `exit`            |
//! | `memory`    | memcpy, memmove, memset, memcmp, strlen |
//! | [`process`] | what `_start` finds on the stack       |
//! | [`heap`]    | malloc                                 |
//! | `panic`     | the panic runtime                      |
//!
//! A binary names its main function with [`entry!`] and links without libc; everything else comes
//! from here. The library proper is portable Rust over Linux system calls; what depends on the
//! processor is one file under `arch`.
//!
//! The process has one thread, and [`heap`] relies on it: nothing here starts another. A forked
//! child has its own copy of everything, so forking is fine.

#![cfg_attr(not(test), no_std)]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!(
    "the freestanding launcher runs on x86_64 Linux only. For another processor add src/arch/<name>.rs; \
     for another system build the launcher library with its `std` feature instead."
);

mod arch;
pub mod heap;
#[cfg(test)]
mod memory;
#[cfg(not(test))]
mod panic;
pub mod process;

pub use process::Process;

/// Makes `$main`, a `fn(Process) -> i32`, what the program runs. Its result is the exit code.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // SAFETY: no other function of that name exists: the symbol is this crate's own, and a binary has one `entry!`.
        #[unsafe(no_mangle)]
        fn freestanding_main(process: $crate::Process) -> i32 {
            $main(process)
        }
    };
}

#[cfg(not(test))]
#[global_allocator]
static HEAP: heap::Heap = heap::Heap::new();

/// Ends the process.
#[cfg(not(test))]
pub fn exit(code: i32) -> ! {
    arch::exit(code)
}

/// Where `_start` arrives, on an aligned stack.
///
/// # Safety
///
/// `stack` must be the stack pointer that the kernel gave to `_start`.
#[cfg(not(test))]
unsafe extern "C" fn start(stack: *const usize) -> ! {
    unsafe extern "Rust" {
        fn freestanding_main(process: Process) -> i32;
    }
    // SAFETY: the caller's promise is exactly what `from_stack` asks for, and the initial stack is never unmapped.
    let process = unsafe { Process::from_stack(stack) };
    // SAFETY: `entry!` defines it with this signature; without `entry!` the program does not link.
    arch::exit(unsafe { freestanding_main(process) })
}
