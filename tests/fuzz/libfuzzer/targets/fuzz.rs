//! libFuzzer over every target: `HANOK_FUZZ_TARGET` names the one that this process mutates inputs for.
//!
//! One binary for all, so that they are linked once. Run by `tests/fuzz/run`.

#![no_main]

use std::sync::LazyLock;

use hanok_fuzz::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("HANOK_FUZZ_TARGET").unwrap_or_default();
    match TARGETS.iter().find(|(target, _)| *target == name) {
        Some((_, target)) => *target,
        None => panic!("HANOK_FUZZ_TARGET must be one of {:?}, got `{name}`", TARGETS.map(|(target, _)| target)),
    }
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| (*TARGET)(input));
