//! Limits of the pools, in the form of Triton's flags.

use std::collections::BTreeMap;

use thiserror::Error;

/// How much memory pools may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSizes {
    /// Pinned memory of the host, for all devices together.
    pub pinned_bytes: u64,
    /// Memory by device.
    pub device_bytes: BTreeMap<u32, u64>,
}

/// A text that is no limit.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("expected {expected}, got `{actual}`")]
pub struct ParseSizeError {
    expected: &'static str,
    actual: String,
}

impl PoolSizes {
    /// Triton's own limit for pinned memory.
    pub const DEFAULT_PINNED_BYTES: u64 = 256 << 20;
    /// Triton's is 64 MiB; ours also holds what batches are gathered in.
    pub const DEFAULT_DEVICE_BYTES: u64 = 512 << 20;

    /// The limit of a device that no flag names.
    #[must_use]
    pub fn device_limit(&self, ordinal: u32) -> u64 {
        self.device_bytes.get(&ordinal).copied().unwrap_or(Self::DEFAULT_DEVICE_BYTES)
    }

    /// Reads `DEVICE:BYTES`, the value of `--cuda-memory-pool-byte-size`.
    ///
    /// # Errors
    /// What was expected, and the text.
    pub fn parse_device(text: &str) -> Result<(u32, u64), ParseSizeError> {
        let wrong = || ParseSizeError { expected: "DEVICE:BYTES, such as `0:67108864`", actual: text.to_owned() };
        let (device, bytes) = text.split_once(':').ok_or_else(wrong)?;
        Ok((device.parse().map_err(|_| wrong())?, bytes.parse().map_err(|_| wrong())?))
    }
}

impl Default for PoolSizes {
    fn default() -> Self {
        Self { pinned_bytes: Self::DEFAULT_PINNED_BYTES, device_bytes: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_in_tritons_form() {
        assert_eq!(PoolSizes::parse_device("0:67108864"), Ok((0, 64 << 20)));
        for wrong in ["", "64", "0:", ":64", "0:64M", "-1:64", "0:1:2"] {
            let error = PoolSizes::parse_device(wrong).map_err(|error| error.to_string());
            assert_eq!(error, Err(format!("expected DEVICE:BYTES, such as `0:67108864`, got `{wrong}`")));
        }
        let sizes = PoolSizes { device_bytes: BTreeMap::from([(1, 5)]), ..PoolSizes::default() };
        assert_eq!((sizes.device_limit(0), sizes.device_limit(1)), (512 << 20, 5));
    }
}
