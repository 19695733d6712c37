//! Comparison of outputs against golden values of NumPy 2.4.6 (and `ml_dtypes` 0.6.0 for bfloat16), and its properties.
//!
//! The golden values come from this script:
//!
//! ```python
//! import numpy as np, ml_dtypes
//! nan, inf = np.nan, np.inf
//! a = np.array([0, -0.0, 1, 100, 1e-9, -3.5, nan, nan, inf, -inf, inf, 2, 0, 65504])                    # primary
//! b = np.array([0, 0, 1.00001, 100.002, 2e-9, -3.5, nan, 1, inf, -inf, 1, inf, 1e-7, 65500])            # candidate
//! for keep in (range(14), [i for i in range(14) if i not in (10, 11)]):
//!     for dtype in (np.float64, np.float32, np.float16, ml_dtypes.bfloat16):
//!         p, c = (x[list(keep)].astype(dtype).astype(np.float64) for x in (a, b))
//!         differing = [(~np.isclose(c, p, rtol=r, atol=t, equal_nan=e)).sum()
//!                      for r, t, e in ((1e-5, 1e-8, True), (1e-5, 1e-8, False), (1e-2, 1e-3, True), (0, 0, True))]
//!         d = np.where(c == p, 0, np.abs(c - p)); ok = np.isfinite(p) & (p != 0)
//!         print(dtype, differing, np.nanmax(d), np.nanmax(d[ok] / np.abs(p[ok])))
//! rng = np.random.default_rng(20261122)
//! x = rng.integers(-40, 40, (6, 8)); y = x + rng.integers(-25, 26, (6, 8))
//! print(x.tolist(), y.tolist(), np.argmax(x, 1), np.argmax(y, 1))
//! for k in (1, 2, 3, 5, 8):
//!     top = lambda u: set(np.argsort(-u, kind="stable")[:k])
//!     print(k, [len(top(u) & top(v)) for u, v in zip(x, y)])
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use half::{bf16, f16};
use hanok_shadow::{
    Comparison, ComparisonRules, NanPolicy, Output, OutputRule, Side, TensorComparison, Verdict, compare,
};
use hanok_tensor::{DataType, Shape, push_bytes_element};
use proptest::prelude::*;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;
const PRIMARY: [f64; 14] = [0.0, -0.0, 1.0, 100.0, 1e-9, -3.5, NAN, NAN, INF, -INF, INF, 2.0, 0.0, 65_504.0];
const CANDIDATE: [f64; 14] = [0.0, 0.0, 1.000_01, 100.002, 2e-9, -3.5, NAN, 1.0, INF, -INF, 1.0, INF, 1e-7, 65_500.0];

fn only(rule: OutputRule) -> ComparisonRules {
    ComparisonRules { outputs: BTreeMap::new(), otherwise: rule }
}

fn tensor<'a>(name: &'a str, data_type: DataType, shape: &'a Shape, data: &'a [u8]) -> Output<'a> {
    Output { name, data_type, shape, data }
}

fn compared(
    rule: OutputRule,
    data_type: DataType,
    shape: &[i64],
    primary: &[u8],
    candidate: &[u8],
) -> TensorComparison {
    let shape = Shape::new(shape);
    let output = |data| tensor("y", data_type, &shape, data);
    let comparison = compare(&only(rule), &[output(primary)], &[output(candidate)]);
    assert_eq!(comparison.tensors.len(), 1);
    comparison.tensors.into_iter().next().unwrap()
}

#[allow(clippy::cast_possible_truncation, reason = "rounding to a smaller type is what is wanted")]
fn encode(data_type: DataType, values: &[f64]) -> Vec<u8> {
    let one = |&value: &f64| match data_type {
        DataType::Fp64 => value.to_le_bytes().to_vec(),
        DataType::Fp32 => (value as f32).to_le_bytes().to_vec(),
        DataType::Fp16 => f16::from_f64(value).to_le_bytes().to_vec(),
        DataType::Bf16 => bf16::from_f64(value).to_le_bytes().to_vec(),
        other => panic!("`{other}` is not a floating-point type"),
    };
    values.iter().flat_map(one).collect()
}

const fn within(relative: f64, absolute: f64, nan: NanPolicy) -> OutputRule {
    OutputRule::Tolerance { absolute, relative, nan }
}

const TOLERANCES: [OutputRule; 4] = [
    within(1e-5, 1e-8, NanPolicy::Equal),
    within(1e-5, 1e-8, NanPolicy::Differ),
    within(1e-2, 1e-3, NanPolicy::Equal),
    within(0.0, 0.0, NanPolicy::Equal),
];

#[test]
fn tolerance_is_numpy_s() {
    // Data type, elements that differ per tolerance, and the largest differences without the two one-sided infinities.
    let golden = [
        (DataType::Fp64, [6, 7, 3, 8], (4.0, 1.0)),
        (DataType::Fp32, [7, 8, 3, 8], (4.0, 1.0)),
        (DataType::Fp16, [4, 5, 3, 4], (1.192_092_895_507_812_5e-7, 0.0)),
        (DataType::Bf16, [4, 5, 3, 5], (1.001_171_767_711_639_4e-7, 1.0)),
    ];
    let finite = |values: [f64; 14]| [&values[..10], &values[12..]].concat();
    for (data_type, differing, (absolute, relative)) in golden {
        for (rule, differing) in TOLERANCES.into_iter().zip(differing) {
            let sides = [PRIMARY, CANDIDATE].map(|values| encode(data_type, &values));
            let found = compared(rule.clone(), data_type, &[14], &sides[0], &sides[1]);
            assert_eq!((found.compared, found.differing), (14, differing), "{data_type} {rule:?}");
            assert_eq!((found.verdict, found.most_absolute), (Verdict::Differs, Some(INF)));
            let sides = [finite(PRIMARY), finite(CANDIDATE)].map(|values| encode(data_type, &values));
            let found = compared(rule.clone(), data_type, &[12], &sides[0], &sides[1]);
            assert_eq!(found.differing, differing - 2, "{data_type} {rule:?}");
            assert_eq!((found.most_absolute, found.most_relative), (Some(absolute), Some(relative)), "{data_type}");
        }
    }
}

#[test]
fn integers_are_subtracted_exactly() {
    let encode = |values: &[i64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let large = (1_i64 << 53) + 1;
    let primary = encode(&[0, 5, -7, 100_000, large, i64::MIN]);
    let candidate = encode(&[0, 6, -7, 100_001, large - 1, i64::MAX]);
    let found = |rule| compared(rule, DataType::Int64, &[2, 3], &primary, &candidate);
    // NumPy's `isclose` gives the same for the first five at 1e-5 and 0: [1, 0, 1, 1, 1].
    assert_eq!(found(within(1e-5, 0.0, NanPolicy::Equal)).differing, 2);
    assert_eq!(found(within(0.0, 1.0, NanPolicy::Equal)).differing, 1);
    // NumPy rounds to FP64 first and would not see the difference of the fifth.
    assert_eq!(found(within(0.0, 0.5, NanPolicy::Equal)).differing, 4);
    let exact = found(OutputRule::Exact);
    assert_eq!((exact.differing, exact.most_absolute), (4, Some(u64::MAX as f64)));
}

#[test]
fn every_fixed_size_type_is_read_as_itself() {
    let cases: [(DataType, Vec<u8>, Vec<u8>, f64); 12] = [
        (DataType::Bool, vec![0], vec![1], 1.0),
        (DataType::Uint8, vec![0], vec![255], 255.0),
        (DataType::Uint16, 1_u16.to_le_bytes().into(), u16::MAX.to_le_bytes().into(), 65_534.0),
        (DataType::Uint32, 0_u32.to_le_bytes().into(), u32::MAX.to_le_bytes().into(), 4_294_967_295.0),
        (DataType::Uint64, 0_u64.to_le_bytes().into(), (1_u64 << 63).to_le_bytes().into(), 9_223_372_036_854_775_808.0),
        (DataType::Int8, (-128_i8).to_le_bytes().into(), 127_i8.to_le_bytes().into(), 255.0),
        (DataType::Int16, (-3_i16).to_le_bytes().into(), 4_i16.to_le_bytes().into(), 7.0),
        (DataType::Int32, i32::MIN.to_le_bytes().into(), i32::MAX.to_le_bytes().into(), 4_294_967_295.0),
        (DataType::Int64, (-3_i64).to_le_bytes().into(), 4_i64.to_le_bytes().into(), 7.0),
        (DataType::Fp16, encode(DataType::Fp16, &[1.5]), encode(DataType::Fp16, &[-2.0]), 3.5),
        (DataType::Bf16, encode(DataType::Bf16, &[1.5]), encode(DataType::Bf16, &[-2.0]), 3.5),
        (DataType::Fp32, encode(DataType::Fp32, &[1.5]), encode(DataType::Fp32, &[-2.0]), 3.5),
    ];
    for (data_type, primary, candidate, distance) in cases {
        for rule in [OutputRule::Exact, OutputRule::default()] {
            let found = compared(rule, data_type, &[1], &primary, &candidate);
            assert_eq!((found.differing, found.most_absolute), (1, Some(distance)), "{data_type}");
        }
        let found = compared(OutputRule::Label, data_type, &[1], &primary, &candidate);
        assert_eq!((found.verdict, found.most_absolute), (Verdict::Differs, None));
    }
}

#[test]
fn exact_means_bits() {
    let with = |values: &[f64]| encode(DataType::Fp32, values);
    let found = |a: &[f64], b: &[f64]| compared(OutputRule::Exact, DataType::Fp32, &[2], &with(a), &with(b)).differing;
    assert_eq!(found(&[0.0, NAN], &[-0.0, NAN]), 1);
    assert_eq!(found(&[0.0, NAN], &[0.0, -NAN]), 1);
    assert_eq!(found(&[1.0, INF], &[1.0, INF]), 0);
}

const ROWS: [[i32; 8]; 6] = [
    [-23, -40, -4, 9, 26, 38, 7, 3],
    [-30, -33, 8, 8, 16, 19, 2, 2],
    [-1, -22, 33, 28, 16, -22, 0, 16],
    [-21, 34, 2, -26, 33, -38, 27, -33],
    [0, 21, 30, 35, -17, -15, -14, -37],
    [12, -5, -37, -37, -11, 12, -38, 10],
];
const MOVED: [[i32; 8]; 6] = [
    [-43, -45, -26, 1, 19, 42, -5, 23],
    [-43, -47, 15, -10, 31, -2, -13, 13],
    [-15, -1, 30, 30, 4, -45, -20, 19],
    [-7, 45, -22, -27, 21, -62, 12, -9],
    [-21, 26, 45, 25, -12, -3, -13, -13],
    [29, -1, -61, -55, -11, -5, -25, 0],
];

#[test]
fn rankings_are_numpy_s() {
    let integers = |rows: &[[i32; 8]; 6]| rows.as_flattened().iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    let floats = |rows: &[[i32; 8]; 6]| {
        let values: Vec<f64> = rows.as_flattened().iter().map(|&value| f64::from(value)).collect();
        [DataType::Fp16, DataType::Bf16, DataType::Fp32, DataType::Fp64].map(|data_type| encode(data_type, &values))
    };
    let (ours, theirs) = (floats(&ROWS), floats(&MOVED));
    let mut encodings = vec![(DataType::Int32, integers(&ROWS), integers(&MOVED))];
    for (index, data_type) in [DataType::Fp16, DataType::Bf16, DataType::Fp32, DataType::Fp64].into_iter().enumerate() {
        encodings.push((data_type, ours[index].clone(), theirs[index].clone()));
    }
    for (data_type, ours, theirs) in &encodings {
        let found = |rule, shape: &[i64]| compared(rule, *data_type, shape, ours, theirs);
        let argmax = found(OutputRule::Argmax, &[6, 8]);
        assert_eq!((argmax.compared, argmax.differing, argmax.least_overlap), (6, 2, None));
        assert_eq!(found(OutputRule::Argmax, &[2, 3, 8]).compared, 6);
        let golden = [
            (1, [1, 0, 1, 1, 0, 1]),
            (2, [1, 1, 2, 2, 1, 1]),
            (3, [2, 2, 2, 3, 3, 2]),
            (5, [5, 4, 4, 4, 3, 5]),
            (8, [8; 6]),
        ];
        for (k, overlaps) in golden {
            for overlap in 1..=k {
                let found = found(OutputRule::TopK { k, overlap }, &[6, 8]);
                let differing = overlaps.iter().filter(|&&common| common < overlap).count() as u64;
                assert_eq!((found.compared, found.differing), (6, differing), "k {k}, overlap {overlap}");
                assert_eq!(found.least_overlap, overlaps.iter().min().copied());
            }
        }
        let longer = found(OutputRule::TopK { k: 20, overlap: 20 }, &[6, 8]);
        assert_eq!((longer.verdict, longer.least_overlap), (Verdict::Agrees, Some(8)));
    }
    // `np.argmax([1, nan, 5, nan])` is 1, `np.argmax([3, 3, 1])` is 0.
    let argmax = |ours: &[f64], theirs: &[f64]| {
        let shape = [i64::try_from(ours.len()).unwrap()];
        let (ours, theirs) = (encode(DataType::Fp32, ours), encode(DataType::Fp32, theirs));
        compared(OutputRule::Argmax, DataType::Fp32, &shape, &ours, &theirs).verdict
    };
    assert_eq!(argmax(&[1.0, NAN, 5.0, NAN], &[0.0, 9.0, 5.0, 3.0]), Verdict::Agrees);
    assert_eq!(argmax(&[3.0, 3.0, 1.0], &[3.0, 2.0, 1.0]), Verdict::Agrees);
    assert_eq!(argmax(&[3.0, 3.0, 1.0], &[2.0, 3.0, 1.0]), Verdict::Differs);
}

fn texts(elements: &[&[u8]]) -> Vec<u8> {
    let mut data = Vec::new();
    elements.iter().for_each(|element| push_bytes_element(&mut data, element));
    data
}

#[test]
fn texts_are_compared_one_by_one() {
    let primary = texts(&[b"cat", b"", b"dog"]);
    let candidate = texts(&[b"cat", b"dog", b""]);
    for rule in [OutputRule::Exact, OutputRule::Label, OutputRule::default()] {
        let found = compared(rule.clone(), DataType::Bytes, &[3], &primary, &candidate);
        assert_eq!((found.verdict, found.compared, found.differing), (Verdict::Differs, 3, 2), "{rule:?}");
        assert_eq!(found.most_absolute, None);
        assert_eq!(compared(rule, DataType::Bytes, &[3], &primary, &primary).verdict, Verdict::Agrees);
    }
    for rule in [OutputRule::Argmax, OutputRule::TopK { k: 2, overlap: 1 }] {
        let verdict = compared(rule, DataType::Bytes, &[3], &primary, &candidate).verdict;
        assert_eq!((verdict, verdict.is_disagreement()), (Verdict::NotApplicable, false));
    }
}

#[test]
fn what_cannot_be_compared_is_a_verdict() {
    let (two, three) = (Shape::new(&[2]), Shape::new(&[3]));
    let (short, long) = (encode(DataType::Fp32, &[1.0, 2.0]), encode(DataType::Fp32, &[1.0, 2.0, 3.0]));
    let good = tensor("y", DataType::Fp32, &two, &short);
    let verdict = |ours, theirs| compare(&ComparisonRules::default(), &[ours], &[theirs]).tensors[0].verdict;
    assert_eq!(verdict(good, good), Verdict::Agrees);
    assert_eq!(verdict(good, Output { data_type: DataType::Int32, ..good }), Verdict::DataTypeDiffers);
    assert_eq!(verdict(good, Output { shape: &three, data: &long, ..good }), Verdict::ShapeDiffers);
    assert_eq!(verdict(good, Output { data: &long, ..good }), Verdict::Malformed(Side::Candidate));
    assert_eq!(verdict(Output { data: &long, ..good }, good), Verdict::Malformed(Side::Primary));
    let cut = Output { data_type: DataType::Bytes, data: &[9, 0, 0, 0, 1], ..good };
    assert_eq!(verdict(cut, cut), Verdict::Malformed(Side::Primary));

    let rules = ComparisonRules {
        outputs: BTreeMap::from([("at".to_owned(), OutputRule::Ignore)]),
        otherwise: OutputRule::Exact,
    };
    let named = |name| Output { name, ..good };
    let comparison = compare(&rules, &[named("at"), named("y"), named("z")], &[named("w"), named("z"), named("at")]);
    let verdicts: Vec<_> = comparison.tensors.iter().map(|tensor| (&*tensor.name, tensor.verdict)).collect();
    let expected = [
        ("at", Verdict::Ignored),
        ("y", Verdict::MissingIn(Side::Candidate)),
        ("z", Verdict::Agrees),
        ("w", Verdict::MissingIn(Side::Primary)),
    ];
    assert_eq!((verdicts.as_slice(), comparison.agrees()), (&expected[..], false));
    assert!(Comparison::default().agrees());
}

#[test]
fn empty_tensors_and_scalars_agree_with_themselves() {
    let value = encode(DataType::Fp32, &[4.0]);
    for rule in [OutputRule::Exact, OutputRule::default(), OutputRule::Argmax, OutputRule::TopK { k: 3, overlap: 2 }] {
        for shape in [&[0_i64][..], &[4, 0], &[0, 4]] {
            assert_eq!(compared(rule.clone(), DataType::Fp32, shape, &[], &[]).verdict, Verdict::Agrees, "{rule:?}");
        }
        assert_eq!(compared(rule.clone(), DataType::Fp32, &[], &value, &value).verdict, Verdict::Agrees);
    }
}

#[test]
fn rules_are_declared_and_checked() {
    let text = r#"{
        "outputs": {
            "probabilities": {"tolerance": {"absolute": 0.001, "relative": 0}},
            "classes": {"top_k": {"k": 5, "overlap": 4}},
            "label": "label",
            "at": "ignore"
        },
        "otherwise": "exact"
    }"#;
    let rules: ComparisonRules = serde_json::from_str(text).unwrap();
    assert_eq!(rules.faults(), vec![]);
    assert_eq!(*rules.rule("classes"), OutputRule::TopK { k: 5, overlap: 4 });
    assert_eq!(*rules.rule("else"), OutputRule::Exact);
    assert_eq!(serde_json::from_value::<ComparisonRules>(serde_json::to_value(&rules).unwrap()).unwrap(), rules);
    assert!(serde_json::from_str::<ComparisonRules>(r#"{"otherwise": {"tolerance": {"abs": 1}}}"#).is_err());
    let wrong = ComparisonRules {
        outputs: BTreeMap::from([("y".to_owned(), OutputRule::TopK { k: 2, overlap: 3 })]),
        otherwise: within(-1.0, NAN, NanPolicy::Equal),
    };
    let paths: Vec<_> = wrong.faults().into_iter().map(|fault| fault.path).collect();
    assert_eq!(paths, ["outputs.y.top_k", "otherwise.tolerance.absolute", "otherwise.tolerance.relative"]);
}

/// A slow second opinion on overlap: sort everything.
fn top(row: &[i16], k: usize) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..row.len()).collect();
    positions.sort_by_key(|&position| (std::cmp::Reverse(row[position]), position));
    positions.truncate(k);
    positions
}

proptest! {
    /// Rankings agree with sorting the whole row.
    #[test]
    fn top_k_agrees_with_sorting(
        rows in prop::collection::vec((prop::collection::vec(-9_i16..9, 7), prop::collection::vec(-9_i16..9, 7)), 1..5),
        k in 1_u32..10,
        share in 0_u32..10,
    ) {
        let overlap = 1 + share % k;
        let encode = |row: &[i16]| row.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
        let ours: Vec<u8> = rows.iter().flat_map(|(row, _)| encode(row)).collect();
        let theirs: Vec<u8> = rows.iter().flat_map(|(_, row)| encode(row)).collect();
        let shape = [i64::try_from(rows.len()).unwrap(), 7];
        let found = compared(OutputRule::TopK { k, overlap }, DataType::Int16, &shape, &ours, &theirs);
        let k = usize::try_from(k).unwrap().min(7);
        let overlaps: Vec<usize> = rows.iter()
            .map(|(ours, theirs)| { let theirs = top(theirs, k); top(ours, k).iter().filter(|p| theirs.contains(p)).count() })
            .collect();
        let needed = usize::try_from(overlap).unwrap().min(k);
        prop_assert_eq!(found.differing, overlaps.iter().filter(|&&common| common < needed).count() as u64);
        prop_assert_eq!(found.least_overlap, overlaps.iter().min().map(|&least| u32::try_from(least).unwrap()));
    }

    /// A looser tolerance never finds more, and what differs at a tolerance exceeds it.
    #[test]
    fn tolerance_is_monotone(
        pairs in prop::collection::vec((any::<f32>(), any::<f32>(), any::<bool>()), 1..40),
        absolute in 0.0..1e3_f64, relative in 0.0..2.0_f64, more in 0.0..1e3_f64,
    ) {
        let bytes = |values: Vec<f32>| values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<_>>();
        let ours = bytes(pairs.iter().map(|pair| pair.0).collect());
        let theirs = bytes(pairs.iter().map(|&(a, b, near)| if near { a * 1.000_1 } else { b }).collect());
        let shape = [i64::try_from(pairs.len()).unwrap()];
        let found = |absolute, relative, nan| {
            compared(within(relative, absolute, nan), DataType::Fp32, &shape, &ours, &theirs)
        };
        let tight = found(absolute, relative, NanPolicy::Equal);
        prop_assert!(found(absolute + more, relative, NanPolicy::Equal).differing <= tight.differing);
        prop_assert!(found(absolute, relative + more, NanPolicy::Equal).differing <= tight.differing);
        prop_assert!(tight.differing <= found(absolute, relative, NanPolicy::Differ).differing);
        let one_sided = pairs.iter().any(|pair| pair.0.is_nan() || pair.1.is_nan());
        prop_assert!(tight.differing == 0 || one_sided || tight.most_absolute.unwrap() > absolute);
        let same = compared(within(0.0, 0.0, NanPolicy::Equal), DataType::Fp32, &shape, &ours, &ours);
        prop_assert_eq!((same.differing, same.most_absolute), (0, Some(0.0)));
    }
}
