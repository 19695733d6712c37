//! A share as a person writes it: percent, in steps of 0.01.
//!
//! Invariant: a whole number of basis points from 0 to 10,000.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A share from 0 to 100 percent in steps of 0.01; written as a plain number, such as `12.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u16);

impl Percent {
    /// The share of so many basis points (0.01 %); none above 10,000.
    #[must_use]
    pub const fn from_basis_points(basis_points: u16) -> Option<Self> {
        if basis_points <= 10_000 { Some(Self(basis_points)) } else { None }
    }

    /// Basis points, 0 to 10,000.
    #[must_use]
    pub const fn basis_points(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} %", f64::from(self.0) / 100.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Whole numbers without a decimal point, so that a document reads as it was written.
        if self.0.is_multiple_of(100) {
            serializer.serialize_u16(self.0 / 100)
        } else {
            serializer.serialize_f64(f64::from(self.0) / 100.0)
        }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = f64::deserialize(deserializer)?;
        let points = (percent * 100.0).round();
        let on_a_step = (percent * 100.0 - points).abs() < 1e-6;
        if !(on_a_step && (0.0..=10_000.0).contains(&points)) {
            return Err(D::Error::custom(format!("expected 0 to 100 percent in steps of 0.01, got `{percent}`")));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 0 to 10,000")]
        Ok(Self(points as u16))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::Percent;

    proptest! {
        #[test]
        fn every_step_survives_json(points in 0_u16..=10_000) {
            let share = Percent::from_basis_points(points).unwrap();
            let text = serde_json::to_string(&share).unwrap();
            prop_assert_eq!(serde_json::from_str::<Percent>(&text).unwrap(), share);
        }
    }

    #[test]
    fn what_is_no_step_is_refused() {
        for text in ["-0.01", "100.01", "0.001", "12.345", "1e300", "\"5\"", "null", "[5]", "true"] {
            assert!(serde_json::from_str::<Percent>(text).is_err(), "{text}");
        }
        assert_eq!(serde_json::from_str::<Percent>("12.5").unwrap().basis_points(), 1_250);
        assert_eq!(serde_json::from_str::<Percent>("1e1").unwrap().basis_points(), 1_000);
        assert!(Percent::from_basis_points(10_001).is_none());
    }
}
