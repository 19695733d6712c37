//! Confidence sequences against an independent implementation (numpy and scipy).

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use hanok_rollout::BasisPoints;
use hanok_rollout::statistics::{DifferenceSequence, RiskRatioSequence};

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "expected {expected}, found {found}");
}

#[test]
fn difference_of_means() {
    let mut sequence = DifferenceSequence::new(1000, 0.05);
    for index in 0..1000_u64 {
        let (treated, probability) =
            if index < 500 { (index * 7919 % 10 < 3, 0.3) } else { (index * 7919 % 10 < 5, 0.5) };
        let value = (index * 104_729 % 1009) as f64 / 100.0 + if treated { 0.8 } else { 0.0 };
        sequence.record(treated, probability, value);
    }
    let interval = sequence.interval().unwrap();
    close(sequence.difference().unwrap(), 0.949_293_093_136_015_5);
    close(interval.low, 0.343_690_566_169_457_53);
    close(interval.high, 1.554_895_620_102_571_7);
    close(sequence.p_value(), 8.442_755_641_990_457e-5);
}

#[test]
fn ratio_of_rates() {
    // 30 of 80 events at a conditional share of 0.2 and 25 of 40 at 0.5.
    let points = |value| BasisPoints::new(value).unwrap();
    let mut sequence = RiskRatioSequence::default();
    (0..80).for_each(|event| sequence.record(event < 30, points(1000), points(4000)));
    (0..40).for_each(|event| sequence.record(event < 25, points(5000), points(5000)));
    let interval = sequence.interval(0.05);
    close(sequence.log_e(), GOLDEN_RATIO[0]);
    close(interval.low, GOLDEN_RATIO[1]);
    close(interval.high.unwrap(), GOLDEN_RATIO[2]);
    assert!(sequence.p_value() <= (-GOLDEN_RATIO[0]).exp());
    let nothing = RiskRatioSequence::default().interval(0.05);
    assert!(nothing.low == 0.0 && nothing.high.is_none());
}

const GOLDEN_RATIO: [f64; 3] = [4.863_015_411_916_512, 1.110_672_151_361_917_5, 4.029_818_654_203_331];
