//! Learns where waiting for company is fruitless, so that a queue delay is not charged when nothing more can arrive.
//!
//! A pure state machine without a clock. A *level* is the number of requests in flight (queued or in execution) when an
//! idle instance starts to wait. A closed loop of 8 callers has all 8 in the queue then: no further request can come
//! before an answer goes out, and waiting only costs (Triton's 500 us delay halves its own throughput that way). After
//! [`FRUITLESS_WAITS`] waits in a row at a level that brought nothing, batches at that level leave at once; each
//! [`PROBE_EVERY`]th waits again, and so does the next one after a request arrives that a wait would have caught.

/// Waits in a row without an arrival after which a level stops waiting.
const FRUITLESS_WAITS: u8 = 4;
/// One in so many dispatches waits again, at a level that had stopped.
const PROBE_EVERY: u8 = 64;
/// Levels that are told apart; all above are one.
const LEVELS: usize = 256;

#[derive(Clone, Copy, Debug, Default)]
struct Level {
    fruitless: u8,
    skipped: u8,
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
        level.fruitless < FRUITLESS_WAITS || level.skipped >= PROBE_EVERY - 1
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
    }

    /// A batch left at `level` without a wait, because waiting does not pay there.
    pub(crate) fn skipped(&mut self, level: usize) {
        let level = self.level(level);
        level.skipped = level.skipped.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_after_four_and_probes_each_sixty_fourth_time() {
        let mut learner = DelayLearner::new();
        for _ in 0..FRUITLESS_WAITS {
            assert!(learner.waiting_pays(8));
            learner.fruitless(8);
        }
        for _probe in 0..3 {
            for _ in 0..63 {
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
