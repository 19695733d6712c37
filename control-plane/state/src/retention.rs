//! How much of a stream is kept, and the decision of what goes. Pure.

use crate::versions::Sequence;

/// What is kept of a stream. The oldest goes first, and only from the front, so no gap arises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Records older than this, in milliseconds, go.
    pub max_age_millis: u64,
    /// The oldest records go while the rest is larger than this, in bytes of their text.
    pub max_bytes: u64,
    /// A record that a registered reader has not dealt with stays nevertheless, up to this many per reader. Beyond,
    /// the oldest go, and are counted for that reader ([`Cursor::missed`](crate::Cursor::missed)).
    pub max_unread: u64,
}

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// Records dropped.
    pub dropped: u64,
    /// Whether the pass ended at its own bound; call again.
    pub more: bool,
    /// Readers that lost records they had not dealt with.
    pub readers_behind: u64,
}

/// What a record means to retention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) sequence: Sequence,
    pub(crate) recorded_at_millis: i64,
    /// Bytes of all records ever, this one included.
    pub(crate) total_bytes: u64,
}

/// The last of `oldest` that age or size lets go; `trimmed` if none.
///
/// `oldest` are the oldest records in sequence, `total_bytes` those of all records ever.
pub(crate) fn outlived(
    policy: &Retention,
    oldest: &[Kept],
    trimmed: (Sequence, u64),
    total_bytes: u64,
    now_millis: i64,
) -> (Sequence, u64) {
    let mut cut = trimmed;
    for record in oldest {
        let too_old = record.recorded_at_millis < now_millis.saturating_sub_unsigned(policy.max_age_millis);
        let too_much = total_bytes.saturating_sub(cut.1) > policy.max_bytes;
        if !too_old && !too_much {
            break;
        }
        cut = (record.sequence, record.total_bytes);
    }
    cut
}

/// How far readers let retention go: no further than the slowest one, unless it is more than the bound behind.
pub(crate) fn reader_bound(policy: &Retention, last: Sequence, slowest: Option<Sequence>) -> Sequence {
    let bound = Sequence(last.0.saturating_sub(policy.max_unread));
    slowest.map_or(last, |slowest| slowest.max(bound))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn records(ages: &[(i64, u64)]) -> Vec<Kept> {
        let mut total_bytes = 0;
        ages.iter()
            .zip(1..)
            .map(|(&(recorded_at_millis, bytes), sequence)| {
                total_bytes += bytes;
                Kept { sequence: Sequence(sequence), recorded_at_millis, total_bytes }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn only_a_prefix_goes_and_what_stays_is_within_bounds(
            written in prop::collection::vec((0_i64..1_000, 1_u64..100), 0..60),
            max_age_millis in 0_u64..1_000,
            max_bytes in 0_u64..3_000,
        ) {
            let policy = Retention { max_age_millis, max_bytes, max_unread: 0 };
            let oldest = records(&written);
            let total = oldest.last().map_or(0, |record| record.total_bytes);
            let (cut, cut_bytes) = outlived(&policy, &oldest, (Sequence::NONE, 0), total, 1_000);
            prop_assert!(total - cut_bytes <= max_bytes);
            let dropped = usize::try_from(cut.0).unwrap();
            if let Some(first) = oldest.get(dropped) {
                prop_assert!(first.recorded_at_millis >= 1_000 - i64::try_from(max_age_millis).unwrap());
            }
            // One record less would not have been enough.
            if let Some(spared) = dropped.checked_sub(1).and_then(|index| oldest.get(index)) {
                let before = spared.total_bytes - written[dropped - 1].1;
                let old = spared.recorded_at_millis < 1_000 - i64::try_from(max_age_millis).unwrap();
                prop_assert!(old || total - before > max_bytes);
            }
        }

        #[test]
        fn a_reader_within_the_bound_loses_nothing(last in 0_u64..500, read in 0_u64..500, max_unread in 0_u64..500) {
            let policy = Retention { max_age_millis: 0, max_bytes: 0, max_unread };
            let read = read.min(last);
            let bound = reader_bound(&policy, Sequence(last), Some(Sequence(read)));
            prop_assert_eq!(bound.0 > read, last - read > max_unread);
            prop_assert!(last - bound.0 <= max_unread.max(last - read));
            prop_assert_eq!(reader_bound(&policy, Sequence(last), None), Sequence(last));
        }
    }
}
