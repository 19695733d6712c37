//! How far a view was filled from files, noted in the store itself, beside the rows.
//!
//! A store that was emptied, replaced, or brought back from a copy has lost or kept the note together with its rows; a note
//! anywhere else would go on saying that they are there.

/// What a store knows of the materialisations of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreMark {
    /// Tells the store from every other, and from itself after it was emptied.
    pub store: String,
    /// Rows of earlier event times are there, in nanoseconds since the epoch; none where it was never said.
    pub until: Option<i64>,
}

/// Noting how far it is in a store that is not the one that rows were written to any more.
pub(super) const REPLACED: &str = "the feature store was emptied or replaced while rows were written to it";
/// What to do then.
pub(super) const RUN_AGAIN: &str = "run it again";
