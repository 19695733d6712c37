//! Every input of the checked-in corpora, as an ordinary test: what was found once is never lost again.
//!
//! Beside the inputs themselves, each is tried cut at every eighth byte and with single bytes changed, by a fixed rule:
//! a little of what the fuzzer does, on every run of the tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

use hanok_fuzz::{TARGETS, Target};

/// Bytes that mean something to one of the grammars.
const INTERESTING: [u8; 12] = [0, 0x7f, 0x80, 0xff, b'"', b'[', b'{', b'}', b'-', b'9', b'\\', b'#'];

fn replay(name: &str) {
    let target: Target = TARGETS.iter().find(|(target, _)| *target == name).unwrap().1;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let input = fs::read(entry.unwrap().path()).unwrap();
        target(&input);
        count += 1;
        for end in (0..input.len()).step_by(8) {
            target(&input[..end]);
        }
        let mut changed = input.clone();
        for at in (0..input.len()).step_by(1 + input.len() / 64) {
            for byte in INTERESTING {
                changed[at] = byte;
                target(&changed);
            }
            changed[at] = input[at];
        }
    }
    assert!(count >= 5, "the corpus of `{name}` has lost its inputs");
}

#[test]
fn http_infer() {
    replay("http_infer");
}

#[test]
fn grpc_infer() {
    replay("grpc_infer");
}

#[test]
fn repository_requests() {
    replay("repository_requests");
}

#[test]
fn config_pbtxt() {
    replay("config_pbtxt");
}

#[test]
fn config_json() {
    replay("config_json");
}

#[test]
fn onnx_signature() {
    replay("onnx_signature");
}
