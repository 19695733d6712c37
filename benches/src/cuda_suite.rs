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

/// What each part must tell, by the names that `measure.py` gives.
const FIGURES: [(&str, &str, &str, Target); 13] = [
    ("kernels", "kernels that agree with their references", "", Target::AtLeast(1.0)),
    ("kernels", "gather, cast and normalise of 64 x 3 x 224 x 224 over the copy bandwidth", "", Target::AtLeast(0.8)),
    ("answers", "resnet50: relative difference to the processors", "", Target::AtMost(0.02)),
    ("answers", "bert_base: relative difference to the processors", "", Target::AtMost(0.02)),
    ("networks", "resnet50: rows a second through the server over the bare engine, gRPC", "", Target::AtLeast(0.97)),
    ("networks", "bert_base: rows a second through the server over the bare engine, gRPC", "", Target::AtLeast(0.97)),
    ("networks", "resnet50 through CUDA shared memory: relative difference to the message", "", Target::AtMost(0.001)),
    ("networks", "ResNet-50 through CUDA shared memory over the bare engine", "", Target::AtLeast(0.97)),
    ("networks", "resnet50: p99 at 80 % load over the bare time of a batch", "", Target::AtMost(2.0)),
    ("networks", "bert_base: p99 at 80 % load over the bare time of a batch", "", Target::AtMost(2.0)),
    ("networks", "small network, batch 1: server over the bare launch, p50", "us", Target::AtMost(60.0)),
    ("torch", "ResNet-50 by PyTorch, compiled, CUDA graphs, batch 64", "rows/s", Target::Information),
    ("torch", "BERT-base by PyTorch, compiled, CUDA graphs, batch 32", "rows/s", Target::Information),
];

fn part(options: &Options, name: &str) -> Vec<Figure> {
    match measured(options, name) {
        Ok(figures) => figures,
        Err(problem) => FIGURES
            .iter()
            .filter(|(part, ..)| *part == name)
            .map(|&(_, figure, unit, target)| Figure::skipped(figure, unit, target, &problem))
            .collect(),
    }
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
    let name = row["figure"].as_str().unwrap_or_default();
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
    match row["measured"].as_f64() {
        Some(value) => Figure::of(name, unit, target, vec![value]),
        None => Figure::skipped(name, unit, target, row["skipped"].as_str().unwrap_or("no reason was given")),
    }
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
    fn every_part_has_figures() {
        for (name, _) in PARTS {
            assert!(FIGURES.iter().any(|(part, ..)| *part == name), "{name}");
        }
    }
}
