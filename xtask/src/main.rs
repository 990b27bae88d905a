//! The commands that people type: `cargo xtask <task>`.

mod attacks;
mod bench;
mod faults;
mod fuzz;
mod install;
mod load;
mod options;
mod project;
mod results;
mod size;
mod steps;
mod sweep;
mod tamper;
mod test;
mod vectors;

use std::process::ExitCode;

use anyhow::{Result, bail};

struct Task {
    name: &'static str,
    run: fn(&[String]) -> Result<()>,
    usage: &'static str,
    help: &'static str,
}

const TASKS: &[Task] = &[
    Task {
        name: "test",
        run: test::run,
        usage: "test [--install] [--full]",
        help: "Check formatting, lints, documentation, builds without std and licences, then run every test.\n\
               --install first installs what the tests need, and says what; without it, what is missing is\n\
               skipped by name. With it, or with CI=true, whatever would be skipped fails.\n\
               --full takes more samples where a test samples, and attacks the reference as well.",
    },
    Task {
        name: "size",
        run: size::run,
        usage: "size",
        help: "Build the Linux launcher and show what it weighs; fail above the limit of 128 KiB.",
    },
    Task {
        name: "bench",
        run: bench::run,
        usage: "bench [--write] [--quick] [--peers] [--python FILE]",
        help: "Measure starts, sizes, memory and packing in release, and print them as Markdown tables.\n\
               --write also puts them into benches/RESULTS.md; --quick takes a tenth of the rounds.\n\
               --peers compares with the reference, which `test --install` has installed.\n\
               --python names the interpreter to pack, when python3 cannot be.",
    },
    Task {
        name: "load",
        run: load::run,
        usage: "load [--write] [--quick]",
        help: "Start 2 to 500 packages at once, of one version and of two, also while `packer workenv gc` removes what it can, and\n\
               kill one that extracts: failures, extractions, times, memory. Fails when a slot is extracted twice.\n\
               --write also puts them into benches/RESULTS-load.md; --quick takes a tenth of the rounds where there are rounds.",
    },
    Task {
        name: "tamper",
        run: tamper::run,
        usage: "tamper [--write] [--samples N]",
        help: "Start packages whose launcher was changed by one bit, each shut in on its own, and count what came of it.\n\
               --write also puts the counts into benches/RESULTS-tamper.md; --samples is how many bits, 1000 if not given.",
    },
    Task {
        name: "attacks",
        run: attacks::run,
        usage: "attacks [--write]",
        help: "Attack packages of packer's and of the reference, which `test --install` has installed, and show what\n\
               became of them; fail when one of ours does what it must not. --write puts the table into docs/trust.md.",
    },
    Task {
        name: "faults",
        run: faults::run,
        usage: "faults [--write]",
        help: "Make every system call of first, later, upgrading and healing starts and of `packer workenv` fail in every way,\n\
               and kill each there; the next start has to be right. --write puts the counts into benches/RESULTS-faults.md.",
    },
    Task {
        name: "soak",
        run: faults::soak,
        usage: "soak [--cycles N] [--write]",
        help: "Kill starts at random moments, in 100000 cycles; the next start has to be right.\n\
               --write puts the counts into benches/RESULTS-faults.md.",
    },
    Task {
        name: "sweep",
        run: sweep::run,
        usage: "sweep [--write]",
        help: "Change every field of a package and every value of its document, alone and in pairs, with what follows made\n\
               right and signed by another key, and check that nothing wrong is accepted and nothing takes much.\n\
               --write also puts the counts into benches/RESULTS-sweep.md.",
    },
    Task {
        name: "vectors",
        run: vectors::run,
        usage: "vectors [--write]",
        help: "Fetch archives, gzip files and signatures that other projects test with, and compare what we make of them.\n\
               --write also puts the outcomes into benches/RESULTS-vectors.md.",
    },
    Task {
        name: "fuzz",
        run: fuzz::run,
        usage: "fuzz [--minutes N] [--stable] [--seed-corpus] [TARGET..]",
        help: "Fuzz the format library: all targets of fuzz/ or those named, one minute each unless told otherwise.\n\
               By cargo-fuzz on nightly where both are there, else (or with --stable) by an engine for stable Rust.\n\
               --seed-corpus only writes the seeds again.",
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let Some(name) = args.first() else { bail!("a task is needed\n\n{}", help()) };
    if ["help", "--help", "-h"].contains(&name.as_str()) {
        println!("{}", help());
        return Ok(());
    }
    match TASKS.iter().find(|task| task.name == name) {
        Some(task) => (task.run)(&args[1..]),
        None => bail!("there is no task {name:?}\n\n{}", help()),
    }
}

fn help() -> String {
    let mut text = "Usage: cargo xtask TASK\n".to_owned();
    for task in TASKS {
        text.push_str(&format!("\n  {}\n", task.usage));
        for line in task.help.lines() {
            text.push_str(&format!("      {line}\n"));
        }
    }
    text
}
