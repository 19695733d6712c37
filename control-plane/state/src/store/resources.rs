//! Calls on the store: reading collections of resources. They are written by [`StateStore::commit`].

use crate::limits::{PAGE_RECORDS, check_count, check_name};
use crate::pending::Pending;
use crate::resource::{ResourceSet, RevisionInfo};
use crate::store::StateStore;
use crate::tables::resources;
use crate::versions::Revision;

impl StateStore {
    /// The whole collection at a revision, or as it is now. A collection that nobody ever changed is empty.
    ///
    /// # Errors
    /// `InvalidArgument`; `NotFound` if the revision does not exist.
    pub fn resources(&self, collection: &str, at: Option<Revision>) -> Pending<ResourceSet> {
        let checked = check_name("collection", collection).map(|()| collection.to_owned());
        self.read(checked, move |sql, collection| resources::load(sql, &collection, at))
    }

    /// Revisions before `before` (`Revision(u64::MAX)` for the newest), newest first, at most `limit` (1 to
    /// [`PAGE_RECORDS`]).
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn revisions(&self, collection: &str, before: Revision, limit: usize) -> Pending<Vec<RevisionInfo>> {
        let checked = check_name("collection", collection)
            .and_then(|()| check_count("limit", limit, PAGE_RECORDS))
            .map(|()| collection.to_owned());
        self.read(checked, move |sql, collection| resources::history(sql, &collection, before, limit))
    }
}
