//! Manifests: what the user wrote, typed and checked.
