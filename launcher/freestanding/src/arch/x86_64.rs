//! x86-64: the System V calling convention and the Linux system call convention.
//!
//! Nothing here asks what the processor can do: SSE2 is part of the architecture.

#[cfg(not(test))]
use core::arch::asm;
use core::arch::naked_asm;

/// The first instructions of the process. The kernel leaves the arguments on the stack and nothing in the registers.
// SAFETY: the linker looks for this name, and with -nostartfiles no other object has it.
#[cfg(not(test))]
#[unsafe(no_mangle)]
#[unsafe(naked)]
extern "C" fn _start() -> ! {
    naked_asm!(
        "xor ebp, ebp",   // the outermost frame, for debuggers
        "mov rdi, rsp",   // what the kernel left
        "and rsp, -16",   // aligned already, says the ABI; a kernel that is not careful costs nothing
        "call {start}",
        "ud2",
        start = sym crate::start,
    )
}

/// Ends the process, all of its threads included.
#[cfg(not(test))]
pub(crate) fn exit(code: i32) -> ! {
    const EXIT_GROUP: usize = 231;
    // SAFETY: exit_group takes one argument, reads no memory of ours and does not return.
    unsafe { asm!("syscall", "ud2", in("rax") EXIT_GROUP, in("rdi") code, options(noreturn, nostack)) }
}

/// Copies `len` bytes; the ranges may overlap.
///
/// Up to 64 bytes everything is read before anything is written. Beyond, 64 bytes per step with
/// aligned stores, away from the overlap; both ends are read first and written last, which covers
/// the unaligned rest.
///
/// # Safety
///
/// `from` must be readable and `to` writable for `len` bytes.
// SAFETY: the name belongs to the C function of this signature and meaning; without libc no other object has it.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16",
        "jb 20f",
        "cmp rdx, 32",
        "ja 30f",
        // 16..=32
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm1",
        "ret",
        // 8..=15
        "20:",
        "cmp edx, 8",
        "jb 21f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        // 4..=7
        "21:",
        "cmp edx, 4",
        "jb 22f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        // 0..=3: first, middle and last byte, which may be the same one
        "22:",
        "test edx, edx",
        "je 23f",
        "movzx ecx, byte ptr [rsi]",
        "movzx r8d, byte ptr [rsi + rdx - 1]",
        "mov r9d, edx",
        "shr r9d",
        "movzx r10d, byte ptr [rsi + r9]",
        "mov [rdi], cl",
        "mov [rdi + r9], r10b",
        "mov [rdi + rdx - 1], r8b",
        "23:",
        "ret",
        // 33..=64
        "30:",
        "cmp rdx, 64",
        "ja 40f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + rdx - 32]",
        "movups xmm3, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + rdx - 32], xmm2",
        "movups [rdi + rdx - 16], xmm3",
        "ret",
        // More. Backwards if `to` lies inside the source, that is to - from < len.
        "40:",
        "mov rcx, rdi",
        "sub rcx, rsi",
        "cmp rcx, rdx",
        "jb 60f",
        // Forwards: the first 16 bytes and the last 64 are kept in registers.
        "movups xmm8, [rsi]",
        "movups xmm4, [rsi + rdx - 64]",
        "movups xmm5, [rsi + rdx - 48]",
        "movups xmm6, [rsi + rdx - 32]",
        "movups xmm7, [rsi + rdx - 16]",
        "lea r8, [rdi + rdx - 64]",
        "mov ecx, edi",
        "neg ecx",
        "and ecx, 15",
        "add rdi, rcx",
        "add rsi, rcx",
        "cmp rdi, r8",
        "jae 51f",
        ".p2align 4",
        "50:",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + 32]",
        "movups xmm3, [rsi + 48]",
        "add rsi, 64",
        "movaps [rdi], xmm0",
        "movaps [rdi + 16], xmm1",
        "movaps [rdi + 32], xmm2",
        "movaps [rdi + 48], xmm3",
        "add rdi, 64",
        "cmp rdi, r8",
        "jb 50b",
        "51:",
        "movups [r8], xmm4",
        "movups [r8 + 16], xmm5",
        "movups [r8 + 32], xmm6",
        "movups [r8 + 48], xmm7",
        "movups [rax], xmm8",
        "ret",
        // Backwards: the first 64 bytes and the last 16 are kept in registers.
        "60:",
        "movups xmm4, [rsi]",
        "movups xmm5, [rsi + 16]",
        "movups xmm6, [rsi + 32]",
        "movups xmm7, [rsi + 48]",
        "movups xmm8, [rsi + rdx - 16]",
        "lea r8, [rdi + 64]",
        "lea r9, [rdi + rdx]",
        "lea rsi, [rsi + rdx]",
        "mov ecx, r9d",
        "and ecx, 15",
        "mov rdi, r9",
        "sub rdi, rcx",
        "sub rsi, rcx",
        "cmp rdi, r8",
        "jbe 71f",
        ".p2align 4",
        "70:",
        "movups xmm0, [rsi - 16]",
        "movups xmm1, [rsi - 32]",
        "movups xmm2, [rsi - 48]",
        "movups xmm3, [rsi - 64]",
        "sub rsi, 64",
        "movaps [rdi - 16], xmm0",
        "movaps [rdi - 32], xmm1",
        "movaps [rdi - 48], xmm2",
        "movaps [rdi - 64], xmm3",
        "sub rdi, 64",
        "cmp rdi, r8",
        "ja 70b",
        "71:",
        "movups [r9 - 16], xmm8",
        "movups [rax], xmm4",
        "movups [rax + 16], xmm5",
        "movups [rax + 32], xmm6",
        "movups [rax + 48], xmm7",
        "ret",
    )
}

/// As [`memmove`]: not having to overlap makes nothing faster.
///
/// # Safety
///
/// As for [`memmove`].
// SAFETY: as for `memmove`.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!("jmp {memmove}", memmove = sym memmove)
}

/// Fills `len` bytes with the low byte of `value`. Shaped as [`memmove`].
///
/// # Safety
///
/// `to` must be writable for `len` bytes.
// SAFETY: as for `memmove`.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "movzx ecx, sil",
        "mov r8, 0x0101010101010101",
        "imul rcx, r8",
        "cmp rdx, 16",
        "jb 20f",
        "movq xmm0, rcx",
        "punpcklqdq xmm0, xmm0",
        "cmp rdx, 64",
        "ja 40f",
        // 16..=64
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm0",
        "cmp edx, 32",
        "jbe 23f",
        "movups [rdi + 16], xmm0",
        "movups [rdi + rdx - 32], xmm0",
        "ret",
        // 8..=15
        "20:",
        "cmp edx, 8",
        "jb 21f",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], rcx",
        "ret",
        // 4..=7
        "21:",
        "cmp edx, 4",
        "jb 22f",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], ecx",
        "ret",
        // 0..=3
        "22:",
        "test edx, edx",
        "je 23f",
        "mov [rdi], cl",
        "mov [rdi + rdx - 1], cl",
        "shr edx",
        "mov [rdi + rdx], cl",
        "23:",
        "ret",
        // More: 16 bytes, then from the next boundary 64 per step, then the last 64.
        "40:",
        "lea r8, [rdi + rdx - 64]",
        "movups [rdi], xmm0",
        "add rdi, 16",
        "and rdi, -16",
        "cmp rdi, r8",
        "jae 51f",
        ".p2align 4",
        "50:",
        "movaps [rdi], xmm0",
        "movaps [rdi + 16], xmm0",
        "movaps [rdi + 32], xmm0",
        "movaps [rdi + 48], xmm0",
        "add rdi, 64",
        "cmp rdi, r8",
        "jb 50b",
        "51:",
        "movups [r8], xmm0",
        "movups [r8 + 16], xmm0",
        "movups [r8 + 32], xmm0",
        "movups [r8 + 48], xmm0",
        "ret",
    )
}

/// Compares as unsigned bytes: negative, zero or positive as `a` is less than, equal to or greater than `b`.
///
/// # Safety
///
/// `a` and `b` must be readable for `len` bytes.
// SAFETY: as for `memmove`.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    naked_asm!(
        "cmp rdx, 8",
        "jb 40f",
        // Words, then the last word, which may overlap the one before.
        "sub rdx, 8",
        "xor ecx, ecx",
        "20:",
        "cmp rcx, rdx",
        "jae 21f",
        "mov r8, [rdi + rcx]",
        "mov r9, [rsi + rcx]",
        "add rcx, 8",
        "cmp r8, r9",
        "je 20b",
        "jmp 30f",
        "21:",
        "mov r8, [rdi + rdx]",
        "mov r9, [rsi + rdx]",
        "cmp r8, r9",
        "je 50f",
        // The first byte that differs decides: it is the most significant one, swapped.
        "30:",
        "bswap r8",
        "bswap r9",
        "cmp r8, r9",
        "sbb eax, eax",
        "or eax, 1",
        "ret",
        // 0..=7
        "40:",
        "xor ecx, ecx",
        "41:",
        "cmp rcx, rdx",
        "je 50f",
        "movzx eax, byte ptr [rdi + rcx]",
        "movzx r8d, byte ptr [rsi + rcx]",
        "inc rcx",
        "sub eax, r8d",
        "je 41b",
        "ret",
        "50:",
        "xor eax, eax",
        "ret",
    )
}

/// As [`memcmp`]; only zero or not matters.
///
/// # Safety
///
/// As for [`memcmp`].
// SAFETY: as for `memmove`.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}

/// The length of a C string. Byte by byte: arguments and environment are a few kilobytes.
///
/// # Safety
///
/// `string` must be readable up to and including its zero byte.
// SAFETY: as for `memmove`.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn strlen(string: *const u8) -> usize {
    naked_asm!("xor eax, eax", "20:", "cmp byte ptr [rdi + rax], 0", "je 21f", "inc rax", "jmp 20b", "21:", "ret",)
}
