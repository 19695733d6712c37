//! How outputs are to be compared, as declared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Rules for the outputs of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonRules {
    /// Rule by output name.
    #[serde(default)]
    pub outputs: BTreeMap<String, OutputRule>,
    /// Rule for outputs that are not named.
    #[serde(default)]
    pub otherwise: OutputRule,
}

/// How one output is compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OutputRule {
    /// Bit for bit: 0.0 and -0.0 differ, two NaN of the same bits do not.
    Exact,
    /// Element by element as `numpy.allclose(candidate, primary)`: `|candidate - primary| <= absolute + relative *
    /// |primary|`, infinities only equal to themselves. Computed in FP64, distances of 64-bit integers exactly. `BYTES`
    /// elements must be equal.
    Tolerance {
        /// Largest absolute difference, at least 0.
        absolute: f64,
        /// Largest difference as a multiple of the primary's magnitude, at least 0.
        relative: f64,
        /// What NaN on both sides is.
        #[serde(default)]
        nan: NanPolicy,
    },
    /// The position of the largest value of each row (innermost dimension) must be the same; as `numpy.argmax`, the first
    /// of equals, NaN above all. Not for `BYTES`.
    Argmax,
    /// Elements are labels (class numbers or texts): each must be equal.
    Label,
    /// Of the `k` largest values of each row, at least `overlap` positions must be common. Among equals the first count;
    /// NaN is above all; a row shorter than `k` is taken whole. Not for `BYTES`.
    TopK {
        /// How many of the largest; at least 1.
        k: u32,
        /// How many must be common; 1 to `k`.
        overlap: u32,
    },
    /// Not compared, such as a time stamp.
    Ignore,
}

impl Default for OutputRule {
    /// NumPy's tolerances, and NaN equal to NaN.
    fn default() -> Self {
        Self::Tolerance { absolute: 1e-8, relative: 1e-5, nan: NanPolicy::Equal }
    }
}

/// What NaN on both sides is. NaN on one side always differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NanPolicy {
    /// Agreement.
    #[default]
    Equal,
    /// Disagreement.
    Differ,
}

/// What is wrong with a declared rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleFault {
    /// Where, such as `outputs.score.top_k`.
    pub path: String,
    /// What.
    pub message: String,
}

impl ComparisonRules {
    /// Everything that is wrong; empty when the rules are valid.
    #[must_use]
    pub fn faults(&self) -> Vec<RuleFault> {
        let named = self.outputs.iter().map(|(name, rule)| (format!("outputs.{name}"), rule));
        let mut faults = Vec::new();
        for (path, rule) in named.chain([("otherwise".to_owned(), &self.otherwise)]) {
            match rule {
                OutputRule::Tolerance { absolute, relative, .. } => {
                    for (field, value) in [("absolute", *absolute), ("relative", *relative)] {
                        if !(value.is_finite() && value >= 0.0) {
                            let message = format!("expected a finite number of at least `0`, got `{value}`");
                            faults.push(RuleFault { path: format!("{path}.tolerance.{field}"), message });
                        }
                    }
                }
                OutputRule::TopK { k, overlap } if !(1..=*k).contains(overlap) => {
                    let message = format!("expected `overlap` from `1` to `k`, got `{overlap}` of `{k}`");
                    faults.push(RuleFault { path: format!("{path}.top_k"), message });
                }
                OutputRule::TopK { .. }
                | OutputRule::Exact
                | OutputRule::Argmax
                | OutputRule::Label
                | OutputRule::Ignore => {}
            }
        }
        faults
    }

    /// The rule for an output.
    #[must_use]
    pub fn rule(&self, output: &str) -> &OutputRule {
        self.outputs.get(output).unwrap_or(&self.otherwise)
    }
}
