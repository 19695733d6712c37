//! Machine code within the program: none unless asked for while building; with it, no compiler is needed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use hanok_kernels::{Architecture, Compiler, Family, Origin, embedded_architectures};

#[test]
fn embedded_machine_code_needs_no_compiler() {
    let architectures = embedded_architectures();
    assert_eq!(architectures.is_empty(), !cfg!(feature = "embed-cubins"));
    let compiler = Compiler::new(Vec::new(), None);
    for architecture in architectures {
        // It also runs on later devices of the same major version.
        for device in [architecture, Architecture { minor: architecture.minor + 1, ..architecture }] {
            for family in Family::ALL {
                let (image, origin) = compiler.cubin(family, device).unwrap();
                assert_eq!(image[..4], *b"\x7fELF");
                assert_eq!(origin, Origin::Embedded);
            }
        }
    }
    // An architecture that nobody embeds.
    assert!(compiler.cubin(Family::Cast, Architecture { major: 3, minor: 0 }).is_err());
}
