//! kill -9 of real processes while they register, export and evict: see `examples/kill_imports.rs`, whose figures it checks.
//! The benches run the same with 200.
//!
//! `cargo test -p hanok-registry` builds the example; with `--test registry` alone it must be built before.

use std::path::PathBuf;
use std::process::Command;

/// The example beside this test's own program.
fn example() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(|deps| deps.parent()).unwrap().join("examples").join("kill_imports")
}

#[test]
fn kills_lose_nothing_and_leave_nothing() {
    let output = Command::new(example()).args(["parent", "50", "20260501"]).output().unwrap();
    let (told, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{log}");
    let figures: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(figures["kills"], 50, "{figures}");
    assert_eq!((&figures["lost"], &figures["half"]), (&serde_json::json!(0), &serde_json::json!(0)), "{figures}");
    assert!(figures["exported"].as_u64().unwrap() > 10, "{figures}");
    // Kills hit the middle of the work, not its end only.
    assert!(figures["killed_at_work"].as_u64().unwrap() > 10, "{figures}");
}
