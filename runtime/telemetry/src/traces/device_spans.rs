//! Where on the host's clock a batch was on its GPU.
//!
//! A GPU's marks tell distances among themselves, and the host learns of the last one only: when its wait for it returned.
//! The rule: the last mark is put at that moment and every other as long before it as the device's clock says, but none before
//! the moment from which the host put work on the device, and none before the mark that precedes it. So spans are as long as
//! the device says, and late by the time that it took the host's thread to wake up.

use std::time::{Duration, Instant};

use super::Activity;

/// How long before the last mark each other mark of a batch was reached, by the device's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMarks {
    /// The first copy to the device.
    pub copying: Duration,
    /// The inputs are on the device.
    pub copied: Duration,
    /// Computing begins.
    pub computing: Duration,
    /// Computing has ended, and the outputs may be copied.
    pub computed: Duration,
}

/// What a batch did on its GPU, on the host's clock; each from, to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceSpans {
    /// Inputs were copied.
    pub copy_in: (Instant, Instant),
    /// The model was computed.
    pub execute: (Instant, Instant),
    /// Outputs were copied.
    pub copy_out: (Instant, Instant),
}

impl DeviceSpans {
    /// Puts the marks on the host's clock: work was put on the device from `begun` on, and at `seen` the host knew that the
    /// last mark was reached.
    #[must_use]
    pub fn place(marks: &DeviceMarks, begun: Instant, seen: Instant) -> Self {
        let earliest = begun.min(seen);
        let mut latest = earliest;
        let mut place = |before: Duration| {
            latest = seen.checked_sub(before).map_or(latest, |at| at.max(latest));
            latest
        };
        let (copying, copied) = (place(marks.copying), place(marks.copied));
        let (computing, computed) = (place(marks.computing), place(marks.computed));
        Self { copy_in: (copying, copied), execute: (computing, computed), copy_out: (computed, seen) }
    }

    /// The moments as a trace tells them. What is told of every batch is told by the device's clock where there is one.
    pub(super) fn moments(&self) -> [(Activity, Instant); 8] {
        [
            (Activity::GpuCopyInStart, self.copy_in.0),
            (Activity::GpuCopyInEnd, self.copy_in.1),
            (Activity::ComputeInputEnd, self.copy_in.1),
            (Activity::GpuExecuteStart, self.execute.0),
            (Activity::GpuExecuteEnd, self.execute.1),
            (Activity::ComputeOutputStart, self.execute.1),
            (Activity::GpuCopyOutStart, self.copy_out.0),
            (Activity::GpuCopyOutEnd, self.copy_out.1),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn microseconds(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    #[test]
    fn spans_are_as_long_as_the_device_says() {
        let begun = Instant::now();
        let seen = begun + microseconds(1_000);
        let marks = DeviceMarks {
            copying: microseconds(700),
            copied: microseconds(600),
            computing: microseconds(550),
            computed: microseconds(50),
        };
        let spans = DeviceSpans::place(&marks, begun, seen);
        let at = |count| begun + microseconds(count);
        assert_eq!(spans.copy_in, (at(300), at(400)));
        assert_eq!(spans.execute, (at(450), at(950)));
        assert_eq!(spans.copy_out, (at(950), at(1_000)));
    }

    #[test]
    fn nothing_was_before_the_host_began() {
        let begun = Instant::now();
        let marks = DeviceMarks {
            copying: microseconds(90),
            copied: microseconds(50),
            computing: microseconds(20),
            computed: microseconds(0),
        };
        let spans = DeviceSpans::place(&marks, begun, begun + microseconds(60));
        assert_eq!(spans.copy_in, (begun, begun + microseconds(10)));
        assert_eq!(spans.execute, (begun + microseconds(40), begun + microseconds(60)));
    }

    proptest! {
        #[test]
        fn moments_are_in_order_and_within_the_batch(
            before in prop::array::uniform4(0_u64..2_000),
            length in 0_u64..1_000,
        ) {
            let begun = Instant::now();
            let seen = begun + microseconds(length);
            let [copying, copied, computing, computed] = before.map(microseconds);
            let spans = DeviceSpans::place(&DeviceMarks { copying, copied, computing, computed }, begun, seen);
            let moments = spans.moments().map(|(_, at)| at);
            prop_assert!(moments.is_sorted(), "{spans:?}");
            prop_assert!(moments[0] >= begun && moments[7] == seen, "{spans:?}");
            let ordered = before.is_sorted_by(|left, right| left >= right) && before[0] <= length;
            if ordered {
                prop_assert_eq!(seen - spans.copy_in.0, copying);
                prop_assert_eq!(spans.copy_in.1 - spans.copy_in.0, copying - copied);
                prop_assert_eq!(spans.execute.1 - spans.execute.0, computing - computed);
            }
        }
    }
}
