//! Instants as milliseconds since the Unix epoch; RFC 3339 at the edge.
//!
//! Nothing here reads a clock.

use std::fmt;

use crate::error::StateError;

/// 9999-01-01T00:00:00Z: later instants are not written with four digits for the year.
const LATEST_MILLIS: i64 = 253_370_764_800_000;

/// An instant between 1970-01-01T00:00:00Z and the end of the year 9998, in whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `millis` milliseconds after the Unix epoch.
    ///
    /// # Errors
    /// `InvalidArgument` outside the range.
    pub fn from_unix_millis(millis: i64) -> Result<Self, StateError> {
        if !(0..LATEST_MILLIS).contains(&millis) {
            return Err(StateError::invalid(
                "time",
                format!("expected milliseconds from `0` to below `{LATEST_MILLIS}`, got `{millis}`"),
            ));
        }
        Ok(Self(millis))
    }

    /// Reads RFC 3339 with any offset; fractions of a millisecond are dropped.
    ///
    /// # Errors
    /// `InvalidArgument` if it is not RFC 3339 or outside the range.
    pub fn from_rfc3339(text: &str) -> Result<Self, StateError> {
        let instant: jiff::Timestamp = text
            .get(..text.len().min(64))
            .unwrap_or_default()
            .parse()
            .map_err(|_| StateError::invalid("time", "expected an RFC 3339 instant"))?;
        Self::from_unix_millis(instant.as_millisecond())
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// `millis` later, no further than the range allows.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add_unsigned(millis).min(LATEST_MILLIS - 1))
    }

    /// `millis` earlier, no further than the range allows.
    #[must_use]
    pub fn minus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_sub_unsigned(millis).max(0))
    }
}

/// RFC 3339 in UTC with three decimals: `2024-02-29T12:00:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(formatter, "{instant:.3}"),
            Err(_) => write!(formatter, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn writes_and_reads_rfc_3339() {
        // Golden values: Python's datetime.fromtimestamp(x, timezone.utc).isoformat(timespec="milliseconds").
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_709_208_000_123, "2024-02-29T12:00:00.123Z"),
            (LATEST_MILLIS - 1, "9998-12-31T23:59:59.999Z"),
        ] {
            let instant = Timestamp::from_unix_millis(millis).unwrap();
            assert_eq!(instant.to_string(), text);
            assert_eq!(Timestamp::from_rfc3339(text).unwrap(), instant);
        }
        assert_eq!(Timestamp::from_rfc3339("2024-02-29T21:00:00.1239+09:00").unwrap().unix_millis(), 1_709_208_000_123);
    }

    #[test]
    fn refuses_what_is_outside() {
        for millis in [-1, i64::MIN, LATEST_MILLIS, i64::MAX] {
            assert!(Timestamp::from_unix_millis(millis).is_err());
        }
        for text in
            ["", "yesterday", "2024-02-30T00:00:00Z", "2024-02-29", "1969-12-31T23:59:59Z", &"9".repeat(1 << 20)]
        {
            assert!(Timestamp::from_rfc3339(text).is_err(), "{text:.20}");
        }
        assert_eq!(Timestamp(5).minus_millis(6), Timestamp(0));
        assert_eq!(Timestamp(5).plus_millis(u64::MAX), Timestamp(LATEST_MILLIS - 1));
    }
}
