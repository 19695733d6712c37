//! Counts by arm: outcomes and latencies, as the metrics port shows them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use foldhash::fast::FixedState;
use hanok_routing::Arm;
use hanok_routing::observation::OutcomeKind;
use hanok_telemetry::{LatencyHistogram, LatencySnapshot};

use super::Ending;

/// Arms that are told apart; beyond them new ones are not counted, so that no writer of tables can fill memory.
const MOST_ARMS: usize = 4096;

/// Outcomes in the order of their counters, and their names as labels.
const OUTCOMES: [(OutcomeKind, &str); 6] = [
    (OutcomeKind::Success, "success"),
    (OutcomeKind::ClientError, "client_error"),
    (OutcomeKind::ServerError, "server_error"),
    (OutcomeKind::Cancelled, "cancelled"),
    (OutcomeKind::Shed, "shed"),
    (OutcomeKind::Deadline, "deadline"),
];

#[derive(Debug)]
struct Counters {
    public_model: Box<str>,
    arm: Box<str>,
    outcomes: [AtomicU64; OUTCOMES.len()],
    latency: LatencyHistogram,
}

/// The arms of each public model. Only operators put names in: nobody gains by making them collide.
#[derive(Clone, Debug, Default)]
struct ByModel(HashMap<Box<str>, Vec<Arc<Counters>>, FixedState>);

impl ByModel {
    /// Counts for an arm that is known; whether it is.
    fn record(&self, arm: &Arm, ending: &Ending) -> bool {
        let known = self.0.get(&arm.public_model).into_iter().flatten();
        let Some(counters) = known.into_iter().find(|counters| counters.arm == arm.name) else { return false };
        if let Some(index) = OUTCOMES.iter().position(|(outcome, _)| *outcome == ending.outcome) {
            counters.outcomes[index].fetch_add(1, Relaxed);
        }
        if ending.outcome == OutcomeKind::Success {
            counters.latency.record(ending.latency.total_microseconds.saturating_mul(1000));
        }
        true
    }
}

/// Counts of every arm that served.
#[derive(Debug, Default)]
pub struct ArmStatistics {
    arms: ArcSwap<ByModel>,
}

/// Counts of one arm at one moment.
#[derive(Clone, Debug)]
pub struct ArmCounts {
    /// Name that clients ask for.
    pub public_model: Box<str>,
    /// Name of the arm.
    pub arm: Box<str>,
    /// Requests by outcome: label and count.
    pub outcomes: Vec<(&'static str, u64)>,
    /// Latencies of the answered requests.
    pub latency: LatencySnapshot,
}

impl ArmStatistics {
    pub(super) fn record(&self, arm: &Arm, ending: &Ending) {
        if !self.arms.load().record(arm, ending) {
            self.add(arm);
            self.arms.load().record(arm, ending);
        }
    }

    fn add(&self, arm: &Arm) {
        let added = Arc::new(Counters {
            public_model: arm.public_model.clone(),
            arm: arm.name.clone(),
            outcomes: Default::default(),
            latency: LatencyHistogram::default(),
        });
        self.arms.rcu(|arms| {
            let mut next = ByModel::clone(arms);
            let full = next.0.values().map(Vec::len).sum::<usize>() >= MOST_ARMS;
            let known = next.0.entry(arm.public_model.clone()).or_default();
            if !full && known.iter().all(|counters| counters.arm != arm.name) {
                known.push(Arc::clone(&added));
            }
            next
        });
    }

    /// The counts at this moment, by model and arm.
    #[must_use]
    pub fn counts(&self) -> Vec<ArmCounts> {
        let mut all: Vec<ArmCounts> = self
            .arms
            .load()
            .0
            .values()
            .flatten()
            .map(|counters| ArmCounts {
                public_model: counters.public_model.clone(),
                arm: counters.arm.clone(),
                outcomes: OUTCOMES
                    .iter()
                    .zip(&counters.outcomes)
                    .map(|((_, label), count)| (*label, count.load(Relaxed)))
                    .collect(),
                latency: counters.latency.snapshot(),
            })
            .collect();
        all.sort_by(|a, b| (&a.public_model, &a.arm).cmp(&(&b.public_model, &b.arm)));
        all
    }
}
