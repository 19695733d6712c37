//! The workspace's packages as `cargo metadata` tells them, and the locked versions of everything they use.
//!
//! Reads only what is on disk; cargo is told to stay offline.

#![allow(clippy::expect_used, reason = "a repository that cargo cannot read has failed every rule")]

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::repository_root;

/// One package of the workspace.
#[derive(Debug)]
pub struct Package {
    /// Name, such as `hanok-tensor`.
    pub name: String,
    /// Folder from the repository's root; empty for the root package.
    pub folder: String,
    /// What it depends on within the workspace.
    pub edges: Vec<Edge>,
}

/// One dependency on another package of the workspace.
#[derive(Debug)]
pub struct Edge {
    /// Name of the package depended upon.
    pub on: String,
    /// What for.
    pub kind: DependencyKind,
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyKind {
    /// The product.
    Normal,
    /// Building it.
    Build,
    /// Testing it.
    Development,
}

/// One entry of the lock file.
#[derive(Debug)]
pub struct LockedPackage {
    /// Name.
    pub name: String,
    /// Major, minor, patch.
    pub version: (u64, u64, u64),
}

/// The workspace's packages with the edges between them.
///
/// # Panics
/// When cargo cannot describe the workspace.
#[must_use]
pub fn packages() -> Vec<Package> {
    let root = repository_root().canonicalize().expect("the repository's root exists");
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(&root)
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let all = metadata["packages"].as_array().expect("packages is a list");
    let names: Vec<&str> = all.iter().filter_map(|package| package["name"].as_str()).collect();
    all.iter()
        .map(|package| {
            let manifest = package["manifest_path"].as_str().expect("a package has a manifest");
            let folder = manifest.trim_end_matches("Cargo.toml").trim_end_matches('/');
            Package {
                name: package["name"].as_str().expect("a package has a name").to_owned(),
                folder: folder.trim_start_matches(&*root.to_string_lossy()).trim_start_matches('/').to_owned(),
                edges: edges(package, &names),
            }
        })
        .collect()
}

fn edges(package: &Value, members: &[&str]) -> Vec<Edge> {
    let dependencies = package["dependencies"].as_array().expect("dependencies is a list");
    dependencies
        .iter()
        .filter_map(|dependency| {
            let on = dependency["name"].as_str()?;
            let kind = match dependency["kind"].as_str() {
                Some("dev") => DependencyKind::Development,
                Some("build") => DependencyKind::Build,
                _ => DependencyKind::Normal,
            };
            members.contains(&on).then(|| Edge { on: on.to_owned(), kind })
        })
        .collect()
}

/// Everything in the lock file.
///
/// # Panics
/// When there is no lock file.
#[must_use]
pub fn locked_packages() -> Vec<LockedPackage> {
    let text =
        fs::read_to_string(repository_root().join("Cargo.lock")).expect("the lock file is part of the repository");
    let mut locked = Vec::new();
    let mut name = None;
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("name = ") {
            name = Some(value.trim_matches('"').to_owned());
        } else if let (Some(value), Some(name)) = (line.strip_prefix("version = "), name.take()) {
            locked.push(LockedPackage { name, version: version(value.trim_matches('"')) });
        }
    }
    locked
}

/// Numbers of a version; what follows a `-` or `+` does not count.
fn version(text: &str) -> (u64, u64, u64) {
    let mut numbers =
        text.split(['-', '+']).next().unwrap_or_default().split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
