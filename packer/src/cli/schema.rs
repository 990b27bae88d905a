//! `packer schema`

use packer::schema::{self, Manifest};

use super::print;

/// Print the JSON Schema of a manifest, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Editors complete and check manifests with it; for TOML, begin the file with the line
  #:schema ./app.schema.json

Example: packer schema > app.schema.json")]
pub(super) struct Args {
    /// Which manifest
    #[arg(value_enum, default_value_t = Which::App)]
    which: Which,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Which {
    /// app.toml and app.json: files and a command
    App,
    /// [tool.flavor] of a pyproject.toml
    Flavor,
}

pub(super) fn run(args: &Args) {
    let manifest = match args.which {
        Which::App => Manifest::Generic,
        Which::Flavor => Manifest::Flavor,
    };
    print(schema::of(manifest).trim_end());
}
