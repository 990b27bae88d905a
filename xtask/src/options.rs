//! What is typed behind a task's name.

use anyhow::{Context as _, Result, bail};

/// What an option does when it is there.
pub(crate) enum Takes<'o> {
    /// It is set.
    Nothing(&'o mut bool),
    /// The word behind it is this number.
    Number(&'o mut u64),
}

/// Reads the options of a task; a word that is none of them is an error.
pub(crate) fn read(task: &str, args: &[String], options: &mut [(&str, Takes<'_>)]) -> Result<()> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some((name, takes)) = options.iter_mut().find(|(name, _)| name == arg) else {
            bail!("{task} does not know {arg:?}; it takes {}", list(options));
        };
        match takes {
            Takes::Nothing(is_set) => **is_set = true,
            Takes::Number(number) => {
                let word = args.next().with_context(|| format!("{name} needs a number"))?;
                **number = word.parse().with_context(|| format!("{name} needs a number, not {word:?}"))?;
            }
        }
    }
    Ok(())
}

/// `--write` alone, which most tasks take: put into the repository what was measured.
pub(crate) fn write(task: &str, args: &[String]) -> Result<bool> {
    let mut write = false;
    read(task, args, &mut [("--write", Takes::Nothing(&mut write))])?;
    Ok(write)
}

fn list(options: &[(&str, Takes<'_>)]) -> String {
    let shown = options.iter().map(|(name, takes)| match takes {
        Takes::Nothing(_) => (*name).to_owned(),
        Takes::Number(_) => format!("{name} N"),
    });
    shown.collect::<Vec<_>>().join(" and ")
}
