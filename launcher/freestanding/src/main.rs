//! `pspf-launcher`, the first bytes of every package for Linux: hands the process to the launcher library.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::ffi::CStr;

use freestanding::Process;
use launcher::Start;

freestanding::entry!(main);

fn main(process: Process) -> i32 {
    launcher::start(Start {
        args: process.args().map(owned).collect(),
        env: process.env().map(owned).collect(),
        execfn: process.execfn().map(owned),
        secure: process.secure(),
    })
}

fn owned(text: &CStr) -> Vec<u8> {
    text.to_bytes().into()
}
