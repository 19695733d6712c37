//! Files wherever their path says: objects by their scheme, everything else on this machine's disks.

use std::sync::Arc;

use super::objects::is_object;
use super::{LocalStorage, NewFile, ObjectStorage, RandomRead, Storage};
use crate::error::OfflineError;

/// Disks, and buckets.
#[derive(Debug)]
pub struct Places {
    disks: LocalStorage,
    buckets: ObjectStorage,
}

impl Places {
    /// Both.
    #[must_use]
    pub const fn new(disks: LocalStorage, buckets: ObjectStorage) -> Self {
        Self { disks, buckets }
    }

    /// Whether a path names an object of a bucket: `s3://`, `gs://`, `az://`.
    #[must_use]
    pub fn is_object(path: &str) -> bool {
        is_object(path)
    }

    fn of(&self, path: &str) -> &dyn Storage {
        if is_object(path) { &self.buckets } else { &self.disks }
    }
}

impl Storage for Places {
    fn list(&self, path: &str) -> Result<Vec<String>, OfflineError> {
        self.of(path).list(path)
    }

    fn open(&self, name: &str) -> Result<Arc<dyn RandomRead>, OfflineError> {
        self.of(name).open(name)
    }

    fn create(&self, name: &str) -> Result<Box<dyn NewFile>, OfflineError> {
        self.of(name).create(name)
    }

    fn check_place(&self, name: &str) -> Result<(), OfflineError> {
        self.of(name).check_place(name)
    }

    fn are_same(&self, one: &str, other: &str) -> bool {
        is_object(one) == is_object(other) && self.of(one).are_same(one, other)
    }

    fn remove(&self, name: &str) -> Result<bool, OfflineError> {
        self.of(name).remove(name)
    }
}
