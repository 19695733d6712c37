//! Writes what a suite measured with commit, machine and time, so that a later run can be compared.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::figure::Figure;
use crate::machine::{Machine, commit};
use crate::{Options, Problem};

/// Writes `SUITE-COMMIT.json` into the results folder and gives its path as text; `measured` is an object whose members
/// stand beside those that every record has.
pub(crate) fn write(suite: &str, options: &Options, measured: Value) -> Result<String, Problem> {
    let commit = commit();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut record = json!({
        "suite": suite, "commit": commit, "unix_time": seconds, "machine": Machine::here(),
        "rounds": options.rounds, "seconds_per_measurement": options.seconds, "only": options.only,
    });
    if let (Value::Object(record), Value::Object(measured)) = (&mut record, measured) {
        record.extend(measured);
    }
    std::fs::create_dir_all(&options.results)
        .map_err(|error| format!("cannot make `{}`: {error}", options.results.display()))?;
    let path = options.results.join(format!("{suite}-{commit}.json"));
    write_text(&path, &format!("{record:#}\n"))?;
    Ok(path.display().to_string())
}

/// Figures as a record's member.
pub(crate) fn figures(figures: &[Figure]) -> Value {
    json!({ "figures": figures.iter().map(line).collect::<Vec<_>>() })
}

fn line(figure: &Figure) -> Value {
    json!({
        "figure": figure.name, "unit": figure.unit, "target": figure.target,
        "measured": figure.measured.as_ref().ok(), "skipped": figure.measured.as_ref().err(),
        "ok": figure.holds(), "rounds": figure.rounds,
    })
}

fn write_text(path: &Path, text: &str) -> Result<(), Problem> {
    std::fs::write(path, text).map_err(|error| format!("cannot write `{}`: {error}", path.display()))
}
