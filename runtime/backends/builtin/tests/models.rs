//! The repository's models that need no engine: answers must be those of the golden files.

#![allow(clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::Arc;

use hanok_backend::conformance::{Fixture, check};
use hanok_backend_builtin::BuiltinBackend;

#[test]
fn models_of_the_repository_conform() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models");
    for name in ["simple_identity", "simple_string"] {
        let fixture =
            Fixture::from_model_directory(&models.join(name), 1, None).unwrap_or_else(|error| panic!("{error}"));
        assert!(fixture.samples.len() >= 2, "{name} has golden samples");
        if let Err(broken) = check(&|| Ok(Arc::new(BuiltinBackend::new())), &fixture) {
            panic!("{name}: {broken}");
        }
    }
}
