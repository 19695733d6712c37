//! Whether a request is one of the share that gets copied.

use crate::assignment_hash::{bucket, redraw};

/// Streams 0 and 1 belong to ejection.
const FIRST_STREAM: u64 = 16;

/// Whether the shadow at position `shadow` of its model takes the request that has `number`, at a share in basis points.
///
/// A function of its arguments alone, independent between shadows and of the arm. Raising the share only adds requests.
/// For a request in a sequence the number is the hash of the sequence id, so that a sequence is copied whole or not at
/// all; for others it is the request's own.
#[must_use]
pub fn is_sampled(number: u64, shadow: usize, share_basis_points: u16) -> bool {
    bucket(redraw(number, FIRST_STREAM.wrapping_add(shadow as u64))) < share_basis_points
}
