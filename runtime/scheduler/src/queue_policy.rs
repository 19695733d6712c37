//! Bounds of a queue by priority level: how many may wait, for how long, and what happens then.
//!
//! Triton's `ModelQueuePolicy`, as pure functions; the queue applies them. One difference: a request's time-out counts
//! under `allow_timeout_override` even where the policy has no default, since any time is shorter than none.

use std::time::Duration;

use hanok_model_config::{DynamicBatching, QueuePolicy, TimeoutAction};

/// Policies of all priority levels, highest first; at least one.
#[derive(Clone, Debug)]
pub(crate) struct QueuePolicies {
    levels: Vec<QueuePolicy>,
    default_level: usize,
}

impl QueuePolicies {
    /// One queue without bounds of its own.
    pub(crate) fn first_in_first_out() -> Self {
        Self { levels: vec![QueuePolicy::default()], default_level: 0 }
    }

    /// The policies of a dynamic batcher; without priority levels they are one queue.
    pub(crate) fn of(batching: &DynamicBatching) -> Self {
        if batching.priority_levels == 0 {
            return Self { levels: vec![batching.queue_policy(0).clone()], default_level: 0 };
        }
        Self::with_levels(
            (1..=batching.priority_levels).map(|level| batching.queue_policy(level).clone()).collect(),
            batching.default_priority_level,
        )
    }

    /// Policies by level, the highest first; `default_level` counts from 1.
    pub(crate) fn with_levels(levels: Vec<QueuePolicy>, default_level: u32) -> Self {
        let last = levels.len().saturating_sub(1);
        Self { default_level: (default_level.saturating_sub(1) as usize).min(last), levels }
    }

    /// Policies, highest level first.
    pub(crate) fn levels(&self) -> &[QueuePolicy] {
        &self.levels
    }

    /// Index of the level of a request with this priority. 0 and unknown levels mean the default, as in Triton.
    pub(crate) fn level_of(&self, priority: u32) -> usize {
        let priority = priority as usize;
        if priority == 0 || priority > self.levels.len() { self.default_level } else { priority - 1 }
    }
}

/// Whether one more request fits.
pub(crate) fn admits(policy: &QueuePolicy, queued: usize) -> bool {
    policy.max_queue_size == 0 || queued < policy.max_queue_size as usize
}

/// Time that a request may wait; `None` for as long as it takes.
pub(crate) fn timeout(policy: &QueuePolicy, requested_microseconds: u64) -> Option<Duration> {
    let default = (policy.default_timeout > Duration::ZERO).then_some(policy.default_timeout);
    if !policy.allow_timeout_override || requested_microseconds == 0 {
        return default;
    }
    let requested = Duration::from_micros(requested_microseconds);
    Some(default.map_or(requested, |default| default.min(requested)))
}

/// Whether a request whose time-out passed is executed later instead of being rejected.
pub(crate) fn delays(policy: &QueuePolicy) -> bool {
    policy.timeout_action == TimeoutAction::Delay
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(default_us: u64, allow: bool) -> QueuePolicy {
        let mut policy = QueuePolicy::default();
        policy.default_timeout = Duration::from_micros(default_us);
        policy.allow_timeout_override = allow;
        policy
    }

    #[test]
    fn the_smaller_timeout_wins_and_only_when_allowed() {
        assert_eq!(timeout(&policy(0, false), 5), None);
        assert_eq!(timeout(&policy(0, true), 5), Some(Duration::from_micros(5)));
        assert_eq!(timeout(&policy(10, false), 5), Some(Duration::from_micros(10)));
        assert_eq!(timeout(&policy(10, true), 5), Some(Duration::from_micros(5)));
        assert_eq!(timeout(&policy(10, true), 50), Some(Duration::from_micros(10)));
        assert_eq!(timeout(&policy(10, true), 0), Some(Duration::from_micros(10)));
        assert_eq!(timeout(&policy(0, true), u64::MAX), Some(Duration::from_micros(u64::MAX)));
    }

    #[test]
    fn unknown_priorities_get_the_default_level() {
        let policies = QueuePolicies::with_levels(vec![QueuePolicy::default(); 3], 2);
        assert_eq!([0, 1, 2, 3, 4, u32::MAX].map(|priority| policies.level_of(priority)), [1, 0, 1, 2, 1, 1]);
    }

    #[test]
    fn sizes_are_bounds() {
        let mut policy = QueuePolicy::default();
        assert!(admits(&policy, usize::MAX));
        policy.max_queue_size = 2;
        assert!(admits(&policy, 1));
        assert!(!admits(&policy, 2));
    }
}
