//! The files that a source names, checked as a whole: count, bytes, names that exclude one another.

use std::collections::HashSet;

use crate::artifact_path::shown;
use crate::digest::Sha256Stream;
use crate::{ArtifactPath, Limits, Sha256Digest, SourceError, SourceErrorCode};

/// One file of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Its name within the model.
    pub path: ArtifactPath,
    /// Its size, where the source tells.
    pub bytes: Option<u64>,
    /// Its SHA-256, where the source tells or the reference pins it.
    pub sha256: Option<Sha256Digest>,
    /// The source's own mark of these bytes: an entity tag, an object id. Equal marks mean equal bytes.
    pub mark: Option<String>,
}

/// Collects files and refuses the one that goes too far.
#[derive(Debug)]
pub(crate) struct Listing {
    files: Vec<ListedFile>,
    names: HashSet<String>,
    folders: HashSet<String>,
    bytes: u64,
    limits: Limits,
}

impl Listing {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { files: Vec::new(), names: HashSet::new(), folders: HashSet::new(), bytes: 0, limits }
    }

    /// Adds a file.
    ///
    /// # Errors
    /// `TooManyFiles`, `TooLarge`, or `UnsafePath` when two names cannot stand in one folder.
    pub(crate) fn add(&mut self, file: ListedFile) -> Result<(), SourceError> {
        if self.files.len() >= self.limits.files {
            return Err(too_many_files(self.limits.files));
        }
        self.bytes = self.bytes.saturating_add(file.bytes.unwrap_or(0));
        if self.bytes > self.limits.bytes {
            return Err(too_large(self.limits.bytes));
        }
        let name = file.path.as_str();
        let mut conflict = self.folders.contains(name) || !self.names.insert(name.to_owned());
        for (end, _) in name.match_indices('/') {
            conflict |= self.names.contains(&name[..end]);
            self.folders.insert(name[..end].to_owned());
        }
        if conflict {
            return Err(SourceError::new(
                SourceErrorCode::UnsafePath,
                format!("the source names `{}` twice, or as a file and a folder", shown(name)),
                "rename one of them at the source",
            ));
        }
        self.files.push(file);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// The files, ordered by path.
    pub(crate) fn finish(mut self) -> Vec<ListedFile> {
        self.files.sort_by(|left, right| left.path.cmp(&right.path));
        self.files
    }
}

/// Digest of names, sizes and marks: changes when the listing does.
pub(crate) fn listing_digest(files: &[ListedFile]) -> Sha256Digest {
    let mut digest = Sha256Stream::default();
    for file in files {
        digest.update(format!("{} {:?} {:?}\n", file.path, file.bytes, file.mark).as_bytes());
    }
    digest.finish()
}

pub(crate) fn too_many_files(most: usize) -> SourceError {
    SourceError::new(
        SourceErrorCode::TooManyFiles,
        format!("the source holds more than {most} files"),
        "name a narrower folder; or raise the limit of files per model",
    )
}

pub(crate) fn too_large(most: u64) -> SourceError {
    SourceError::new(
        SourceErrorCode::TooLarge,
        format!("the source holds more than {most} bytes"),
        "name a narrower folder; or raise the limit of bytes per model, and the registry's quota where there is one",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    fn add(listing: &mut Listing, name: &str, bytes: u64) -> Option<SourceErrorCode> {
        let file =
            ListedFile { path: ArtifactPath::parse(name).unwrap(), bytes: Some(bytes), sha256: None, mark: None };
        listing.add(file).err().map(|error| error.code())
    }

    #[test]
    fn names_that_exclude_one_another_are_refused_in_either_order() {
        let mut listing = Listing::new(Limits::default());
        assert_eq!(add(&mut listing, "a/b/c", 1), None);
        assert_eq!(add(&mut listing, "a/d", 1), None);
        assert_eq!(add(&mut listing, "a/d", 1), Some(SourceErrorCode::UnsafePath));
        assert_eq!(add(&mut listing, "a/b", 1), Some(SourceErrorCode::UnsafePath));
        assert_eq!(add(&mut listing, "a/d/e", 1), Some(SourceErrorCode::UnsafePath));
    }

    #[test]
    fn files_and_bytes_are_counted_without_overflow() {
        let mut listing = Listing::new(Limits { files: 2, bytes: 10, ..Limits::default() });
        assert_eq!(add(&mut listing, "a", 6), None);
        assert_eq!(add(&mut listing, "b", 5), Some(SourceErrorCode::TooLarge));
        let mut listing = Listing::new(Limits { files: 2, ..Limits::default() });
        assert_eq!((add(&mut listing, "a", 0), add(&mut listing, "b", 0)), (None, None));
        assert_eq!(add(&mut listing, "c", 0), Some(SourceErrorCode::TooManyFiles));
        let mut listing = Listing::new(Limits { bytes: u64::MAX - 1, ..Limits::default() });
        assert_eq!(add(&mut listing, "a", u64::MAX - 1), None);
        assert_eq!(add(&mut listing, "b", u64::MAX), Some(SourceErrorCode::TooLarge));
    }
}
