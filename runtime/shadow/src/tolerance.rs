//! Differences of two tensors, element by element.
//!
//! The rule of closeness is `numpy.isclose(candidate, primary)` (NumPy reference, `isclose`).

use crate::element::{Element, ElementWork};
use crate::rule::NanPolicy;

/// When two numbers agree.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Closeness {
    /// When their bits do.
    Bits,
    /// When they are close.
    Within { absolute: f64, relative: f64, nan: NanPolicy },
}

/// Differences of two tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Differences {
    /// Elements that do not agree.
    pub(crate) differing: u64,
    /// Largest distance; NaN left out, infinity where only one side is infinite.
    pub(crate) most_absolute: f64,
    /// Largest distance over the primary's magnitude, where that is neither 0, infinite nor NaN.
    pub(crate) most_relative: f64,
}

/// Finds the differences between two tensors of the same length in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FindDifferences<'a> {
    pub(crate) primary: &'a [u8],
    pub(crate) candidate: &'a [u8],
    pub(crate) closeness: Closeness,
}

impl ElementWork for FindDifferences<'_> {
    type Result = Differences;

    fn run<E: Element>(self) -> Differences {
        let mut found = Differences::default();
        let size = size_of::<E>();
        for (primary, candidate) in self.primary.chunks_exact(size).zip(self.candidate.chunks_exact(size)) {
            // Most elements are the same; those cost a comparison of bytes, unless NaN is to differ.
            let same = primary == candidate;
            if same && !matches!(self.closeness, Closeness::Within { nan: NanPolicy::Differ, .. }) {
                continue;
            }
            let (primary, candidate) = (E::read(primary), E::read(candidate));
            let (base, value) = (primary.widen(), candidate.widen());
            let equal = primary.rank(candidate).is_eq() && !base.is_nan();
            let distance = if equal { 0.0 } else { primary.distance(candidate) };
            let agree = match self.closeness {
                Closeness::Bits => same,
                Closeness::Within { nan, .. } if base.is_nan() || value.is_nan() => {
                    base.is_nan() && value.is_nan() && nan == NanPolicy::Equal
                }
                Closeness::Within { absolute, relative, .. } => {
                    equal || (base.is_finite() && distance <= absolute + relative * base.abs())
                }
            };
            found.differing += u64::from(!agree);
            // NaN loses every comparison, so that it never becomes a maximum.
            if distance > found.most_absolute {
                found.most_absolute = distance;
            }
            let ratio = distance / base.abs();
            if base != 0.0 && base.is_finite() && ratio > found.most_relative {
                found.most_relative = ratio;
            }
        }
        found
    }
}
