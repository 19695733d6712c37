//! A crate depends only on crates of a lower rank (ARCHITECTURE, "Who may depend on whom").
//!
//! A test may also use a crate of its own rank; tests and benchmarks as packages may use everything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use hanok_tidy::{DependencyKind, packages, report};

/// Rank by folder. The two sides, `runtime` and `control-plane`, meet only in the binary.
fn rank(folder: &str) -> Option<u32> {
    Some(match folder {
        "runtime/tensor"
        | "runtime/telemetry"
        | "runtime/routing"
        | "runtime/devices"
        | "kernels"
        | "control-plane/state" => 0,
        "runtime/model-config"
        | "runtime/shadow"
        | "control-plane/registry"
        | "control-plane/sources"
        | "control-plane/features"
        | "control-plane/events"
        | "control-plane/monitoring" => 1,
        "runtime/backend" | "control-plane/rollout" | "control-plane/pipelines" | "control-plane/offline" => 2,
        "runtime/scheduler" | "runtime/protocol" | "control-plane/api" | "control-plane/console" => 3,
        backend if backend.starts_with("runtime/backends/") => 3,
        "runtime/repository" => 4,
        "runtime/server" => 5,
        "" => 6,
        _ => return None,
    })
}

fn is_free(folder: &str) -> bool {
    folder.starts_with("tests") || folder.starts_with("benches")
}

/// `runtime`, `control-plane` or, for what either may use, nothing: the traffic table with the observation stream, and the
/// comparison rules, are contracts that the runtime owns and the control plane writes.
fn side(folder: &str) -> Option<&str> {
    if ["runtime/routing", "runtime/shadow"].contains(&folder) {
        return None;
    }
    folder.split('/').next().filter(|side| ["runtime", "control-plane"].contains(side))
}

#[test]
fn crates_depend_only_on_lower_ranks() {
    let packages = packages();
    assert!(packages.len() >= 11, "the workspace has lost its packages");
    let folder_of = |name: &str| {
        packages.iter().find(|package| package.name == name).map(|package| package.folder.as_str()).unwrap()
    };
    let mut findings = Vec::new();
    for package in packages.iter().filter(|package| !is_free(&package.folder)) {
        let Some(own) = rank(&package.folder) else {
            findings.push(format!("`{}` in `{}` has no rank", package.name, package.folder));
            continue;
        };
        for edge in &package.edges {
            let folder = folder_of(&edge.on);
            let lower = match (rank(folder), edge.kind) {
                (None, kind) => is_free(folder) && kind == DependencyKind::Development,
                (Some(other), DependencyKind::Development) => other <= own,
                (Some(other), _) => other < own,
            };
            let same_side = match (side(&package.folder), side(folder)) {
                (Some(own), Some(other)) => own == other,
                _ => true,
            };
            if !(lower && same_side) {
                findings.push(format!("`{}` must not depend on `{}` ({:?})", package.name, edge.on, edge.kind));
            }
        }
    }
    assert!(findings.is_empty(), "{}", report("dependency edges that the ranks do not allow", &findings));
}

#[test]
fn package_names_follow_their_folders() {
    let findings: Vec<String> = packages()
        .iter()
        .filter(|package| {
            let expected = match package.folder.as_str() {
                "" => "hanok".to_owned(),
                folder => {
                    let last = folder.rsplit('/').next().unwrap();
                    let prefix = if folder.starts_with("runtime/backends/") { "hanok-backend-" } else { "hanok-" };
                    format!("{prefix}{last}")
                }
            };
            package.name != expected
        })
        .map(|package| format!("`{}` in `{}`", package.name, package.folder))
        .collect();
    assert!(findings.is_empty(), "{}", report("packages are called hanok-FOLDER", &findings));
}
