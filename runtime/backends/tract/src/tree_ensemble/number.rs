//! The two precisions in which trees are evaluated: single for all inputs but double.

/// A floating-point number that thresholds, weights and features are made of.
pub(crate) trait Number:
    Copy
    + PartialOrd
    + std::fmt::Debug
    + std::ops::AddAssign
    + std::ops::Add<Output = Self>
    + std::ops::Neg<Output = Self>
    + Send
    + Sync
    + 'static
{
    /// Zero.
    const ZERO: Self;
    /// Positive infinity.
    const INFINITY: Self;
    /// Negative infinity.
    const NEGATIVE_INFINITY: Self;
    /// A value that compares false with everything.
    const NAN: Self;

    /// The greatest value below this one.
    fn next_lower(self) -> Self;
    /// This value divided by a number of trees.
    fn divided_by(self, count: usize) -> Self;
    /// Rounded to single precision.
    fn to_single(self) -> f32;
    /// From single precision, exactly.
    fn from_single(value: f32) -> Self;
    /// From double precision, rounded where needed.
    fn from_double(value: f64) -> Self;
}

impl Number for f32 {
    const ZERO: Self = 0.0;
    const INFINITY: Self = Self::INFINITY;
    const NEGATIVE_INFINITY: Self = Self::NEG_INFINITY;
    const NAN: Self = Self::NAN;

    fn next_lower(self) -> Self {
        self.next_down()
    }

    #[allow(clippy::cast_precision_loss, reason = "trees are counted in thousands")]
    fn divided_by(self, count: usize) -> Self {
        self / count as Self
    }

    fn to_single(self) -> f32 {
        self
    }

    fn from_single(value: f32) -> Self {
        value
    }

    #[allow(clippy::cast_possible_truncation, reason = "single precision is what the operator computes in")]
    fn from_double(value: f64) -> Self {
        value as Self
    }
}

impl Number for f64 {
    const ZERO: Self = 0.0;
    const INFINITY: Self = Self::INFINITY;
    const NEGATIVE_INFINITY: Self = Self::NEG_INFINITY;
    const NAN: Self = Self::NAN;

    fn next_lower(self) -> Self {
        self.next_down()
    }

    #[allow(clippy::cast_precision_loss, reason = "trees are counted in thousands")]
    fn divided_by(self, count: usize) -> Self {
        self / count as Self
    }

    #[allow(clippy::cast_possible_truncation, reason = "outputs are single precision by the operator's definition")]
    fn to_single(self) -> f32 {
        self as f32
    }

    fn from_single(value: f32) -> Self {
        Self::from(value)
    }

    fn from_double(value: f64) -> Self {
        value
    }
}
