//! Our operators within tract against ONNX Runtime's answers (`tests/golden/make_tree_goldens.py`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "test data are small numbers")]

use std::path::Path;

use serde_json::Value;
use tract_onnx::prelude::{Framework as _, InferenceModelExt as _, IntoRunnable as _, TValue, Tensor};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/trees")
}

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect()
}

fn shape(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|dimension| dimension.as_u64().unwrap() as usize).collect()
}

fn input(case: &Value, rows: std::ops::Range<usize>) -> Tensor {
    let shape = shape(&case["shape"]);
    let values = &numbers(&case["x"])[rows.start * shape[1]..rows.end * shape[1]];
    let dimensions = [rows.len(), shape[1]];
    match case["type"].as_str().unwrap() {
        "float" => Tensor::from_shape(&dimensions, &values.iter().map(|&value| value as f32).collect::<Vec<_>>()),
        "double" => Tensor::from_shape(&dimensions, values),
        "int64" => Tensor::from_shape(&dimensions, &values.iter().map(|&value| value as i64).collect::<Vec<_>>()),
        "int32" => Tensor::from_shape(&dimensions, &values.iter().map(|&value| value as i32).collect::<Vec<_>>()),
        other => panic!("unknown type {other}"),
    }
    .unwrap()
}

fn compare(name: &str, actual: &TValue, expected: &Value, rows: std::ops::Range<usize>) {
    let shape = shape(&expected["shape"]);
    let width: usize = shape[1..].iter().product();
    let expected = &expected["data"].as_array().unwrap()[rows.start * width..rows.end * width];
    assert_eq!(actual.shape()[0], rows.len(), "{name}");
    if actual.datum_type() == String::datum_type_of() {
        let view = actual.try_as_plain_ram().unwrap();
        let actual: Vec<&str> = view.as_slice::<String>().unwrap().iter().map(String::as_str).collect();
        let expected: Vec<&str> = expected.iter().map(|text| text.as_str().unwrap()).collect();
        assert_eq!(actual, expected, "{name}");
        return;
    }
    let actual = actual.cast_to::<f64>().unwrap();
    let view = actual.try_as_plain_ram().unwrap();
    for (index, (&actual, expected)) in view.as_slice::<f64>().unwrap().iter().zip(expected).enumerate() {
        let expected = expected.as_f64().unwrap_or(f64::NAN);
        let close = (actual - expected).abs() <= 1e-6 + 1e-6 * expected.abs();
        assert!(close || (actual.is_nan() && expected.is_nan()), "{name} at {index}: {actual}, expected {expected}");
    }
}

trait DatumTypeOf {
    fn datum_type_of() -> tract_onnx::prelude::DatumType;
}

impl DatumTypeOf for String {
    fn datum_type_of() -> tract_onnx::prelude::DatumType {
        <Self as tract_onnx::prelude::Datum>::datum_type()
    }
}

#[test]
fn trees_answer_as_onnx_runtime_does() {
    let cases: Value = serde_json::from_slice(&std::fs::read(folder().join("trees.json")).unwrap()).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 50);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let model = super::front_end().model_for_path(folder().join(format!("{name}.onnx"))).unwrap();
        let plan = model.into_optimized().unwrap().into_runnable().unwrap();
        let count = shape(&case["shape"])[0];
        // All rows together, in step and in single rows, must answer alike.
        for step in [count, 1, 5] {
            for start in (0..count).step_by(step) {
                let rows = start..count.min(start + step);
                let outputs = plan.run(smallvec::smallvec![input(case, rows.clone()).into()]).unwrap();
                for (actual, expected) in outputs.iter().zip(case["outputs"].as_array().unwrap()) {
                    compare(name, actual, expected, rows.clone());
                }
            }
        }
    }
}
