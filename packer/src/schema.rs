//! The JSON Schemas of manifests, for editors.

/// A kind of manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manifest {
    /// `app.toml` and `app.json`.
    Generic,
    /// The table `[tool.flavor]` of a `pyproject.toml`.
    Flavor,
}

/// Its schema: JSON Schema, draft 2020-12.
pub fn of(manifest: Manifest) -> &'static str {
    match manifest {
        Manifest::Generic => include_str!("schema/app.json"),
        Manifest::Flavor => include_str!("schema/flavor.json"),
    }
}
