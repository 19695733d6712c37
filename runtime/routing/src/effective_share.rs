//! Who serves when arms are ejected or half-open, and with which probability.
//!
//! Pure. Not on the path while all arms are healthy. An arm admits a share of its requests, 10,000 when healthy, 0 when
//! ejected, in between while it is probed; what it does not admit goes to the healthy arms by weight. If every arm that
//! has weight is ejected, none is.

use crate::assignment_hash::{BUCKETS, bucket, redraw};
use crate::validation::MOST_ARMS;

/// Stream that decides whether a half-open arm admits a request.
const ADMISSION_STREAM: u64 = 0;
/// Stream that chooses the arm that takes a request over.
const FALLBACK_STREAM: u64 = 1;

/// Shares while at least one arm does not admit everything.
#[derive(Debug)]
pub(crate) struct DisturbedShares<'a> {
    weights: &'a [u16],
    admissions: [u16; MOST_ARMS],
    /// Admission that an arm needs to take over from others.
    enough: u16,
    /// Weight of all arms that take over.
    fallback_weight: u32,
}

impl<'a> DisturbedShares<'a> {
    /// Shares of arms with these weights, given what each admits.
    pub(crate) fn new(weights: &'a [u16], admission: impl Fn(usize) -> u16) -> Self {
        let mut admissions = [0; MOST_ARMS];
        for (arm, slot) in admissions.iter_mut().enumerate().take(weights.len()) {
            *slot = admission(arm);
        }
        let weighted = |arm: &usize| weights[*arm] > 0;
        if (0..weights.len()).filter(weighted).all(|arm| admissions[arm] == 0) {
            (0..weights.len()).filter(weighted).for_each(|arm| admissions[arm] = BUCKETS);
        }
        // Half-open arms take over only where no arm is healthy.
        let healthy = (0..weights.len()).filter(weighted).any(|arm| admissions[arm] == BUCKETS);
        let enough = if healthy { BUCKETS } else { 1 };
        let takers = (0..weights.len()).filter(|&arm| admissions[arm] >= enough);
        let fallback_weight = takers.map(|arm| u32::from(weights[arm])).sum();
        Self { weights, admissions, enough, fallback_weight }
    }

    /// The arm that serves a request that was due at `wanted`, and whether that is another one.
    pub(crate) fn place(&self, wanted: usize, number: u64) -> (usize, bool) {
        if bucket(redraw(number, ADMISSION_STREAM)) < self.admissions[wanted] || self.fallback_weight == 0 {
            return (wanted, false);
        }
        let mut rest = redraw(number, FALLBACK_STREAM) % u64::from(self.fallback_weight);
        for (arm, &weight) in self.weights.iter().enumerate() {
            if self.admissions[arm] < self.enough {
                continue;
            }
            if rest < u64::from(weight) {
                return (arm, arm != wanted);
            }
            rest -= u64::from(weight);
        }
        (wanted, false)
    }

    /// Share of all weighted requests that `arm` serves, in basis points, rounded, at least 1; 10,000 only for an arm that
    /// serves everything.
    pub(crate) fn share(&self, arm: usize) -> u16 {
        let everything = u64::from(BUCKETS) * u64::from(BUCKETS);
        let admitted = |arm: usize| u64::from(self.weights[arm]) * u64::from(self.admissions[arm]);
        let own = admitted(arm);
        let moved = everything.saturating_sub((0..self.weights.len()).map(admitted).sum());
        let taken = match (self.admissions[arm] >= self.enough, self.fallback_weight) {
            (false, _) | (_, 0) => 0,
            (true, all) => moved * u64::from(self.weights[arm]) / u64::from(all),
        };
        let share = own + taken;
        let rounded = (share + u64::from(BUCKETS) / 2) / u64::from(BUCKETS);
        // Two divisions round down by less than one part in 10^8 each; all is all.
        let most = if share + 1 >= everything { BUCKETS } else { BUCKETS - 1 };
        u16::try_from(rounded).unwrap_or(BUCKETS).clamp(1, most)
    }
}
