//! A share of traffic in steps of 0.01 %.
//!
//! Invariant: between 0 and 10,000.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A share of traffic in basis points (0.01 %), `0..=10_000`. Serialised as the plain number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct BasisPoints(u16);

impl BasisPoints {
    /// No traffic.
    pub const ZERO: Self = Self(0);
    /// All traffic.
    pub const WHOLE: Self = Self(10_000);

    /// The share of `value` basis points; `None` above 10,000.
    #[must_use]
    pub fn new(value: u16) -> Option<Self> {
        (value <= Self::WHOLE.0).then_some(Self(value))
    }

    /// Basis points, `0..=10_000`.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }

    /// The share as a fraction, `0.0..=1.0`.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE.0)
    }

    /// Whether both arms could be drawn: only then does an assignment carry evidence.
    #[must_use]
    pub fn is_randomised(self) -> bool {
        self > Self::ZERO && self < Self::WHOLE
    }
}

impl TryFrom<u16> for BasisPoints {
    type Error = String;

    fn try_from(value: u16) -> Result<Self, Self::Error> {
        Self::new(value).ok_or_else(|| format!("expected a share of 0 to 10000 basis points, found `{value}`"))
    }
}

impl From<BasisPoints> for u16 {
    fn from(share: BasisPoints) -> Self {
        share.0
    }
}

/// In percent, as short as the value allows: `5 %`, `12.5 %`, `0.01 %`.
impl fmt::Display for BasisPoints {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match (rest, rest % 10) {
            (0, _) => write!(formatter, "{whole} %"),
            (_, 0) => write!(formatter, "{whole}.{} %", rest / 10),
            _ => write!(formatter, "{whole}.{rest:02} %"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::BasisPoints;

    #[test]
    fn shares_print_in_percent_and_refuse_more_than_all() {
        let printed = |value| BasisPoints::new(value).unwrap().to_string();
        assert_eq!(printed(0), "0 %");
        assert_eq!(printed(1), "0.01 %");
        assert_eq!(printed(1250), "12.5 %");
        assert_eq!(printed(10_000), "100 %");
        assert!(BasisPoints::new(10_001).is_none());
        assert!(serde_json::from_str::<BasisPoints>("10001").is_err());
        assert!(!BasisPoints::WHOLE.is_randomised() && !BasisPoints::ZERO.is_randomised());
    }
}
