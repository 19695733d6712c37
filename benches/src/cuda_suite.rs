//! The suite `cuda`: kernels and networks on a GPU against the processors, and what serving costs there.
//!
//! What measures is `benches/gpu/measure.py`, which also runs where there is no Rust; here its figures become the table.
//! Without a GPU every figure says so, and the exit status is that of figures that could not be measured.

use std::process::Command;

use hanok_devices::{DiscoverySettings, discover};
use serde_json::Value;

use crate::figure::{Figure, Target};
use crate::suite::Part;
use crate::{Options, Problem};

/// The parts, in the order in which they are measured.
pub(crate) const PARTS: [Part; 4] = [
    ("kernels", |options| part(options, "kernels")),
    ("answers", |options| part(options, "answers")),
    ("networks", |options| part(options, "networks")),
    ("torch", |options| part(options, "torch")),
];

/// What each part must tell: the names, units and targets that `measure.py` reads too.
const FIGURES: &str = include_str!("../gpu/figures.json");

fn part(options: &Options, name: &str) -> Vec<Figure> {
    match measured(options, name) {
        Ok(figures) => figures,
        Err(problem) => expected(name).iter().map(|row| skipped(row, &problem)).collect(),
    }
}

/// The rows of `figures.json` for the part `name`.
fn expected(name: &str) -> Vec<Value> {
    let rows: Vec<Value> = serde_json::from_str(FIGURES).unwrap_or_default();
    rows.into_iter().filter(|row| row["part"] == name).collect()
}

fn measured(options: &Options, name: &str) -> Result<Vec<Figure>, Problem> {
    if let Some(reason) = discover(&DiscoverySettings::default()).why_none() {
        return Err(format!("no GPU was there: {reason}"));
    }
    let report = options.results.join(format!("scratch/cuda-{name}.json"));
    // What an earlier run left is not what this one measured; there may be nothing.
    drop(std::fs::remove_file(&report));
    let status = Command::new("python3")
        .args(["benches/gpu/measure.py", "--only", name, "--seconds", &options.seconds.to_string(), "--report"])
        .arg(&report)
        .status()
        .map_err(|error| format!("cannot start python3: {error}"))?;
    let text = std::fs::read_to_string(&report).map_err(|_| {
        format!("benches/gpu/measure.py ended with {status} and left no report; run benches/gpu/make_pack first")
    })?;
    let report: Value = serde_json::from_str(&text).map_err(|error| format!("its report cannot be read: {error}"))?;
    Ok(report["figures"].as_array().into_iter().flatten().map(figure).collect())
}

fn figure(row: &Value) -> Figure {
    match row["measured"].as_f64() {
        Some(value) => {
            let (name, unit, target) = described(row);
            Figure::of(name, unit, target, vec![value])
        }
        None => skipped(row, row["skipped"].as_str().unwrap_or("no reason was given")),
    }
}

fn skipped(row: &Value, reason: &str) -> Figure {
    let (name, unit, target) = described(row);
    Figure::skipped(name, unit, target, reason)
}

fn described(row: &Value) -> (&str, &'static str, Target) {
    let unit = match row["unit"].as_str() {
        Some("us") => "us",
        Some("rows/s") => "rows/s",
        _ => "",
    };
    let target = match (row["target"]["at_least"].as_f64(), row["target"]["at_most"].as_f64()) {
        (Some(least), _) => Target::AtLeast(least),
        (None, Some(most)) => Target::AtMost(most),
        (None, None) => Target::Information,
    };
    (row["figure"].as_str().unwrap_or_default(), unit, target)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_of_the_report_keep_their_targets() {
        let held = figure(&json!({"figure": "a", "unit": "us", "target": {"at_most": 60}, "measured": 59.0}));
        assert_eq!((held.holds(), held.target), (Some(true), Target::AtMost(60.0)));
        let skipped =
            figure(&json!({"figure": "b", "unit": "", "target": {"at_least": 1}, "measured": null, "skipped": "x"}));
        assert_eq!((skipped.holds(), skipped.measured), (None, Err("x".to_owned())));
    }

    #[test]
    fn every_part_has_figures_and_every_figure_a_part() {
        let all: Vec<Value> = serde_json::from_str(FIGURES).unwrap_or_default();
        assert_eq!(PARTS.iter().map(|(name, _)| expected(name).len()).sum::<usize>(), all.len());
        for (name, _) in PARTS {
            assert!(!expected(name).is_empty(), "{name}");
        }
        let bounded = all.iter().filter(|row| described(row).2 != Target::Information).count();
        assert_eq!(all.len() - bounded, 2, "only what other products do is told without a target");
    }
}
