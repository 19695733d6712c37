//! Discovery on the machine at hand: devices, or a reason; never a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use hanok_devices::{DiscoverySettings, discover};

#[test]
fn this_machine_has_devices_or_a_reason() {
    let found = discover(&DiscoverySettings::default());
    match found.why_none() {
        None => assert!(found.devices.iter().all(|device| device.memory_bytes > 0)),
        Some(reason) => eprintln!("no GPU here: {reason}"),
    }
}
