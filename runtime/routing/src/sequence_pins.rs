//! Which arm each live sequence is on.
//!
//! Asked only by requests in a sequence. Every sequence is pinned at its first request, also where the table has no entry
//! for its model, because only then can a table that comes later leave it where it is. Bounded in entries; a pin goes with
//! the sequence's last request, or when the sequence was idle for too long. When all places are taken by live sequences, a
//! new one is not pinned (and counted): it follows the hash of its id, which holds until weights move, and is not shadowed.
//!
//! Invariant: between its first and its last request a pinned sequence gets one decision.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::assignment_hash::sequence_fingerprint;
use crate::{Decision, SampledShadows, SequenceIdFact, ServedVersion};

/// Locks that share the work.
const SHARDS: usize = 64;

/// How many sequences are remembered, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinLimits {
    /// Most live sequences, rounded up to a multiple of 64. Each takes about 200 bytes.
    pub capacity: usize,
    /// Microseconds without a request after which a sequence is over. At least what the models' sequence batchers allow.
    pub idle_microseconds: u64,
}

impl Default for PinLimits {
    fn default() -> Self {
        Self { capacity: 65_536, idle_microseconds: 600_000_000 }
    }
}

/// Counts of pins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PinCounts {
    /// Sequences that are pinned now, the idle ones that nobody swept yet included.
    pub live: u64,
    /// Sequences that found no place, since the start.
    pub refused: u64,
}

/// Stands for one sequence of one public model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PinKey(u128);

impl PinKey {
    pub(crate) fn new(model: &str, id: SequenceIdFact<'_>) -> Self {
        let kind = match id {
            SequenceIdFact::Number(_) => 0,
            SequenceIdFact::Text(_) => 1,
        };
        Self(sequence_fingerprint(model, kind, id.key().as_bytes()))
    }

    fn shard(self) -> usize {
        // The remainder is below the number of shards.
        usize::try_from(self.0 % SHARDS as u128).unwrap_or_default()
    }
}

#[derive(Debug)]
struct Pin {
    decision: Decision,
    last_used_microseconds: u64,
}

#[derive(Debug, Default)]
struct Shard {
    // The default hasher: keys come from clients, who must not be able to pile them up.
    pins: HashMap<u128, Pin>,
    /// No pin can be idle for too long before this.
    nothing_idle_before_microseconds: u64,
}

/// Pins of all live sequences.
#[derive(Debug)]
pub(crate) struct SequencePins {
    shards: Box<[Mutex<Shard>]>,
    capacity_per_shard: usize,
    idle_microseconds: u64,
    refused: AtomicU64,
}

impl SequencePins {
    pub(crate) fn new(limits: PinLimits) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            capacity_per_shard: limits.capacity.div_ceil(SHARDS),
            idle_microseconds: limits.idle_microseconds,
            refused: AtomicU64::new(0),
        }
    }

    fn shard(&self, key: PinKey) -> MutexGuard<'_, Shard> {
        // A shard is consistent between any two statements, so that a panic elsewhere spoils nothing.
        self.shards[key.shard()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(&self, pin: &Pin, now: u64) -> bool {
        now.saturating_sub(pin.last_used_microseconds) > self.idle_microseconds
    }

    /// Decision of a live sequence; forgets it when this is its last request.
    pub(crate) fn follow(&self, key: PinKey, now: u64, end: bool) -> Option<Decision> {
        let mut shard = self.shard(key);
        let Entry::Occupied(mut entry) = shard.pins.entry(key.0) else { return None };
        if self.is_idle(entry.get(), now) {
            entry.remove();
            return None;
        }
        if end {
            return Some(entry.remove().decision);
        }
        let pin = entry.get_mut();
        pin.last_used_microseconds = pin.last_used_microseconds.max(now);
        Some(pin.decision.clone())
    }

    /// Pins a sequence to `decision`. With `anew` the sequence starts over; otherwise a decision that another request made
    /// meanwhile wins. Gives the one that holds.
    pub(crate) fn pin(&self, key: PinKey, mut decision: Decision, now: u64, anew: bool) -> Decision {
        let mut shard = self.shard(key);
        if let Some(pin) = shard.pins.get_mut(&key.0) {
            if anew || self.is_idle(pin, now) {
                *pin = Pin { decision: decision.clone(), last_used_microseconds: now };
                return decision;
            }
            pin.last_used_microseconds = pin.last_used_microseconds.max(now);
            return pin.decision.clone();
        }
        if shard.pins.len() >= self.capacity_per_shard && !self.sweep(&mut shard, now) {
            self.refused.fetch_add(1, Relaxed);
            // Without a pin a later request could begin or end the copying midway.
            decision.shadows = SampledShadows::default();
            return decision;
        }
        shard.pins.insert(key.0, Pin { decision: decision.clone(), last_used_microseconds: now });
        decision
    }

    /// Drops idle pins of a full shard; whether there is a place now. Looks at all pins at most once per idle time of the
    /// longest idle one.
    fn sweep(&self, shard: &mut Shard, now: u64) -> bool {
        if now < shard.nothing_idle_before_microseconds {
            return false;
        }
        shard.pins.retain(|_, pin| !self.is_idle(pin, now));
        let oldest = shard.pins.values().map(|pin| pin.last_used_microseconds).min().unwrap_or(now);
        shard.nothing_idle_before_microseconds = oldest.saturating_add(self.idle_microseconds).saturating_add(1);
        shard.pins.len() < self.capacity_per_shard
    }

    /// Forgets a sequence.
    pub(crate) fn forget(&self, key: PinKey) {
        self.shard(key).pins.remove(&key.0);
    }

    /// Holds a sequence that was sent to the highest version to the one that this was.
    pub(crate) fn resolve(&self, key: PinKey, version: u64) {
        if let Some(pin) = self.shard(key).pins.get_mut(&key.0)
            && pin.decision.version == ServedVersion::Latest
        {
            pin.decision.version = ServedVersion::Number(version);
        }
    }

    pub(crate) fn counts(&self) -> PinCounts {
        let lengths = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).pins.len());
        PinCounts { live: lengths.map(|length| length as u64).sum(), refused: self.refused.load(Relaxed) }
    }
}
