//! Which sticky keys were already counted: a Bloom filter, so that one key counts once in bounded memory.
//!
//! Why: with sticky assignment the unit is the key, not the request. Errors of one user come in clumps; counting each of
//! them as independent evidence gave 6.6 % false rollbacks at a promised 1 % (5 % of the users making all errors).
//!
//! Structure: Bloom, CACM 13 (1970), with 4 probes by double hashing (Kirsch and Mitzenmacher, ESA 2006, section 3).
//! Error: a key that is new is taken for a seen one with probability about `(1 - exp(-4 n / bits))^4` after `n` keys: at
//! 2^17 bits (16 KiB) 0.5 % after 10,000 and 25 % after 40,000. Such an event isn't counted. Both arms share the filter
//! and its hashes are independent of the arm, so what is lost is evidence, never the promise about alpha: under the
//! hypothesis a lost event was as likely the candidate's as a counted one. A seen key is never taken for a new one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::random::mix;

const PROBES: u64 = 4;

/// A set of 64-bit keys that forgets none and sometimes claims one too many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredKeys", into = "StoredKeys")]
pub struct SeenKeys {
    log2_bits: u8,
    /// Empty until the first key comes: most metrics of unkeyed traffic never pay for it.
    words: Vec<u64>,
}

impl SeenKeys {
    /// An empty set of `2^log2_bits` bits; the exponent is brought into `6..=26` (8 bytes to 8 MiB).
    #[must_use]
    pub fn with_log2_bits(log2_bits: u8) -> Self {
        Self { log2_bits: log2_bits.clamp(6, 26), words: Vec::new() }
    }

    /// Adds `key`, a hash of at least 64 bits' quality or any number; true when it was not in the set.
    pub fn insert(&mut self, key: u64) -> bool {
        let bits = 1_u64 << self.log2_bits;
        if self.words.is_empty() {
            // At most 2^20 words.
            #[allow(clippy::cast_possible_truncation, reason = "at most 2^20")]
            self.words.resize((bits / 64) as usize, 0);
        }
        // The router makes the arm from the same key; other constants keep the probes independent of it.
        let first = mix(key ^ 0x6a09_e667_f3bc_c908);
        let second = mix(first ^ 0xbb67_ae85_84ca_a73b) | 1;
        let mut new = false;
        for probe in 0..PROBES {
            let bit = first.wrapping_add(probe.wrapping_mul(second)) & (bits - 1);
            #[allow(clippy::cast_possible_truncation, reason = "below 2^20")]
            let word = &mut self.words[(bit / 64) as usize];
            let mask = 1 << (bit % 64);
            new |= *word & mask == 0;
            *word |= mask;
        }
        new
    }

    /// Probability that the next new key is taken for a seen one, `0.0..=1.0`.
    #[must_use]
    pub fn false_positive_rate(&self) -> f64 {
        let set: u32 = self.words.iter().map(|word| word.count_ones()).sum();
        (f64::from(set) / (1_u64 << self.log2_bits) as f64).powi(4)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKeys {
    log2_bits: u8,
    /// Little-endian words in base 64 without padding; empty when no key came.
    words: String,
}

impl From<SeenKeys> for StoredKeys {
    fn from(keys: SeenKeys) -> Self {
        let bytes: Vec<u8> = keys.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Self { log2_bits: keys.log2_bits, words: STANDARD_NO_PAD.encode(bytes) }
    }
}

impl TryFrom<StoredKeys> for SeenKeys {
    type Error = String;

    fn try_from(stored: StoredKeys) -> Result<Self, Self::Error> {
        let keys = Self::with_log2_bits(stored.log2_bits);
        if keys.log2_bits != stored.log2_bits {
            return Err(format!("expected `log2_bits` of 6 to 26, found `{}`", stored.log2_bits));
        }
        let bytes = STANDARD_NO_PAD.decode(stored.words).map_err(|error| format!("`words` is not base 64: {error}"))?;
        let expected = (1_usize << keys.log2_bits) / 8;
        if !bytes.is_empty() && bytes.len() != expected {
            return Err(format!("expected {expected} bytes in `words`, found `{}`", bytes.len()));
        }
        let words = bytes
            .chunks_exact(8)
            .map(|chunk| chunk.iter().rev().fold(0_u64, |word, byte| (word << 8) | u64::from(*byte)))
            .collect();
        Ok(Self { words, ..keys })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::SeenKeys;

    #[test]
    fn forgets_no_key_and_errs_as_often_as_promised() {
        let mut keys = SeenKeys::with_log2_bits(17);
        let new = (0..40_000_u64).filter(|key| keys.insert(*key)).count();
        assert!((0..40_000).all(|key| !keys.insert(key)), "a seen key was taken for a new one");
        // (1 - exp(-4 n / bits))^4 after n = 40,000 keys.
        let expected = (1.0 - (-4.0 * 40_000.0 / 131_072.0_f64).exp()).powi(4);
        assert!((keys.false_positive_rate() - expected).abs() < 0.01);
        let mistaken = (1_000_000..1_002_000_u64).filter(|key| !keys.clone().insert(*key)).count();
        let measured = mistaken as f64 / 2_000.0;
        // Three binomial standard errors.
        assert!((measured - keys.false_positive_rate()).abs() < 0.03, "{measured}");
        assert!(new > 34_000, "{new}");
    }

    #[test]
    fn stored_and_restored_is_the_same_set() {
        let mut keys = SeenKeys::with_log2_bits(10);
        for key in 0..50 {
            keys.insert(key);
        }
        let text = serde_json::to_string(&keys).unwrap();
        assert_eq!(serde_json::from_str::<SeenKeys>(&text).unwrap(), keys);
        assert!(serde_json::from_str::<SeenKeys>(r#"{"log2_bits":10,"words":"AAAA"}"#).is_err());
        assert!(serde_json::from_str::<SeenKeys>(r#"{"log2_bits":60,"words":""}"#).is_err());
    }
}
