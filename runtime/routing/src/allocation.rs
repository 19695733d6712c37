//! Which of the 10,000 buckets each arm holds.
//!
//! Not the hash that finds a key's bucket. Invariant: an arm holds exactly as many buckets as its weight has basis points,
//! and carrying an allocation over to new weights moves exactly the buckets that the weights force to move, half the sum
//! of the absolute differences.
//!
//! **Canonical allocation** (nothing stored): every arm but the first takes buckets from 0 upwards in declared order, the
//! first arm, the baseline, has the rest. For a baseline and a canary this is "canary if bucket < weight".
//!
//! **Carried allocation**: with three arms and more no function of the weights alone moves the least. (Proof: weights
//! (1/2, 1/2, 0), (1/2, 0, 1/2) and (0, 1/2, 1/2) differ by 1/2 each; moving no more between the first and either other
//! keeps `a` on `a` and `b` on `b`; then the second has no bucket for `c` that the third has too.) So the allocation is
//! derived from the previous one and stored in the table; whoever reads the table, now or after a restart, assigns alike.
//! Arms that shrink release buckets (the baseline its lowest, others their highest), arms that grow take the lowest free
//! ones in declared order, the baseline last. With two arms that is the canonical allocation again, and nothing is stored.

use serde::{Deserialize, Serialize};

use crate::assignment_hash::BUCKETS;
use crate::{ModelTraffic, TrafficTable};

/// Neighbouring buckets of one arm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketRun {
    /// Name of the arm.
    pub arm: String,
    /// How many buckets, from the end of the run before.
    pub buckets: u16,
}

/// Marks a bucket that no arm holds yet.
const FREE: u8 = u8::MAX;

/// Arms in the order in which they take buckets: all others, then the baseline.
fn taking_order(arms: usize) -> impl Iterator<Item = usize> {
    (1..arms).chain((arms > 0).then_some(0))
}

fn canonical(weights: &[u16]) -> Vec<u8> {
    carried(weights, vec![FREE; usize::from(BUCKETS)])
}

/// Gives each arm `weights[arm]` buckets, leaving as many as possible where `held` has them.
fn carried(weights: &[u16], mut held: Vec<u8>) -> Vec<u8> {
    let mut counts = vec![0_u16; weights.len()];
    for &arm in &held {
        if let Some(count) = counts.get_mut(usize::from(arm)) {
            *count += 1;
        }
    }
    for (arm, &weight) in weights.iter().enumerate() {
        let surplus = usize::from(counts[arm].saturating_sub(weight));
        counts[arm] = counts[arm].min(weight);
        let own = |slot: &&mut u8| usize::from(**slot) == arm;
        if arm == 0 {
            held.iter_mut().filter(own).take(surplus).for_each(|slot| *slot = FREE);
        } else {
            held.iter_mut().rev().filter(own).take(surplus).for_each(|slot| *slot = FREE);
        }
    }
    let mut free = held.iter_mut().filter(|slot| **slot == FREE);
    for arm in taking_order(weights.len()) {
        let missing = usize::from(weights[arm] - counts[arm]);
        let name = u8::try_from(arm).unwrap_or(FREE);
        free.by_ref().take(missing).for_each(|slot| *slot = name);
    }
    held
}

fn weights(traffic: &ModelTraffic) -> Vec<u16> {
    traffic.arms.iter().map(|arm| arm.weight_basis_points).collect()
}

/// Arm index of every bucket of a validated entry.
pub(crate) fn buckets(traffic: &ModelTraffic) -> Vec<u8> {
    if traffic.allocation.is_empty() {
        return canonical(&weights(traffic));
    }
    expanded(&traffic.allocation, traffic)
}

/// The buckets of `runs`, each with the index that `traffic` gives its arm, or [`FREE`].
fn expanded(runs: &[BucketRun], traffic: &ModelTraffic) -> Vec<u8> {
    let mut buckets = Vec::with_capacity(usize::from(BUCKETS));
    for run in runs {
        let arm = traffic.arms.iter().position(|arm| arm.name == run.arm);
        let index = arm.and_then(|index| u8::try_from(index).ok()).unwrap_or(FREE);
        buckets.extend(std::iter::repeat_n(index, usize::from(run.buckets)));
    }
    buckets.resize(usize::from(BUCKETS), FREE);
    buckets
}

fn runs(buckets: &[u8], traffic: &ModelTraffic) -> Vec<BucketRun> {
    let mut runs: Vec<BucketRun> = Vec::new();
    let name = |index: u8| traffic.arms.get(usize::from(index)).map_or("", |arm| arm.name.as_str());
    for &bucket in buckets {
        match runs.last_mut() {
            Some(run) if run.arm == name(bucket) => run.buckets += 1,
            _ => runs.push(BucketRun { arm: name(bucket).to_owned(), buckets: 1 }),
        }
    }
    runs
}

impl ModelTraffic {
    /// Runs of buckets per arm, as this entry assigns them. The entry must be valid.
    #[must_use]
    pub fn bucket_runs(&self) -> Vec<BucketRun> {
        runs(&buckets(self), self)
    }
}

impl TrafficTable {
    /// Derives the bucket allocation of every model that `previous` has too, so that only the moved share of keys changes
    /// arm. Both tables must be valid. Whoever writes a table that follows another calls this before storing it.
    ///
    /// Arms are known by name. An entry that already has an allocation gets a new one.
    pub fn carry_allocations_from(&mut self, previous: &Self) {
        for (name, traffic) in &mut self.models {
            let Some(before) = previous.models.get(name) else { continue };
            let held = expanded(&before.bucket_runs(), traffic);
            let weights = weights(traffic);
            let next = carried(&weights, held);
            traffic.allocation = if next == canonical(&weights) { Vec::new() } else { runs(&next, traffic) };
        }
    }
}
