//! Writes a suite's figures with commit, machine and time, so that a later run can be compared.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::figure::Figure;
use crate::machine::{Machine, commit};
use crate::{Options, Problem};

/// Writes `SUITE-COMMIT.json` into the results folder and gives its path as text.
pub(crate) fn write(suite: &str, options: &Options, figures: &[Figure]) -> Result<String, Problem> {
    let commit = commit();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let lines: Vec<serde_json::Value> = figures.iter().map(line).collect();
    let record = json!({
        "suite": suite, "commit": commit, "unix_time": seconds, "machine": Machine::here(),
        "rounds": options.rounds, "seconds_per_measurement": options.seconds, "only": options.only, "figures": lines,
    });
    std::fs::create_dir_all(&options.results)
        .map_err(|error| format!("cannot make `{}`: {error}", options.results.display()))?;
    let path = options.results.join(format!("{suite}-{commit}.json"));
    write_text(&path, &format!("{record:#}\n"))?;
    Ok(path.display().to_string())
}

fn line(figure: &Figure) -> serde_json::Value {
    json!({
        "figure": figure.name, "unit": figure.unit, "target": figure.target,
        "measured": figure.measured.as_ref().ok(), "skipped": figure.measured.as_ref().err(),
        "ok": figure.holds(), "rounds": figure.rounds,
    })
}

fn write_text(path: &Path, text: &str) -> Result<(), Problem> {
    std::fs::write(path, text).map_err(|error| format!("cannot write `{}`: {error}", path.display()))
}
