//! What the repository's own rules look at: its files and its packages.
//!
//! The rules themselves are tests under `tests/`, one file per kind. Nothing here judges, and nothing here changes a file.

mod packages;
mod source_file;

pub use packages::{DependencyKind, Edge, LockedPackage, Package, locked_packages, packages};
pub use source_file::{SourceFile, source_files};

use std::path::{Path, PathBuf};

/// The repository's root folder.
#[must_use]
pub fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// One line for everything found, so that one run shows all of it.
#[must_use]
pub fn report(rule: &str, findings: &[String]) -> String {
    format!("{rule}:\n  {}\n", findings.join("\n  "))
}
