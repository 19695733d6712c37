//! From the name of a region to the memory that a request uses (W-63).
//!
//! Who keeps regions implements [`RegionLookup`]; what is checked of a range, and in which words, stands here.

use hanok_backend::{RegionSlice, ServingError};

use crate::SharedMemoryRange;

/// Finds what clients lent.
pub trait RegionLookup {
    /// The part of a region that `range` names.
    ///
    /// # Errors
    /// `NotFound` for a region that nobody registered, `InvalidArgument` for a range outside of it, `Unsupported` where there
    /// are no regions.
    fn find(&self, range: &SharedMemoryRange<'_>) -> Result<RegionSlice, ServingError>;
}

/// A server without regions.
#[derive(Clone, Copy, Debug)]
pub struct NoRegions;

impl RegionLookup for NoRegions {
    fn find(&self, _: &SharedMemoryRange<'_>) -> Result<RegionSlice, ServingError> {
        Err(ServingError::unsupported("shared memory is not supported by this server"))
    }
}

impl SharedMemoryRange<'_> {
    /// Refuses a range that is not within a region of `region_bytes`; gives its length. Texts and their order are Triton's;
    /// unlike there, nothing of length 0 is taken at the region's first byte.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn check_within(&self, region_bytes: u64) -> Result<usize, ServingError> {
        let Self { region, offset, byte_size } = self;
        if *offset > region_bytes.saturating_sub(1) {
            return Err(ServingError::invalid(format!("Invalid offset for shared memory region: '{region}'")));
        }
        let Some(end) = offset.checked_add(*byte_size) else {
            return Err(ServingError::invalid(format!(
                "Integer overflow detected: byte_size ({byte_size}) + offset ({offset}) exceeds maximum value ({}) for region \
                 '{region}'",
                u64::MAX
            )));
        };
        let outside =
            || ServingError::invalid(format!("Invalid offset + byte size for shared memory region: '{region}'"));
        if end > region_bytes {
            return Err(outside());
        }
        usize::try_from(*byte_size).map_err(|_| outside())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn check(offset: u64, byte_size: u64, region_bytes: u64) -> Result<usize, String> {
        let range = SharedMemoryRange { region: "a".into(), offset, byte_size };
        range.check_within(region_bytes).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn w63_ranges_are_refused_in_tritons_words() {
        assert_eq!(check(0, 64, 64), Ok(64));
        assert_eq!(check(63, 1, 64), Ok(1));
        assert_eq!(check(60, 0, 64), Ok(0));
        assert_eq!(check(64, 0, 64).unwrap_err(), "Invalid offset for shared memory region: 'a'");
        assert_eq!(check(60, 64, 64).unwrap_err(), "Invalid offset + byte size for shared memory region: 'a'");
        let text = check(32, u64::MAX - 31, 64).unwrap_err();
        let expected = "Integer overflow detected: byte_size (18446744073709551584) + offset (32) exceeds maximum value \
                        (18446744073709551615) for region 'a'";
        assert_eq!(text, expected);
    }

    proptest! {
        #[test]
        fn what_passes_is_within(offset in any::<u64>(), byte_size in any::<u64>(), region in 1_u64..1 << 50, near in any::<bool>()) {
            let (offset, byte_size) = if near { (offset % (2 * region), byte_size % (2 * region)) } else { (offset, byte_size) };
            let within = u128::from(offset) + u128::from(byte_size) <= u128::from(region) && offset < region;
            prop_assert_eq!(check(offset, byte_size, region).is_ok(), within);
        }
    }
}
