//! What is known of each shadow: counts, examples of disagreement, and a stream of verdicts for who judges them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use hanok_routing::{SampledShadows, ServedVersion, ShadowTarget};
use hanok_shadow::{
    ComparisonRules, Disagreement, DisagreementLimits, DisagreementStore, ShadowCounters, ShadowCounts, ShadowOutcome,
};
use parking_lot::Mutex;

/// Verdicts that wait for their reader at most.
const VERDICTS: usize = 1 << 14;
/// Shadows that are told apart; tables are the operator's, so that this is a guard and no quota.
const MOST_SHADOWS: usize = 1024;

/// One copy, compared: agreed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComparedCopy {
    /// The client's id; empty when none was given.
    pub request_id: Box<str>,
    /// Who got the copy.
    pub target: Arc<ShadowTarget>,
    /// The version that got the copy; 0 when none was ready.
    pub candidate_version: u64,
    /// Whether every output agreed. A candidate that failed where the primary answered disagreed.
    pub agreed: bool,
    /// The unit of analysis; 0 when there is none.
    pub sticky_key_hash: u64,
    /// When it was compared, in microseconds since the epoch.
    pub at_microseconds: u64,
}

/// What is known of one shadow.
#[derive(Debug)]
pub(super) struct Shadow {
    pub(super) target: Arc<ShadowTarget>,
    pub(super) rules: Arc<ComparisonRules>,
    pub(super) counters: ShadowCounters,
    pub(super) examples: Mutex<DisagreementStore>,
}

/// What is known of one shadow at one moment.
#[derive(Clone, Debug)]
pub struct ShadowReport {
    /// Who gets the copies.
    pub target: Arc<ShadowTarget>,
    /// Counts.
    pub counts: ShadowCounts,
    /// The newest disagreements that were asked for, newest first.
    pub examples: Vec<Disagreement>,
}

/// Every shadow of this process.
#[derive(Debug)]
pub(super) struct ShadowStatistics {
    comparisons: ArcSwap<BTreeMap<String, Arc<ComparisonRules>>>,
    shadows: ArcSwap<Vec<Arc<Shadow>>>,
    /// Made with the first verdict: its memory is taken at once.
    verdicts: OnceLock<ArrayQueue<ComparedCopy>>,
    lost_verdicts: AtomicU64,
}

impl ShadowStatistics {
    pub(super) fn new() -> Self {
        Self {
            comparisons: ArcSwap::default(),
            shadows: ArcSwap::default(),
            verdicts: OnceLock::new(),
            lost_verdicts: AtomicU64::new(0),
        }
    }

    /// Sets the comparisons that tables name. Shadows whose rules changed start to count anew.
    pub(super) fn set_comparisons(&self, comparisons: BTreeMap<String, ComparisonRules>) {
        let comparisons = comparisons.into_iter().map(|(name, rules)| (name, Arc::new(rules))).collect();
        self.comparisons.store(Arc::new(comparisons));
    }

    fn rules(&self, name: &str) -> Arc<ComparisonRules> {
        self.comparisons.load().get(name).map_or_else(Arc::default, Arc::clone)
    }

    /// The shadow of `target`, made at its first copy; `None` beyond the bound.
    pub(super) fn shadow(&self, target: &Arc<ShadowTarget>) -> Option<Arc<Shadow>> {
        let rules = self.rules(&target.compare);
        let same = |shadow: &&Arc<Shadow>| *shadow.target == **target;
        if let Some(shadow) = self.shadows.load().iter().find(same)
            && *shadow.rules == *rules
        {
            return Some(Arc::clone(shadow));
        }
        let shadow = Arc::new(Shadow {
            target: Arc::clone(target),
            counters: ShadowCounters::new(&rules),
            rules,
            examples: Mutex::new(DisagreementStore::new(DisagreementLimits::default())),
        });
        self.shadows.rcu(|shadows| {
            let mut next: Vec<_> = shadows.iter().filter(|known| *known.target != **target).cloned().collect();
            if next.len() < MOST_SHADOWS {
                next.push(Arc::clone(&shadow));
            }
            next
        });
        self.shadows.load().iter().find(same).cloned()
    }

    /// Counts a copy that was not executed.
    pub(super) fn dropped(&self, targets: &SampledShadows, outcome: ShadowOutcome) {
        for target in targets.iter() {
            if let Some(shadow) = self.shadow(target) {
                shadow.counters.count(outcome);
            }
        }
    }

    /// Offers a verdict to its reader; drops and counts it when nobody reads.
    pub(super) fn offer(&self, verdict: ComparedCopy) {
        if self.verdicts.get_or_init(|| ArrayQueue::new(VERDICTS)).push(verdict).is_err() {
            self.lost_verdicts.fetch_add(1, Relaxed);
        }
    }

    /// Verdicts that found no room, since the start.
    pub(super) fn lost_verdicts(&self) -> u64 {
        self.lost_verdicts.load(Relaxed)
    }

    /// Takes up to `most` verdicts.
    pub(super) fn take_verdicts(&self, most: usize) -> Vec<ComparedCopy> {
        let Some(verdicts) = self.verdicts.get() else { return Vec::new() };
        std::iter::from_fn(|| verdicts.pop()).take(most).collect()
    }

    pub(super) fn reports(&self, examples: usize) -> Vec<ShadowReport> {
        let report = |shadow: &Arc<Shadow>| ShadowReport {
            target: Arc::clone(&shadow.target),
            counts: shadow.counters.counts(),
            examples: shadow.examples.lock().newest_first().take(examples).cloned().collect(),
        };
        self.shadows.load().iter().map(report).collect()
    }
}

impl ShadowReport {
    /// The candidate's version as text: a number, or `latest`.
    #[must_use]
    pub fn version_text(&self) -> String {
        match self.target.version {
            ServedVersion::Latest => "latest".to_owned(),
            ServedVersion::Number(number) => number.to_string(),
        }
    }
}
