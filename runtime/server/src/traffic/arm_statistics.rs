//! Counts by arm: outcomes and latencies, as the metrics port shows them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
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

/// The arms of each public model.
type ByModel = HashMap<Box<str>, Vec<Arc<Counters>>>;

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
        let Some(counters) = self.counters(arm) else { return };
        if let Some(index) = OUTCOMES.iter().position(|(outcome, _)| *outcome == ending.outcome) {
            counters.outcomes[index].fetch_add(1, Relaxed);
        }
        if ending.outcome == OutcomeKind::Success {
            counters.latency.record(ending.latency.total_microseconds.saturating_mul(1000));
        }
    }

    fn counters(&self, arm: &Arm) -> Option<Arc<Counters>> {
        let find = |arms: &ByModel| {
            let known = arms.get(&arm.public_model)?;
            known.iter().find(|counters| counters.arm == arm.name).map(Arc::clone)
        };
        if let Some(counters) = find(&self.arms.load()) {
            return Some(counters);
        }
        let added = Arc::new(Counters {
            public_model: arm.public_model.clone(),
            arm: arm.name.clone(),
            outcomes: Default::default(),
            latency: LatencyHistogram::default(),
        });
        self.arms.rcu(|arms| {
            let mut next = HashMap::clone(arms);
            let full = next.values().map(Vec::len).sum::<usize>() >= MOST_ARMS;
            let known = next.entry(arm.public_model.clone()).or_default();
            if !full && known.iter().all(|counters| counters.arm != arm.name) {
                known.push(Arc::clone(&added));
            }
            next
        });
        find(&self.arms.load())
    }

    /// The counts at this moment, by model and arm.
    #[must_use]
    pub fn counts(&self) -> Vec<ArmCounts> {
        let mut all: Vec<ArmCounts> = self
            .arms
            .load()
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
