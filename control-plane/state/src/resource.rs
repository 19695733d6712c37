//! Declared resources: JSON documents by kind and name, in collections that change as a whole.
//!
//! A collection (`declared`, `traffic`, ...) has one revision for all of its resources. Every earlier revision stays
//! readable, so that going back is writing an old set as a new revision.

use serde_json::Value;

use crate::timestamp::Timestamp;
use crate::versions::Revision;

/// One resource of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// What it is.
    pub kind: String,
    /// Which one.
    pub name: String,
    /// Revision of the collection that last changed it.
    pub changed_in: Revision,
    /// Its content.
    pub document: Value,
}

/// All resources of a collection at one revision, ordered by kind and name (by bytes).
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceSet {
    /// The revision shown.
    pub revision: Revision,
    /// What it held.
    pub resources: Vec<Resource>,
}

/// How a revision came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionInfo {
    /// Which.
    pub revision: Revision,
    /// `now` of the transaction that made it.
    pub created_at: Timestamp,
    /// Who or what made it.
    pub author: String,
    /// The earlier revision that it restored, if it did.
    pub restores: Option<Revision>,
}
