//! What a version consists of: each file's path, digest and size. The manifest's own digest names the version's content.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestBuilder};
use crate::error::RegistryError;
use crate::local_files::CONFIGURATION;
use crate::names::check_path;

/// First line of the text whose digest is the manifest's.
const HEADING: &str = "hanok manifest 1\n";

/// One file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileContent {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
}

/// The files of a version by path. Holds at least one file; no path is the folder of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    files: BTreeMap<String, FileContent>,
}

impl Manifest {
    /// A manifest of these files.
    ///
    /// # Errors
    /// `InvalidArgument`: no file, a path that breaks a rule, or a path that is another's folder.
    pub fn new(files: BTreeMap<String, FileContent>) -> Result<Self, RegistryError> {
        if files.is_empty() {
            return Err(RegistryError::invalid("files", "expected one file at least"));
        }
        for path in files.keys() {
            check_path(path)?;
            let mut folder = path.as_str();
            while let Some((above, _)) = folder.rsplit_once('/') {
                if files.contains_key(above) {
                    return Err(RegistryError::invalid("path", format!("`{above}` is a file and a folder")));
                }
                folder = above;
            }
        }
        Ok(Self { files })
    }

    /// The files by path.
    #[must_use]
    pub const fn files(&self) -> &BTreeMap<String, FileContent> {
        &self.files
    }

    /// Sum of the files' sizes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.values().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// The digest of this text: `hanok manifest 1`, then for each file, in the order of the paths' bytes, a line of its
    /// digest in hexadecimal, its size in decimal and its path, with one space between. Each line ends with a line feed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest_of_files(&self.files)
    }

    /// The digest of the version's folder in a model repository, where the configuration lies beside it: what lock files pin.
    #[must_use]
    pub fn laid_digest(&self) -> Digest {
        let mut files = self.files.clone();
        files.remove(CONFIGURATION);
        digest_of_files(&files)
    }
}

/// The digest of a manifest of these files; of none, too: a folder in a model repository may be empty.
pub(crate) fn digest_of_files(files: &BTreeMap<String, FileContent>) -> Digest {
    let mut builder = DigestBuilder::default();
    builder.update(HEADING.as_bytes());
    for (path, file) in files {
        builder.update(format!("{} {} {path}\n", file.digest.hex(), file.bytes).as_bytes());
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    fn manifest(paths: &[&str]) -> Result<Manifest, RegistryError> {
        let file = |text: &str| FileContent { digest: Digest::of(text.as_bytes()), bytes: text.len() as u64 };
        Manifest::new(paths.iter().map(|path| ((*path).to_owned(), file(path))).collect())
    }

    #[test]
    fn the_digest_is_that_of_the_text() {
        // Golden value, from a shell: d() { printf %s "$1" | sha256sum | cut -c-64; }; printf 'hanok manifest 1\n%s 3
        // a/b\n%s 1 c\n' "$(d a/b)" "$(d c)" | sha256sum (on one line).
        let found = manifest(&["c", "a/b"]).unwrap();
        assert_eq!(found.digest().hex(), "622d63ce02c84531f157054dba6796d19885a5e151d1cb1bf891f6324e1b8953");
        assert_eq!(found.bytes(), 4);
    }

    #[test]
    fn a_path_is_a_file_or_a_folder() {
        assert!(manifest(&[]).is_err());
        assert!(manifest(&["a", "a/b"]).is_err());
        assert!(manifest(&["a/b", "a/b/c/d"]).is_err());
        assert!(manifest(&["a/b", "a/c", "ab"]).is_ok());
        assert!(manifest(&["../a"]).is_err());
    }
}
