//! Bytes that one pull may still write, shared by its downloads.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::SourceError;
use crate::listing::too_large;

/// Counts down from the limit.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    left: AtomicU64,
    most: u64,
}

impl ByteBudget {
    pub(crate) const fn new(most: u64) -> Self {
        Self { left: AtomicU64::new(most), most }
    }

    /// Takes `bytes`.
    ///
    /// # Errors
    /// `TooLarge` when fewer are left; nothing is taken then.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), SourceError> {
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        taken.map(|_| ()).map_err(|_| too_large(self.most))
    }

    /// Gives back what was taken for bytes that were thrown away.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}
