//! `pspf-launcher`, the first bytes of every package for Linux: hands the process to the launcher library.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::borrow::ToOwned;

use freestanding::Process;
use launcher::Start;

freestanding::entry!(main);

fn main(process: Process) -> i32 {
    launcher::start(Start {
        args: process.args().map(ToOwned::to_owned).collect(),
        env: process.env().map(ToOwned::to_owned).collect(),
        execfn: process.execfn().map(ToOwned::to_owned),
        secure: process.secure(),
    })
}
