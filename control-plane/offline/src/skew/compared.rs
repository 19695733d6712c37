//! One feature, served and joined, row by row: how many agree, how far the others are apart, and whether the two look alike.

use hanok_features::Value;

/// What became of one feature.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SkewedFeature {
    /// `VIEW:FEATURE`.
    pub feature: String,
    /// The input that it fills.
    pub input: String,
    /// Rows for which it was looked up.
    pub rows: u64,
    /// Rows that agree: the same value, or none on both sides.
    pub equal: u64,
    /// Rows with two values that differ.
    pub differ: u64,
    /// Rows that the join has a value for and that were served none, or a default.
    pub missing_online: u64,
    /// Rows that were served a value and for which the join has none.
    pub missing_offline: u64,
    /// Of the rows with two numbers, the mean of the absolute differences.
    pub mean_difference: Option<f64>,
    /// The largest of them.
    pub largest_difference: Option<f64>,
    /// Population stability index of the served numbers against the joined ones.
    pub stability_index: Option<f64>,
}

impl SkewedFeature {
    /// How many of the rows do not agree, from 0 to 1.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    pub fn mismatch_rate(&self) -> f64 {
        if self.rows == 0 { 0.0 } else { (self.rows - self.equal) as f64 / self.rows as f64 }
    }
}

/// Compares rows of a feature: what was served beside what was joined. Numbers agree when they differ by no more than
/// `tolerance` of the larger; NaN agrees with NaN.
pub(super) fn compare(pairs: impl Iterator<Item = (Option<Value>, Option<Value>)>, tolerance: f64) -> SkewedFeature {
    let mut found = SkewedFeature::default();
    let (mut served, mut joined) = (Vec::new(), Vec::new());
    let (mut sum, mut largest, mut numbers) = (0.0_f64, 0.0_f64, 0_u32);
    for (online, offline) in pairs {
        found.rows += 1;
        let (left, right) = (online.as_ref().and_then(number), offline.as_ref().and_then(number));
        served.extend(left);
        joined.extend(right);
        match (&online, &offline) {
            (None, None) => found.equal += 1,
            (None, Some(_)) => found.missing_online += 1,
            (Some(_), None) => found.missing_offline += 1,
            (Some(online), Some(offline)) => {
                let same = match (left, right) {
                    (Some(left), Some(right)) => {
                        let apart = if left == right { 0.0 } else { (left - right).abs() };
                        if apart.is_finite() {
                            sum += apart;
                            largest = largest.max(apart);
                            numbers += 1;
                        }
                        let near = || apart.is_finite() && apart <= tolerance * left.abs().max(right.abs());
                        (left.is_nan() && right.is_nan()) || apart == 0.0 || near()
                    }
                    _ => online.to_json() == offline.to_json(),
                };
                if same {
                    found.equal += 1;
                } else {
                    found.differ += 1;
                }
            }
        }
    }
    if numbers > 0 {
        found.mean_difference = Some(sum / f64::from(numbers));
        found.largest_difference = Some(largest);
    }
    found.stability_index = stability_index(&joined, &served);
    found
}

#[allow(
    clippy::cast_precision_loss,
    reason = "differences are told to a few digits; equality of integers is not lost below 2^53"
)]
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int32(value) => Some((*value).into()),
        Value::Int64(value) if value.unsigned_abs() < 1 << 53 => Some(*value as f64),
        Value::Float32(value) => Some((*value).into()),
        Value::Float64(value) => Some(*value),
        _ => None,
    }
}

/// The population stability index of numbers against those expected, over ten bins of equal numbers of the expected:
/// the sum of (share - expected share) * ln(share / expected share). By custom below 0.1 is alike, above 0.25 is not. An
/// empty bin counts as half a number. None where there are fewer than ten numbers on a side.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts of rows")]
pub fn stability_index(expected: &[f64], actual: &[f64]) -> Option<f64> {
    const BINS: usize = 10;
    let finite = |numbers: &[f64]| numbers.iter().copied().filter(|number| number.is_finite()).collect::<Vec<_>>();
    let (mut expected, actual) = (finite(expected), finite(actual));
    if expected.len() < BINS || actual.len() < BINS {
        return None;
    }
    expected.sort_by(f64::total_cmp);
    let mut edges: Vec<f64> = (1..BINS).map(|bin| expected[bin * expected.len() / BINS]).collect();
    edges.dedup();
    let shares = |numbers: &[f64]| {
        let mut counts = vec![0.0_f64; edges.len() + 1];
        for number in numbers {
            counts[edges.partition_point(|edge| edge <= number)] += 1.0;
        }
        counts.into_iter().map(|count| count.max(0.5) / numbers.len() as f64).collect::<Vec<_>>()
    };
    let index = shares(&expected).iter().zip(shares(&actual)).map(|(was, is)| (is - was) * (is / was).ln()).sum();
    Some(index)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use hanok_features::Value;

    use super::{compare, stability_index};

    #[test]
    fn rows_are_counted_by_what_became_of_them() {
        let number = |value: f64| Some(Value::Float64(value));
        let pairs = [
            (number(1.0), number(1.0)),
            (number(f64::NAN), number(f64::NAN)),
            (None, None),
            (number(1.0), number(3.0)),
            (None, number(1.0)),
            (number(1.0), None),
            (number(1000.0), number(1000.5)),
        ];
        let found = compare(pairs.into_iter(), 0.001);
        assert_eq!(
            (found.rows, found.equal, found.differ, found.missing_online, found.missing_offline),
            (7, 4, 1, 1, 1)
        );
        assert_eq!(found.largest_difference, Some(2.0));
        assert!((found.mean_difference.unwrap() - 2.5 / 3.0).abs() < 1e-12);
        assert!((found.mismatch_rate() - 3.0 / 7.0).abs() < 1e-12);
        let text = |text: &str| Some(Value::String(text.to_owned()));
        let found = compare([(text("a"), text("a")), (text("a"), text("b"))].into_iter(), 0.0);
        assert_eq!((found.equal, found.differ, found.mean_difference), (1, 1, None));
    }

    #[test]
    fn what_is_alike_has_a_small_index() {
        let numbers: Vec<f64> = (0..1000).map(f64::from).collect();
        assert_eq!(stability_index(&numbers, &numbers), Some(0.0));
        let moved: Vec<f64> = numbers.iter().map(|number| number + 300.0).collect();
        assert!(stability_index(&numbers, &moved).unwrap() > 0.25);
        // Half of the numbers twice: five bins at 0.2, five empty ones at 0.0005, against 0.1 each.
        let half: Vec<f64> = (0..1000).map(|number| f64::from(number % 500)).collect();
        let expected = 5.0 * (0.1 * 2.0_f64.ln() + (0.0005 - 0.1) * (0.005_f64).ln());
        assert!((stability_index(&numbers, &half).unwrap() - expected).abs() < 1e-9);
        assert_eq!(stability_index(&numbers, &[1.0]), None);
    }
}
