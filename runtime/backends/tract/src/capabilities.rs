//! What this backend is, for people: the words of `hanok doctor` and of the log at start.

/// Facts about the backend, constant for a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Name that configurations use.
    pub name: &'static str,
    /// Version of tract.
    pub version: &'static str,
    /// What it computes, in one line.
    pub computes: &'static str,
    /// What would be faster, and how to get it, in one line.
    pub faster: &'static str,
}

/// Facts about the backend.
#[must_use]
pub const fn capabilities() -> Capabilities {
    Capabilities {
        name: "tract",
        version: "0.23.9",
        computes: "ONNX models on the processor, one thread per model instance; decision trees by a kernel of its own",
        faster: "ONNX Runtime computes convolutional networks 2.4 to 4.2 times and most others 1 to 3 times as fast, \
                 and has more operators; `scripts/setup` installs it",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    #[test]
    fn the_version_is_the_one_that_is_built() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../Cargo.toml");
        let manifest = std::fs::read_to_string(root).unwrap();
        assert!(manifest.contains(&format!("tract-onnx = \"={}\"", super::capabilities().version)));
    }
}
