//! Compares the outputs of a primary and a candidate, tensor by tensor.
//!
//! The primary is the reference: relative differences are relative to it. Invariant: every output that either side has is
//! judged once, in the primary's order, then what only the candidate has.

use hanok_tensor::{BytesElements, DataType};
use serde::Serialize;

use crate::element::with_element;
use crate::output::Output;
use crate::ranking::CompareRanking;
use crate::rule::{ComparisonRules, OutputRule};
use crate::tolerance::{Closeness, FindDifferences};

/// One of the two that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Who answered the client.
    Primary,
    /// Who got the copy.
    Candidate,
}

/// What became of one output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The rule holds.
    Agrees,
    /// The rule does not hold.
    Differs,
    /// This side has no such output.
    MissingIn(Side),
    /// The data types differ.
    DataTypeDiffers,
    /// The shapes differ.
    ShapeDiffers,
    /// This side's data do not have the length that data type and shape say.
    Malformed(Side),
    /// The rule makes no sense for the data type: ranking of `BYTES`.
    NotApplicable,
    /// The rule says not to compare.
    Ignored,
}

impl Verdict {
    /// Whether the two sides disagree; a rule that was not applied finds nothing.
    #[must_use]
    pub const fn is_disagreement(self) -> bool {
        !matches!(self, Self::Agrees | Self::NotApplicable | Self::Ignored)
    }
}

/// One output, compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorComparison {
    /// Name of the output.
    pub name: Box<str>,
    /// What became of it.
    pub verdict: Verdict,
    /// What was compared: rows under `argmax` and `top_k`, elements otherwise; 0 when it came to no comparison.
    pub compared: u64,
    /// How many of those differ.
    pub differing: u64,
    /// Largest absolute difference under `exact` and `tolerance`, for numbers; NaN left out, infinity where only one side
    /// is infinite (JSON writes null).
    pub most_absolute: Option<f64>,
    /// Largest difference over the primary's magnitude, where the primary is neither 0, infinite nor NaN.
    pub most_relative: Option<f64>,
    /// Smallest number of common positions of any row, under `top_k`.
    pub least_overlap: Option<u32>,
}

/// All outputs, compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// One entry per output of either side.
    pub tensors: Vec<TensorComparison>,
}

impl Comparison {
    /// Whether no output disagrees.
    #[must_use]
    pub fn agrees(&self) -> bool {
        !self.tensors.iter().any(|tensor| tensor.verdict.is_disagreement())
    }
}

/// Compares `candidate` with `primary` by `rules`.
///
/// Costs a pass over each tensor; equal tensors cost a comparison of bytes. Never fails: what cannot be compared is a
/// verdict.
#[must_use]
pub fn compare(rules: &ComparisonRules, primary: &[Output<'_>], candidate: &[Output<'_>]) -> Comparison {
    let mut tensors = Vec::with_capacity(primary.len());
    for ours in primary {
        let theirs = candidate.iter().find(|output| output.name == ours.name);
        let missing = TensorComparison::without_numbers(ours.name, Verdict::MissingIn(Side::Candidate));
        tensors.push(match (rules.rule(ours.name), theirs) {
            (OutputRule::Ignore, _) => TensorComparison::without_numbers(ours.name, Verdict::Ignored),
            (_, None) => missing,
            (rule, Some(theirs)) => compare_tensor(rule, ours, theirs),
        });
    }
    for theirs in candidate.iter().filter(|theirs| primary.iter().all(|ours| ours.name != theirs.name)) {
        let ignored = *rules.rule(theirs.name) == OutputRule::Ignore;
        let verdict = if ignored { Verdict::Ignored } else { Verdict::MissingIn(Side::Primary) };
        tensors.push(TensorComparison::without_numbers(theirs.name, verdict));
    }
    Comparison { tensors }
}

impl TensorComparison {
    fn without_numbers(name: &str, verdict: Verdict) -> Self {
        Self {
            name: name.into(),
            verdict,
            compared: 0,
            differing: 0,
            most_absolute: None,
            most_relative: None,
            least_overlap: None,
        }
    }

    fn counted(name: &str, compared: u64, differing: u64) -> Self {
        let verdict = if differing == 0 { Verdict::Agrees } else { Verdict::Differs };
        Self { compared, differing, ..Self::without_numbers(name, verdict) }
    }
}

fn compare_tensor(rule: &OutputRule, ours: &Output<'_>, theirs: &Output<'_>) -> TensorComparison {
    let only = |verdict| TensorComparison::without_numbers(ours.name, verdict);
    if ours.data_type != theirs.data_type {
        return only(Verdict::DataTypeDiffers);
    }
    if ours.shape != theirs.shape {
        return only(Verdict::ShapeDiffers);
    }
    let Some(count) = ours.element_count() else { return only(Verdict::Malformed(Side::Primary)) };
    if theirs.element_count().is_none() {
        return only(Verdict::Malformed(Side::Candidate));
    }
    match rule {
        OutputRule::Ignore => only(Verdict::Ignored),
        OutputRule::Exact => elementwise(ours, theirs, count, Closeness::Bits),
        OutputRule::Label => {
            let compared = elementwise(ours, theirs, count, Closeness::Bits);
            TensorComparison { most_absolute: None, most_relative: None, ..compared }
        }
        &OutputRule::Tolerance { absolute, relative, nan } => {
            elementwise(ours, theirs, count, Closeness::Within { absolute, relative, nan })
        }
        OutputRule::Argmax => ranked(ours, theirs, 1, 1, false),
        &OutputRule::TopK { k, overlap } => ranked(ours, theirs, k, overlap, true),
    }
}

fn elementwise(ours: &Output<'_>, theirs: &Output<'_>, count: usize, closeness: Closeness) -> TensorComparison {
    let work = FindDifferences { primary: ours.data, candidate: theirs.data, closeness };
    let Some(found) = with_element(ours.data_type, work) else {
        debug_assert_eq!(ours.data_type, DataType::Bytes, "only BYTES are no numbers");
        let pairs = BytesElements::new(ours.data).zip(BytesElements::new(theirs.data));
        let differing = pairs.filter(|(ours, theirs)| ours != theirs).count();
        return TensorComparison::counted(ours.name, count as u64, differing as u64);
    };
    TensorComparison {
        most_absolute: Some(found.most_absolute),
        most_relative: Some(found.most_relative),
        ..TensorComparison::counted(ours.name, count as u64, found.differing)
    }
}

fn ranked(ours: &Output<'_>, theirs: &Output<'_>, k: u32, overlap: u32, tell: bool) -> TensorComparison {
    let row_length = ours.row_length();
    let work = CompareRanking { primary: ours.data, candidate: theirs.data, row_length, k, overlap };
    match with_element(ours.data_type, work) {
        None => TensorComparison::without_numbers(ours.name, Verdict::NotApplicable),
        Some(found) => TensorComparison {
            least_overlap: tell.then_some(found.least_overlap),
            ..TensorComparison::counted(ours.name, found.rows, found.differing)
        },
    }
}
