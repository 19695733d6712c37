//! What each arm of one model admits, as atomics: written by one monitor, read by every request.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};

use crate::assignment_hash::BUCKETS;

/// What each arm of one model admits, in basis points of the requests that are due to it.
#[derive(Debug)]
pub struct ModelHealth {
    disturbed: AtomicBool,
    admissions: Box<[AtomicU16]>,
}

impl ModelHealth {
    /// `arms` healthy arms.
    pub(crate) fn new(arms: usize) -> Self {
        Self { disturbed: AtomicBool::new(false), admissions: (0..arms).map(|_| AtomicU16::new(BUCKETS)).collect() }
    }

    /// Sets what the arm at `arm` admits: 10,000 when healthy, 0 when ejected, its probe share when half-open. An index
    /// that is not an arm's does nothing. For one writer; readers follow within their next lookup.
    pub fn admit(&self, arm: usize, basis_points: u16) {
        if let Some(admission) = self.admissions.get(arm) {
            admission.store(basis_points.min(BUCKETS), Relaxed);
        }
        let disturbed = self.admissions.iter().any(|admission| admission.load(Relaxed) != BUCKETS);
        self.disturbed.store(disturbed, Relaxed);
    }

    /// What the arm at `arm` admits; 0 for an index that is not an arm's.
    #[must_use]
    pub fn admission(&self, arm: usize) -> u16 {
        self.admissions.get(arm).map_or(0, |admission| admission.load(Relaxed))
    }

    /// Whether any arm admits less than everything.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        self.disturbed.load(Relaxed)
    }
}
