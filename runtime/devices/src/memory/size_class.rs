//! Sizes are rounded up to few classes, so that freed blocks fit later requests.

/// Smallest block, and the alignment of all: what vector loads and the driver's own allocations keep.
pub(super) const GRANULE: u64 = 512;

/// The class of `bytes`: a multiple of 512 that is at most one eighth (or one granule) larger.
///
/// Eight classes between powers of two, as in jemalloc: internal waste is bounded, and blocks of similar batches are equal.
#[must_use]
pub fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(1);
    let step = (bytes.next_power_of_two() / 16).max(GRANULE);
    bytes.checked_next_multiple_of(step).unwrap_or(u64::MAX / GRANULE * GRANULE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn examples() {
        assert_eq!([0, 1, 512, 513, 8192, 8193, 9000].map(size_class), [512, 512, 512, 1024, 8192, 9216, 9216]);
    }

    proptest! {
        #[test]
        fn waste_is_bounded(bytes in 1_u64..1 << 50) {
            let class = size_class(bytes);
            prop_assert!(class >= bytes && class.is_multiple_of(GRANULE));
            prop_assert!(class - bytes < GRANULE.max(bytes / 8 + 1), "{bytes} {class}");
            prop_assert_eq!(size_class(class), class);
        }
    }
}
