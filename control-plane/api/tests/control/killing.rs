//! kill -9 of a real control plane, again and again, while it steers: see `examples/kill_rollouts.rs`.

use std::path::PathBuf;
use std::process::Command;

/// The example beside this test's own program.
fn example() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(|deps| deps.parent()).unwrap().join("examples").join("kill_rollouts")
}

#[test]
fn no_step_is_lost_or_doubled_when_killed_at_random_points() {
    let output = Command::new(example()).args(["parent", "30", "20260101"]).output().unwrap();
    let (told, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{log}");
    let figures: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(figures["kills"], 30, "{figures}");
    assert_eq!((&figures["lost"], &figures["doubled"]), (&serde_json::json!(0), &serde_json::json!(0)), "{figures}");
}
