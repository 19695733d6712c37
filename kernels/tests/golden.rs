//! The CPU references against NumPy and SciPy: values written by `scripts/golden.py` and checked in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "test data is small")]

use std::fs;
use std::path::Path;

use hanok_kernels::{
    Cast, ElementType, Histogram, ImageLayout, ImageNormalise, ImageSource, LayerNorm, MaskType, MeanPooling, Moments,
    Softmax, Suppression, TopK,
};
use serde_json::Value;

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A list of numbers; NaN and infinities are written as strings.
fn numbers(value: &Value) -> Vec<f64> {
    let number = |entry: &Value| {
        entry.as_f64().unwrap_or_else(|| match entry.as_str().unwrap() {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            other => panic!("`{other}` is no number"),
        })
    };
    value.as_array().unwrap().iter().map(number).collect()
}

fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|number| number as f32).collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn integers(value: &Value) -> Vec<i32> {
    value.as_array().unwrap().iter().map(|entry| i32::try_from(entry.as_i64().unwrap()).unwrap()).collect()
}

fn size(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

fn assert_close(actual: &[u8], expected: &[f64], relative: f64, absolute: f64) {
    assert_eq!(actual.len(), expected.len() * 4);
    for (index, wanted) in expected.iter().enumerate() {
        let found = f64::from(ElementType::F32.read(actual, index));
        assert!(
            (found - wanted).abs() <= absolute + relative * wanted.abs(),
            "{index}: expected {wanted}, got {found}"
        );
    }
}

#[test]
fn softmax_is_scipys() {
    let file = golden("softmax");
    let operation =
        Softmax { element: ElementType::F32, rows: size(&file["rows"]).into(), columns: size(&file["columns"]) };
    let input = bytes(&floats(&file["input"]));
    let mut output = vec![0; input.len()];
    operation.reference(&input, &mut output);
    assert_close(&output, &numbers(&file["output"]), 1e-7, 0.0);
}

#[test]
fn layer_norm_is_scipys() {
    let file = golden("layer_norm");
    let operation = LayerNorm {
        element: ElementType::F32,
        rows: size(&file["rows"]).into(),
        columns: size(&file["columns"]),
        epsilon: 1e-5,
    };
    let input = bytes(&floats(&file["input"]));
    let mut output = vec![0; input.len()];
    operation.reference(&input, &mut output, &bytes(&floats(&file["gamma"])), &bytes(&floats(&file["beta"])));
    assert_close(&output, &numbers(&file["output"]), 1e-6, 1e-7);
}

#[test]
fn top_k_is_numpys() {
    let file = golden("top_k");
    let operation = TopK {
        element: ElementType::F32,
        rows: size(&file["rows"]).into(),
        columns: size(&file["columns"]),
        k: size(&file["k"]),
    };
    let expected = integers(&file["indices"]);
    let (mut values, mut indices) = (vec![0.0; expected.len()], vec![0; expected.len()]);
    operation.reference(&bytes(&floats(&file["input"])), &mut values, &mut indices);
    assert_eq!(indices, expected);
    assert_eq!(values, floats(&file["values"]));
}

#[test]
fn mean_pooling_is_numpys() {
    let file = golden("mean_pooling");
    let (batch, sequence, width) = (size(&file["batch"]), size(&file["sequence"]), size(&file["width"]));
    let operation =
        MeanPooling { element: ElementType::F32, batch: batch.into(), sequence, width, mask: MaskType::I32 };
    let mask: Vec<u8> = integers(&file["mask"]).iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut output = vec![0; (batch * width * 4) as usize];
    operation.reference(&bytes(&floats(&file["input"])), &mask, &mut output);
    assert_close(&output, &numbers(&file["output"]), 1e-6, 0.0);
}

#[test]
fn casts_are_numpys() {
    let file = golden("cast");
    let bits =
        |value: &Value| -> Vec<u64> { value.as_array().unwrap().iter().map(|bits| bits.as_u64().unwrap()).collect() };
    let input: Vec<u8> = bits(&file["input_bits"]).iter().flat_map(|&bits| (bits as u32).to_le_bytes()).collect();
    let elements = input.len() / 4;
    let cast = |to: ElementType| {
        let mut output = vec![0; elements * to.size_bytes() as usize];
        Cast { from: ElementType::F32, to, elements: elements as u64 }.reference(&input, &mut output);
        output
    };
    let halves =
        |name: &str| -> Vec<u8> { bits(&file[name]).iter().flat_map(|&bits| (bits as u16).to_le_bytes()).collect() };
    assert_eq!(cast(ElementType::F16), halves("f16_bits"));
    assert_eq!(cast(ElementType::BF16), halves("bf16_bits"));
    let small = |name: &str| -> Vec<u8> { integers(&file[name]).iter().map(|&value| value as u8).collect() };
    assert_eq!(cast(ElementType::U8), small("u8"));
    assert_eq!(cast(ElementType::I8), small("i8"));
}

#[test]
fn images_are_numpys() {
    let file = golden("image");
    let vector = |value: &Value| {
        let values = floats(value);
        [values[0], values[1], values[2], 0.0]
    };
    for case in file["cases"].as_array().unwrap() {
        let (height, width) = (size(&case["height"]), size(&case["width"]));
        let operation = ImageNormalise {
            height: size(&case["target_height"]),
            width: size(&case["target_width"]),
            channels: 3,
            layout: ImageLayout::Interleaved,
            output: ElementType::F32,
            scale: vector(&file["scale"]),
            bias: vector(&file["bias"]),
        };
        let pixels: Vec<u8> = integers(&case["input"]).iter().map(|&value| value as u8).collect();
        let expected = numbers(&case["output"]);
        let mut output = vec![0; expected.len() * 4];
        let image = ImageSource { address: 0, height, width, row_bytes: width * 3 };
        operation.reference(&[image], &[&pixels], &mut output);
        // Positions are found in f32, values span about 5.
        assert_close(&output, &expected, 1e-5, 2e-5);
    }
}

#[test]
fn suppression_is_the_greedy_rule() {
    for case in golden("suppression")["cases"].as_array().unwrap() {
        let boxes: Vec<[f32; 4]> =
            floats(&case["boxes"]).chunks_exact(4).map(|corners| corners.try_into().unwrap()).collect();
        let scores = floats(&case["scores"]);
        let expected = integers(&case["kept"]);
        let count = scores.len() as u32;
        let operation = Suppression {
            images: 1,
            boxes: count,
            limit: count,
            overlap_threshold: case["threshold"].as_f64().unwrap() as f32,
            score_threshold: 0.0,
        };
        let (mut kept, mut kept_count) = (vec![0; scores.len()], vec![0]);
        operation.reference(&boxes, &scores, &integers(&case["classes"]), &mut kept, &mut kept_count);
        assert_eq!(kept_count[0] as usize, expected.len());
        assert_eq!(kept[..expected.len()], expected);
        assert!(kept[expected.len()..].iter().all(|&index| index == -1));
    }
}

#[test]
fn histograms_are_numpys() {
    let file = golden("histogram");
    let operation = Histogram {
        rows: size(&file["rows"]).into(),
        columns: size(&file["columns"]),
        edges: size(&file["edges_per_column"]),
    };
    let expected: Vec<u64> = file["counts"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect();
    let mut counts = vec![0; expected.len()];
    operation.reference(&floats(&file["input"]), &floats(&file["edges"]), &mut counts);
    assert_eq!(counts, expected);
}

#[test]
fn moments_are_scipys() {
    let file = golden("moments");
    let columns = size(&file["columns"]);
    let operation = Moments { rows: size(&file["rows"]).into(), columns };
    let mut state = Moments::empty_state(columns as usize);
    operation.reference(&floats(&file["input"]), &floats(&file["centres"]), &floats(&file["scales"]), &mut state);
    for (index, (found, wanted)) in state.iter().zip(numbers(&file["state"])).enumerate() {
        assert!((found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "{index}: expected {wanted}, got {found}");
    }
}
