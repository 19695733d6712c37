//! The hash that assigns a key to a bucket, and the numbers drawn from it. Part of the manual: it never changes.
//!
//! Not a defence against people who choose their keys, and not a random generator for anything but traffic.
//!
//! - `seed = XXH3-64(salt)` with seed 0, `hash = XXH3-64(key)` with that seed, `bucket = hash mod 10,000`.
//!   XXH3 is that of xxHash 0.8 (<https://github.com/Cyan4973/xxHash>, `doc/xxhash_spec.md`), the same on every
//!   architecture. Salt and key are bytes; integers are their decimal text.
//! - Further independent numbers of one request are `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014) started at the hash:
//!   [`redraw`].
//! - A request without a key takes its number from a keyed counter: `XXH3-64(counter as 8 bytes little-endian)` with the
//!   key as seed, so a recorded counter replays a decision.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use twox_hash::{XxHash3_64, XxHash3_128};

/// Number of buckets, and the whole of a weight: one bucket is 0.01 %.
pub const BUCKETS: u16 = 10_000;

/// Seed that belongs to `salt`, the experiment's id.
#[must_use]
pub fn salt_seed(salt: &[u8]) -> u64 {
    XxHash3_64::oneshot(salt)
}

/// Hash of a sticky key under a salt's seed.
#[must_use]
pub fn key_hash(seed: u64, key: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(seed, key)
}

/// Bucket of a hash, below [`BUCKETS`].
#[must_use]
pub fn bucket(hash: u64) -> u16 {
    u16::try_from(hash % u64::from(BUCKETS)).unwrap_or_default()
}

/// The `stream`-th number drawn from `hash`; numbers of different streams are independent of one another and of the bucket.
#[must_use]
pub const fn redraw(hash: u64, stream: u64) -> u64 {
    let mut mixed = hash.wrapping_add(stream.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The number of the request that was `counter`-th under `key`.
#[must_use]
pub fn request_number(key: u64, counter: u64) -> u64 {
    XxHash3_64::oneshot_with_seed(key, &counter.to_le_bytes())
}

/// 128 bits that stand for one sequence of one model. Not secret: whoever knows a sequence's id can name it anyway.
pub(crate) fn sequence_fingerprint(model: &str, kind: u64, id: &[u8]) -> u128 {
    XxHash3_128::oneshot_with_seed(XxHash3_64::oneshot_with_seed(kind, model.as_bytes()), id)
}

/// Numbers for requests that carry no key: uniform, replayable from the key and the counter.
#[derive(Debug)]
pub struct RequestNumbers {
    key: u64,
    counter: AtomicU64,
}

impl RequestNumbers {
    /// Numbers under `key`, which the composition root draws once and may log for replay.
    #[must_use]
    pub const fn new(key: u64) -> Self {
        Self { key, counter: AtomicU64::new(0) }
    }

    /// The next number. One atomic addition; never blocks.
    #[must_use]
    pub fn draw(&self) -> u64 {
        request_number(self.key, self.counter.fetch_add(1, Relaxed))
    }
}
