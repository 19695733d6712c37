//! Versions below which a dependency has a known hole, and packages that must not come in at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use hanok_tidy::{locked_packages, report};

/// First version without the named advisory.
const MINIMUM: [(&str, (u64, u64, u64), &str); 10] = [
    ("h2", (0, 4, 16), "RUSTSEC-2026-0258: empty DATA frames without end"),
    ("bytes", (1, 11, 1), "RUSTSEC-2026-0007: overflow in reserve"),
    ("memmap2", (0, 9, 11), "RUSTSEC-2026-0186"),
    ("tar", (0, 4, 45), "RUSTSEC-2026-0067 and 0068: escapes from the folder"),
    ("tonic", (0, 12, 3), "RUSTSEC-2024-0376: the accept loop ends on an error"),
    ("hyper", (1, 0, 0), "RUSTSEC-2021-0020 and 0078: request smuggling"),
    ("prost", (0, 6, 1), "RUSTSEC-2020-0002: unbounded recursion"),
    ("rustls", (0, 23, 18), "RUSTSEC-2024-0399: a panic in accepting"),
    ("tokio", (1, 44, 2), "RUSTSEC-2025-0023: a broadcast channel shared unsoundly"),
    ("crossbeam-channel", (0, 5, 15), "RUSTSEC-2025-0024: a double free on drop"),
];

/// Packages that would break a promise: cargo alone builds it, no vendor library is downloaded or linked.
const REFUSED: [(&str, &str); 5] = [
    ("cmake", "the build needs nothing but cargo"),
    ("openssl-sys", "links a system library at build time"),
    ("protobuf-src", "compiles protoc from C++"),
    ("protoc-bin-vendored", "a prebuilt binary"),
    ("zip", "no archive is read: identifiers and models never come in one"),
];

#[test]
fn locked_versions_have_no_known_hole() {
    let locked = locked_packages();
    assert!(locked.iter().any(|package| package.name == "h2"), "the lock file was not read");
    let mut findings = Vec::new();
    for (name, minimum, reason) in MINIMUM {
        for package in locked.iter().filter(|package| package.name == name && package.version < minimum) {
            findings.push(format!("`{name}` {:?}, expected at least {minimum:?} ({reason})", package.version));
        }
    }
    for (name, reason) in REFUSED {
        if locked.iter().any(|package| package.name == name) {
            findings.push(format!("`{name}` is not to be used: {reason}"));
        }
    }
    assert!(findings.is_empty(), "{}", report("locked packages", &findings));
}
