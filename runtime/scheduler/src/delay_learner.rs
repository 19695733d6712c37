//! Learns where waiting for company is fruitless, so that a queue delay is not charged when nothing more can arrive.
//!
//! A pure state machine without a clock. A *level* is the number of requests in flight (queued or in execution) when an
//! idle instance starts to wait. A closed loop of 8 callers has all 8 in the queue then: no further request can come
//! before an answer goes out, and waiting only costs (Triton's 500 us delay halves its own throughput that way). After
//! [`FRUITLESS_WAITS`] waits in a row at a level that brought nothing, batches at that level leave at once. The 64th one
//! waits again as a probe; each fruitless probe doubles the time to the next, up to 1,024. After a request that a wait
//! would have caught, or did catch, the level waits again as if nothing had been learned.

/// Waits in a row without an arrival after which a level stops waiting.
const FRUITLESS_WAITS: u8 = 4;
/// Dispatches until the first probe of a level that stopped waiting.
const FIRST_PROBE: u16 = 64;
/// Dispatches from one probe to the next at most.
const LAST_PROBE: u16 = 1024;
/// Levels that are told apart; all above are one.
const LEVELS: usize = 256;

#[derive(Clone, Copy, Debug, Default)]
struct Level {
    fruitless: u8,
    skipped: u16,
    /// Dispatches until the next probe; 0 before the first.
    probe_after: u16,
}

/// What was learned, by level.
#[derive(Debug)]
pub(crate) struct DelayLearner {
    levels: Box<[Level]>,
}

impl DelayLearner {
    /// Knows nothing: waits everywhere.
    pub(crate) fn new() -> Self {
        Self { levels: vec![Level::default(); LEVELS].into_boxed_slice() }
    }

    fn level(&mut self, level: usize) -> &mut Level {
        &mut self.levels[level.min(LEVELS - 1)]
    }

    /// Whether a wait at `level` is worth its time.
    pub(crate) fn waiting_pays(&self, level: usize) -> bool {
        let level = self.levels[level.min(LEVELS - 1)];
        level.fruitless < FRUITLESS_WAITS || level.skipped + 1 >= level.probe_after
    }

    /// A wait at `level` brought a request, or would have brought one had there been a wait.
    pub(crate) fn fruitful(&mut self, level: usize) {
        *self.level(level) = Level::default();
    }

    /// A wait at `level` brought nothing.
    pub(crate) fn fruitless(&mut self, level: usize) {
        let level = self.level(level);
        level.fruitless = level.fruitless.saturating_add(1);
        level.skipped = 0;
        if level.fruitless >= FRUITLESS_WAITS {
            level.probe_after = (level.probe_after * 2).clamp(FIRST_PROBE, LAST_PROBE);
        }
    }

    /// A batch left at `level` without a wait, because waiting does not pay there.
    pub(crate) fn skipped(&mut self, level: usize) {
        let level = self.level(level);
        level.skipped = (level.skipped + 1).min(LAST_PROBE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_after_four_and_probes_ever_more_rarely() {
        let mut learner = DelayLearner::new();
        for _ in 0..FRUITLESS_WAITS {
            assert!(learner.waiting_pays(8));
            learner.fruitless(8);
        }
        for until_probe in [64, 128, 256, 512, 1024, 1024] {
            for _ in 1..until_probe {
                assert!(!learner.waiting_pays(8));
                learner.skipped(8);
            }
            assert!(learner.waiting_pays(8));
            learner.fruitless(8);
        }
        assert!(learner.waiting_pays(7) && learner.waiting_pays(9));
        learner.fruitful(8);
        assert!(learner.waiting_pays(8));
    }

    #[test]
    fn one_arrival_restarts_the_count() {
        let mut learner = DelayLearner::new();
        for _ in 0..20 {
            for _ in 0..FRUITLESS_WAITS - 1 {
                learner.fruitless(1);
            }
            learner.fruitful(1);
        }
        assert!(learner.waiting_pays(1));
    }

    #[test]
    fn levels_without_number_are_one() {
        let mut learner = DelayLearner::new();
        for _ in 0..300 {
            learner.fruitless(usize::MAX);
        }
        assert!(!learner.waiting_pays(LEVELS + 5));
    }
}
