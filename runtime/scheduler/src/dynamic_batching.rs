//! The decision of the dynamic batcher: dispatch now, wait until, or nothing to do.
//!
//! A pure function of what waits, the rules and `now`: it reads no clock and takes no lock. Semantics are those of
//! Triton's dynamic batcher (`dynamic_batch_scheduler.cc`), with one difference: where waiting was learned to be
//! fruitless, a batch leaves at once. Invariants: a batch never has more rows than the maximum, never waits longer than
//! the delay, and is always a prefix of the queue.

use std::time::{Duration, Instant};

use hanok_model_config::{ModelConfig, Scheduling};
use hanok_telemetry::BatchTrigger;
use smallvec::SmallVec;

/// How requests may be joined.
#[derive(Clone, Debug)]
pub(crate) struct BatchRules {
    /// Most rows in one batch; at least 1.
    pub(crate) max_rows: u32,
    /// Most requests in one batch; 1 where requests are not joined.
    pub(crate) max_requests: usize,
    /// Sizes in rows that are worth dispatching at once; ascending.
    pub(crate) preferred: Vec<u32>,
    /// Longest time that the oldest request waits for company.
    pub(crate) max_delay: Duration,
}

impl BatchRules {
    /// The rules that a configuration asks for.
    pub(crate) fn of(config: &ModelConfig) -> Self {
        let max_rows = config.max_batch_size.max(1);
        match &config.scheduling {
            Scheduling::Dynamic(batching) if config.max_batch_size > 0 => Self {
                max_rows,
                max_requests: usize::MAX,
                preferred: batching.preferred_batch_sizes.clone(),
                max_delay: batching.max_queue_delay,
            },
            _ => Self { max_rows, max_requests: 1, preferred: Vec::new(), max_delay: Duration::ZERO },
        }
    }
}

/// Why no further request can join those in view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The maximum is reached, or the next request would exceed it.
    Full,
    /// The next request has other shapes or other optional inputs.
    Incompatible,
}

/// What waits, as far as the next batch is concerned.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueueView {
    /// Rows of each request that may be in the next batch, in the order of dispatch.
    pub(crate) rows: SmallVec<[u32; 32]>,
    /// Whether the batch cannot grow any more, and why.
    pub(crate) closed: Option<Closed>,
    /// When the oldest of these requests entered the queue; `None` when nothing waits.
    pub(crate) oldest: Option<Instant>,
    /// When the first of these time-outs passes.
    pub(crate) next_timeout: Option<Instant>,
    /// The latest start that still meets every deadline of these requests.
    pub(crate) latest_start: Option<Instant>,
}

/// What an idle instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Execute the first `requests` requests.
    Dispatch {
        /// How many; at least 1.
        requests: usize,
        /// Why now.
        trigger: BatchTrigger,
    },
    /// Look again at this instant, or when something arrives.
    WaitUntil(Instant),
    /// Nothing waits.
    Idle,
}

/// Decides what an idle instance does with `view`. `waiting_pays` is false where a wait brings no further request.
pub(crate) fn decide(view: &QueueView, rules: &BatchRules, waiting_pays: bool, now: Instant) -> Decision {
    let Some(oldest) = view.oldest else { return Decision::Idle };
    let requests = view.rows.len();
    if rules.max_requests == 1 {
        return Decision::Dispatch { requests: 1, trigger: BatchTrigger::Single };
    }
    let delay_end = oldest.checked_add(rules.max_delay);
    let delay_over = rules.max_delay > Duration::ZERO && delay_end.is_some_and(|end| now >= end);
    if !delay_over && let Some(decision) = preferred_prefix(view, rules) {
        return decision;
    }
    match view.closed {
        Some(Closed::Full) => return Decision::Dispatch { requests, trigger: BatchTrigger::Full },
        Some(Closed::Incompatible) => return Decision::Dispatch { requests, trigger: BatchTrigger::Incompatible },
        None => {}
    }
    if delay_over || view.latest_start.is_some_and(|latest| now >= latest) {
        return Decision::Dispatch { requests, trigger: BatchTrigger::Delay };
    }
    if rules.max_delay == Duration::ZERO || !waiting_pays {
        let trigger = if requests == 1 { BatchTrigger::Single } else { BatchTrigger::Idle };
        return Decision::Dispatch { requests, trigger };
    }
    let far = now + Duration::from_secs(3600);
    let ends = [delay_end, view.next_timeout, view.latest_start];
    Decision::WaitUntil(ends.into_iter().flatten().fold(far, Instant::min))
}

/// The prefix with the largest preferred size; or, before the first one is reached, the prefix that cannot grow without
/// passing the largest preferred size.
fn preferred_prefix(view: &QueueView, rules: &BatchRules) -> Option<Decision> {
    let largest = u64::from(*rules.preferred.last()?);
    let mut best = None;
    let mut total = 0;
    for (index, &rows) in view.rows.iter().enumerate() {
        let grown = total + u64::from(rows);
        if index > 0 && grown > largest && best.is_none() {
            return Some(Decision::Dispatch { requests: index, trigger: BatchTrigger::Full });
        }
        total = grown;
        if rules.preferred.iter().any(|&preferred| u64::from(preferred) == total) {
            best = Some(index + 1);
        }
    }
    match best {
        Some(requests) => Some(Decision::Dispatch { requests, trigger: BatchTrigger::Preferred }),
        None if total >= largest => Some(Decision::Dispatch { requests: view.rows.len(), trigger: BatchTrigger::Full }),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(preferred: &[u32], delay_us: u64) -> BatchRules {
        BatchRules {
            max_rows: 16,
            max_requests: usize::MAX,
            preferred: preferred.to_vec(),
            max_delay: Duration::from_micros(delay_us),
        }
    }

    fn view(rows: &[u32], oldest: Instant) -> QueueView {
        QueueView { rows: rows.iter().copied().collect(), oldest: Some(oldest), ..QueueView::default() }
    }

    fn dispatch(requests: usize, trigger: BatchTrigger) -> Decision {
        Decision::Dispatch { requests, trigger }
    }

    #[test]
    fn an_idle_instance_never_waits_unless_asked() {
        let now = Instant::now();
        assert_eq!(decide(&QueueView::default(), &rules(&[], 0), true, now), Decision::Idle);
        assert_eq!(decide(&view(&[1], now), &rules(&[], 0), true, now), dispatch(1, BatchTrigger::Single));
        assert_eq!(decide(&view(&[1, 2, 3], now), &rules(&[], 0), true, now), dispatch(3, BatchTrigger::Idle));
    }

    #[test]
    fn the_delay_is_kept_and_not_exceeded() {
        let start = Instant::now();
        let rules = rules(&[], 500);
        let end = start + Duration::from_micros(500);
        assert_eq!(decide(&view(&[1, 1], start), &rules, true, start), Decision::WaitUntil(end));
        assert_eq!(decide(&view(&[1, 1], start), &rules, true, end), dispatch(2, BatchTrigger::Delay));
        assert_eq!(decide(&view(&[1, 1], start), &rules, false, start), dispatch(2, BatchTrigger::Idle));
        let mut full = view(&[8, 8], start);
        full.closed = Some(Closed::Full);
        assert_eq!(decide(&full, &rules, true, start), dispatch(2, BatchTrigger::Full));
        full.closed = Some(Closed::Incompatible);
        assert_eq!(decide(&full, &rules, true, start), dispatch(2, BatchTrigger::Incompatible));
    }

    #[test]
    fn a_wait_ends_at_the_first_timeout_and_leaves_time_for_a_deadline() {
        let start = Instant::now();
        let rules = rules(&[], 500);
        let mut early = view(&[1], start);
        early.next_timeout = Some(start + Duration::from_micros(100));
        assert_eq!(decide(&early, &rules, true, start), Decision::WaitUntil(start + Duration::from_micros(100)));
        early.latest_start = Some(start + Duration::from_micros(50));
        assert_eq!(decide(&early, &rules, true, start), Decision::WaitUntil(start + Duration::from_micros(50)));
        let late = start + Duration::from_micros(50);
        assert_eq!(decide(&early, &rules, true, late), dispatch(1, BatchTrigger::Delay));
    }

    // Expectations worked out by hand from Triton's GetDynamicBatch.
    #[test]
    fn preferred_sizes_as_in_triton() {
        let now = Instant::now();
        let waiting = rules(&[4, 8], 500);
        assert_eq!(decide(&view(&[1; 4], now), &waiting, true, now), dispatch(4, BatchTrigger::Preferred));
        assert_eq!(decide(&view(&[1; 7], now), &waiting, true, now), dispatch(4, BatchTrigger::Preferred));
        assert_eq!(decide(&view(&[1; 12], now), &waiting, true, now), dispatch(8, BatchTrigger::Preferred));
        assert!(matches!(decide(&view(&[1; 3], now), &waiting, true, now), Decision::WaitUntil(_)));
        // 3 + 3 = 6, and a third would pass 8 without having met a preferred size.
        assert_eq!(decide(&view(&[3, 3, 3], now), &waiting, true, now), dispatch(2, BatchTrigger::Full));
        // One request above the largest preferred size leaves at once.
        assert_eq!(decide(&view(&[10], now), &waiting, true, now), dispatch(1, BatchTrigger::Full));
        // Without a delay, whatever is there leaves when no preferred size is reached.
        assert_eq!(decide(&view(&[1; 3], now), &rules(&[4, 8], 0), true, now), dispatch(3, BatchTrigger::Idle));
        // After the delay everything leaves, preferred or not.
        let later = now + Duration::from_micros(500);
        assert_eq!(decide(&view(&[1; 7], now), &waiting, true, later), dispatch(7, BatchTrigger::Delay));
    }

    proptest! {
        #[test]
        fn a_decision_is_a_prefix_and_keeps_the_delay(
            rows in prop::collection::vec(1u32..5, 1..16),
            preferred in prop::collection::btree_set(1u32..17, 0..4),
            delay_us in 0u64..1000,
            waited_us in 0u64..2000,
            pays: bool,
        ) {
            let start = Instant::now();
            let now = start + Duration::from_micros(waited_us);
            let preferred: Vec<u32> = preferred.into_iter().collect();
            let rules = rules(&preferred, delay_us);
            match decide(&view(&rows, start), &rules, pays, now) {
                Decision::Dispatch { requests, .. } => {
                    prop_assert!(requests >= 1 && requests <= rows.len());
                }
                Decision::WaitUntil(until) => {
                    prop_assert!(pays && waited_us < delay_us);
                    prop_assert!(until > now && until <= start + Duration::from_micros(delay_us));
                }
                Decision::Idle => prop_assert!(false, "something waits"),
            }
        }
    }
}
