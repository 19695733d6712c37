//! Feeds the detectors from the observation stream and writes their verdicts into the table in force.
//!
//! Owned by the one task that reads observations; contains no policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::observation::{Observation, OutcomeKind};
use crate::{Arm, Snapshot};

use super::{ArmState, OutlierDetector, OutlierPolicy};

/// An arm that changed its state, for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChange {
    /// The arm.
    pub arm: Arc<Arm>,
    /// Before.
    pub from: ArmState,
    /// Now.
    pub to: ArmState,
}

#[derive(Debug)]
struct Watched {
    policy: OutlierPolicy,
    arms: Box<[Arc<Arm>]>,
    detector: OutlierDetector,
    reported: Vec<ArmState>,
}

/// Watches the arms of every model whose entry has an ejection policy.
#[derive(Debug, Default)]
pub struct HealthMonitor {
    table_version: u64,
    models: BTreeMap<String, Watched>,
}

impl HealthMonitor {
    /// Takes finished requests and moves time, writes what each arm of `snapshot` (the table in force) admits, and gives
    /// what changed. To be called at short intervals, with an empty batch too: time is what lets an arm back in.
    ///
    /// Server errors and missed deadlines are failures, successes are successes; what the client did wrong or gave up, and
    /// what a limit shed, says nothing about an arm. All times are on the clock of the observations.
    pub fn absorb(&mut self, snapshot: &Snapshot, batch: &[Observation], now_microseconds: u64) -> Vec<HealthChange> {
        if self.table_version != snapshot.version() {
            self.follow(snapshot);
        }
        for observation in batch {
            let failed = match observation.outcome {
                OutcomeKind::Success => false,
                OutcomeKind::ServerError | OutcomeKind::Deadline => true,
                OutcomeKind::ClientError | OutcomeKind::Cancelled | OutcomeKind::Shed => continue,
            };
            let Some(arm) = &observation.arm else { continue };
            let Some(watched) = self.models.get_mut(&*arm.public_model) else { continue };
            // Requests of an earlier table count when their arm is the same still.
            if let Some(index) = watched.arms.iter().position(|known| known == arm) {
                watched.detector.record(index, failed, observation.finished_microseconds.min(now_microseconds));
            }
        }
        let mut changes = Vec::new();
        for (name, watched) in &mut self.models {
            watched.detector.advance(now_microseconds);
            let Some(health) = snapshot.health(name) else { continue };
            for (index, arm) in watched.arms.iter().enumerate() {
                let admission = watched.detector.admission(index);
                if health.admission(index) != admission {
                    health.admit(index, admission);
                }
                let Some(state) = watched.detector.state(index) else { continue };
                let from = std::mem::replace(&mut watched.reported[index], state);
                if std::mem::discriminant(&from) != std::mem::discriminant(&state) {
                    changes.push(HealthChange { arm: Arc::clone(arm), from, to: state });
                }
            }
        }
        changes
    }

    /// Watches the models of another table, keeping what is known of arms that stay.
    fn follow(&mut self, snapshot: &Snapshot) {
        let mut before = std::mem::take(&mut self.models);
        for (name, traffic) in &snapshot.table().models {
            let (Some(policy), Some(arms)) = (&traffic.outlier_ejection, snapshot.arms(name)) else { continue };
            let weights: Vec<u16> = traffic.arms.iter().map(|arm| arm.weight_basis_points).collect();
            let mut detector = OutlierDetector::new(policy.clone(), &weights);
            let mut reported = vec![ArmState::Healthy; arms.len()];
            if let Some(old) = before.remove(name).filter(|old| old.policy == *policy) {
                for (here, arm) in arms.iter().enumerate() {
                    if let Some(there) = old.arms.iter().position(|known| known == arm) {
                        detector.adopt(here, &old.detector, there);
                        reported[here] = old.reported[there];
                    }
                }
            }
            let watched = Watched { policy: policy.clone(), arms: arms.into(), detector, reported };
            self.models.insert(name.clone(), watched);
        }
        self.table_version = snapshot.version();
    }
}
