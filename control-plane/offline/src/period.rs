//! A stretch of event time: its beginning belongs to it, its end does not, so that stretches can follow one another.

use crate::error::OfflineError;
use crate::table::nanos_of_text;

/// Nanoseconds since the epoch of the beginning, and of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    from: i64,
    to: i64,
}

impl Period {
    /// From `from` to before `to`.
    ///
    /// # Errors
    /// `InvalidArgument` when it ends before it begins.
    pub fn new(from: i64, to: i64) -> Result<Self, OfflineError> {
        if from > to {
            let reason =
                format!("expected a beginning before the end, got `{}` to `{}`", instant_text(from), instant_text(to));
            return Err(OfflineError::invalid("period", reason));
        }
        Ok(Self { from, to })
    }

    /// Its beginning.
    #[must_use]
    pub const fn from(self) -> i64 {
        self.from
    }

    /// Its end.
    #[must_use]
    pub const fn to(self) -> i64 {
        self.to
    }

    /// First and last instant; the last is before the first where it is empty.
    pub(crate) const fn window(self) -> (i64, i64) {
        (self.from, self.to.saturating_sub(1))
    }
}

/// Reads an instant as files have them: RFC 3339, a date, or seconds since the epoch; without a time zone it is UTC.
#[must_use]
pub fn nanos_of_instant(text: &str) -> Option<i64> {
    nanos_of_text(text)
}

/// An instant as RFC 3339.
#[must_use]
pub fn instant_text(nanos: i64) -> String {
    jiff::Timestamp::from_nanosecond(nanos.into()).map_or_else(|_| nanos.to_string(), |instant| instant.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::{Period, instant_text, nanos_of_instant};

    #[test]
    fn the_end_is_no_part_of_it() {
        let period = Period::new(10, 20).unwrap();
        assert_eq!(period.window(), (10, 19));
        let empty = Period::new(i64::MIN, i64::MIN).unwrap().window();
        assert_eq!(empty, (i64::MIN, i64::MIN));
        assert!(Period::new(2, 1).is_err());
        assert_eq!(nanos_of_instant(&instant_text(1_357_016_400_000_000_001)), Some(1_357_016_400_000_000_001));
    }
}
