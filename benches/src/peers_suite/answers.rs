//! What a server answers to one fixed request per model, so that only servers that compute the same are compared.
//!
//! Asked through `hanok infer`. Outputs are compared by name and values; a shape `[1]` beside `[1, 1]` is no difference.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::{Options, Problem};

/// Values by model and output.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answers(BTreeMap<String, Vec<f64>>);

/// How far apart two computations of the same model may be.
const TOLERANCE: f64 = 1e-4;

/// Input and features of the models of this suite.
fn input(model: &str) -> (&'static str, u32) {
    if model == "tabular" { ("X", 30) } else { ("INPUT0", 16) }
}

impl Answers {
    /// Asks the server at `address`.
    pub(super) fn ask(options: &Options, address: &str, models: &[&str]) -> Result<Self, Problem> {
        let mut values = BTreeMap::new();
        for &model in models {
            let (name, width) = input(model);
            let row: Vec<f64> = (0..width).map(|index| f64::from(index) / 4.0).collect();
            let argument = format!("{name}={}", json!([row]));
            let program = options.generator.as_ref().unwrap_or(&options.hanok);
            let output = Command::new(program)
                .args(["infer", model, "--server", address, "--json", "--input", &argument])
                .output()
                .map_err(|error| format!("cannot ask `{model}` at {address}: {error}"))?;
            if !output.status.success() {
                return Err(format!("`{model}`: {}", String::from_utf8_lossy(&output.stderr).trim()));
            }
            let answer: Value = serde_json::from_slice(&output.stdout)
                .map_err(|error| format!("the answer of `{model}` cannot be read: {error}"))?;
            for output in answer["outputs"].as_array().into_iter().flatten() {
                let name = output["name"].as_str().unwrap_or_default();
                values.insert(format!("{model}.{name}"), numbers(&output["data"]));
            }
        }
        Ok(Self(values))
    }

    /// Whether `other` is the same up to rounding.
    pub(super) fn compare(&self, other: &Self) -> Result<(), Problem> {
        let close = |(left, right): (&f64, &f64)| (left - right).abs() <= TOLERANCE * left.abs().max(1.0);
        for (name, expected) in &self.0 {
            let actual = other.0.get(name).map(Vec::as_slice).unwrap_or_default();
            if actual.len() != expected.len() || !expected.iter().zip(actual).all(close) {
                return Err(format!("`{name}` differs from ours: expected {expected:?}, actual {actual:?}"));
            }
        }
        Ok(())
    }
}

/// All numbers of nested lists, in order.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => value.as_f64().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn answers(values: &[f64]) -> Answers {
        Answers(BTreeMap::from([("model.output".to_owned(), values.to_vec())]))
    }

    #[test]
    fn rounding_is_no_difference_but_values_are() {
        let ours = answers(&[0.998_753_8, 0.0, 2000.0]);
        ours.compare(&answers(&[0.998_76, 0.0, 2000.1])).unwrap();
        assert!(ours.compare(&answers(&[0.998, 0.0, 2000.0])).is_err());
        assert!(ours.compare(&answers(&[0.998_753_8, 0.0])).is_err(), "fewer values");
        assert!(ours.compare(&answers(&[0.998_753_8, 0.0, 2000.0, 1.0])).is_err(), "more values");
        assert!(ours.compare(&answers(&[f64::NAN, 0.0, 2000.0])).is_err());
        assert!(ours.compare(&Answers(BTreeMap::new())).is_err(), "no answer");
    }

    #[test]
    fn nested_lists_are_flat() {
        assert_eq!(numbers(&json!([[1, 2.5], [3]])), [1.0, 2.5, 3.0]);
    }
}
