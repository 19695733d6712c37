//! Outlier ejection of the arms of one model: a state machine over outcomes and `now`.
//!
//! Pure: reads no clock, writes nothing. Invariants: ejected and half-open arms never weigh more than the policy allows;
//! one arm that has weight always stays healthy.

use crate::assignment_hash::BUCKETS;

use super::OutlierPolicy;

/// State of one arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArmState {
    /// Gets what is due to it.
    Healthy,
    /// Gets nothing until then.
    Ejected {
        /// Microseconds on the caller's clock.
        until_microseconds: u64,
    },
    /// Gets probes.
    HalfOpen {
        /// Successful probes so far, in a row.
        successes: u32,
    },
}

#[derive(Clone, Debug)]
struct ArmRecord {
    weight: u16,
    state: ArmState,
    consecutive_failures: u32,
    window_requests: u64,
    window_failures: u64,
    /// How often it was ejected in short order; one less for each window without.
    ejections: u32,
}

/// Watches the arms of one model.
#[derive(Clone, Debug)]
pub struct OutlierDetector {
    policy: OutlierPolicy,
    arms: Vec<ArmRecord>,
    window_start: Option<u64>,
}

impl OutlierDetector {
    /// A detector of healthy arms of these weights, in basis points.
    #[must_use]
    pub fn new(policy: OutlierPolicy, weights: &[u16]) -> Self {
        let record = |&weight: &u16| ArmRecord {
            weight,
            state: ArmState::Healthy,
            consecutive_failures: 0,
            window_requests: 0,
            window_failures: 0,
            ejections: 0,
        };
        Self { policy, arms: weights.iter().map(record).collect(), window_start: None }
    }

    /// Takes over what `before` knows of the arm at `there` for the arm at `here`, but not its weight. An arm that may not
    /// be out under the new weights is healthy again.
    pub(crate) fn adopt(&mut self, here: usize, before: &Self, there: usize) {
        let (Some(record), Some(old)) = (self.arms.get(here), before.arms.get(there)) else { return };
        let weight = record.weight;
        let state = if old.state == ArmState::Healthy || self.may_eject(here) { old.state } else { ArmState::Healthy };
        self.arms[here] = ArmRecord { weight, state, ..old.clone() };
        self.window_start = before.window_start;
    }

    /// State of the arm at `arm`.
    #[must_use]
    pub fn state(&self, arm: usize) -> Option<ArmState> {
        self.arms.get(arm).map(|record| record.state)
    }

    /// What the arm at `arm` admits, in basis points of what is due to it; 0 for an index that is not an arm's.
    #[must_use]
    pub fn admission(&self, arm: usize) -> u16 {
        match self.state(arm) {
            Some(ArmState::Healthy) => BUCKETS,
            Some(ArmState::HalfOpen { .. }) => self.policy.probe_share_basis_points,
            Some(ArmState::Ejected { .. }) | None => 0,
        }
    }

    /// Counts a finished request of the arm at `arm`. Moves time to `now_microseconds` first.
    ///
    /// Requests that were on their way when their arm was ejected are ignored; when it is half-open they count as probes.
    pub fn record(&mut self, arm: usize, failed: bool, now_microseconds: u64) {
        self.advance(now_microseconds);
        let Some(record) = self.arms.get_mut(arm) else { return };
        match record.state {
            ArmState::Ejected { .. } => {}
            ArmState::HalfOpen { .. } if failed => self.eject(arm, now_microseconds),
            ArmState::HalfOpen { successes } => {
                let successes = successes + 1;
                if successes < self.policy.probes {
                    record.state = ArmState::HalfOpen { successes };
                } else {
                    record.state = ArmState::Healthy;
                    (record.consecutive_failures, record.window_requests, record.window_failures) = (0, 0, 0);
                }
            }
            ArmState::Healthy => {
                record.window_requests += 1;
                record.window_failures += u64::from(failed);
                record.consecutive_failures = if failed { record.consecutive_failures.saturating_add(1) } else { 0 };
                let enough = self.policy.consecutive_failures;
                if enough > 0 && record.consecutive_failures >= enough && self.may_eject(arm) {
                    self.eject(arm, now_microseconds);
                }
            }
        }
    }

    /// Moves time: ends windows, and opens ejected arms to probes. Time that goes back does nothing.
    pub fn advance(&mut self, now_microseconds: u64) {
        let window = self.policy.window_milliseconds.saturating_mul(1_000).max(1);
        let start = *self.window_start.get_or_insert(now_microseconds);
        let windows = now_microseconds.saturating_sub(start) / window;
        if windows > 0 {
            self.window_start = Some(start.saturating_add(windows.saturating_mul(window)));
            self.end_window(windows, now_microseconds);
        }
        for record in &mut self.arms {
            if let ArmState::Ejected { until_microseconds } = record.state
                && now_microseconds >= until_microseconds
            {
                record.state = ArmState::HalfOpen { successes: 0 };
            }
        }
    }

    fn end_window(&mut self, windows: u64, now: u64) {
        let windows = u32::try_from(windows).unwrap_or(u32::MAX);
        for record in self.arms.iter_mut().filter(|record| record.state == ArmState::Healthy) {
            record.ejections = record.ejections.saturating_sub(windows);
        }
        if let Some(margin) = self.policy.error_rate_margin_basis_points {
            // The worst first: it is the one to go where only one may.
            let mut outliers: Vec<(u64, usize)> =
                (0..self.arms.len()).filter_map(|arm| Some((self.excess(arm, margin)?, arm))).collect();
            outliers.sort_unstable_by(|a, b| b.cmp(a));
            for (_, arm) in outliers {
                if self.may_eject(arm) {
                    self.eject(arm, now);
                }
            }
        }
        for record in &mut self.arms {
            (record.window_requests, record.window_failures) = (0, 0);
        }
    }

    /// By how much the arm's error rate is above that of the other healthy arms together, in basis points, if that is at
    /// least `margin` and both have had enough requests.
    fn excess(&self, arm: usize, margin: u16) -> Option<u64> {
        let rate = |failures: u64, requests: u64| {
            (requests >= u64::from(self.policy.minimum_requests.max(1)))
                .then(|| failures.saturating_mul(BUCKETS.into()) / requests)
        };
        let own = &self.arms[arm];
        let others =
            self.arms.iter().enumerate().filter(|(index, record)| *index != arm && record.state == ArmState::Healthy);
        let (failures, requests) = others.fold((0, 0), |(failures, requests), (_, record)| {
            (failures + record.window_failures, requests + record.window_requests)
        });
        if own.state != ArmState::Healthy {
            return None;
        }
        let excess = rate(own.window_failures, own.window_requests)?.checked_sub(rate(failures, requests)?)?;
        (excess >= u64::from(margin)).then_some(excess)
    }

    /// Whether the arm may be out, beside those that are.
    fn may_eject(&self, arm: usize) -> bool {
        let out = |record: &&ArmRecord| record.state != ArmState::Healthy;
        let others = || self.arms.iter().enumerate().filter(|(index, _)| *index != arm).map(|(_, record)| record);
        let ejected: u32 = others().filter(out).map(|record| u32::from(record.weight)).sum();
        let weight = u32::from(self.arms[arm].weight);
        let one_stays = others().any(|record| record.state == ArmState::Healthy && record.weight > 0);
        one_stays && ejected + weight <= u32::from(self.policy.most_ejected_basis_points)
    }

    fn eject(&mut self, arm: usize, now: u64) {
        let record = &mut self.arms[arm];
        record.ejections = record.ejections.saturating_add(1);
        let policy = &self.policy;
        let milliseconds = policy
            .base_ejection_milliseconds
            .saturating_mul(record.ejections.into())
            .min(policy.longest_ejection_milliseconds);
        let until_microseconds = now.saturating_add(milliseconds.saturating_mul(1_000));
        record.state = ArmState::Ejected { until_microseconds };
        (record.consecutive_failures, record.window_requests, record.window_failures) = (0, 0, 0);
    }
}
