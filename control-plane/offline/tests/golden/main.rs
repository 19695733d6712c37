//! Joins beside those of pandas (`merge_asof`) and Feast (`get_historical_features`), on tables that pandas and pyarrow wrote.
//!
//! Needs `.venv-feast` of the repository's tests; without it the tests say that they were skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use hanok_features::{FeatureSet, read_features};
use hanok_offline::{JoinPlan, LocalStorage, join};

fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv-feast/bin/python");
    if python.exists() {
        return Some(python);
    }
    eprintln!("SKIPPED: .venv-feast is not there");
    None
}

fn script(python: &Path, what: &str, folder: &Path) -> usize {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tables.py");
    let output = Command::new(python).arg(file).arg(what).arg(folder).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    told.lines().last().map_or(0, |line| line.trim().parse().unwrap())
}

const FEATURES: &str = "{name: temperature, type: float64}, {name: humidity, type: float32}, {name: visits, type: int64}, \
     {name: code, type: int32}, {name: rainy, type: bool}, {name: sky, type: string}, {name: raw, type: bytes}, \
     {name: seen, type: timestamp}, {name: weights, type: list<float32>}, {name: words, type: list<string>}";

fn declare(path: &str, age: &str, features: &str) -> FeatureSet {
    let features = features.replace('}', ", fallback: fail}");
    read_features(&format!(
        "apiVersion: hanok.dev/v1\nkind: Entity\nmetadata: {{name: origin}}\nspec: {{type: string}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: Entity\nmetadata: {{name: station}}\nspec: {{type: int64}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: OnlineStore\nmetadata: {{name: main}}\nspec: {{embedded: {{path: x.db}}}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureView\nmetadata: {{name: weather}}\n\
         spec: {{entities: [origin, station], store: main, owner: flights, {age} features: [{features}],\n  \
         source: {{path: \"{path}\", event_time: event_timestamp, created_time: created}}}}\n"
    ))
    .unwrap()
}

fn run(folder: &Path, set: &FeatureSet, entities: &str, out: &str) {
    let plan = JoinPlan::features(set, &["weather:*".to_owned()], false).unwrap();
    let storage = LocalStorage::new(folder);
    join(&storage, &plan, entities, "event_timestamp", out).unwrap();
}

const AGE: &str = "maximum_age_seconds: 129600,";

#[test]
fn joins_are_those_of_pandas() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    script(&python, "write", folder);
    run(folder, &declare("weather", AGE, FEATURES), "entities.parquet", "out.parquet");
    run(folder, &declare("weather/*.parquet", "", FEATURES), "entities.parquet", "ageless.parquet");
    run(folder, &declare("weather", AGE, FEATURES), "nobody.parquet", "nobody-out.parquet");
    run(folder, &declare("nothing.parquet", AGE, FEATURES), "entities.parquet", "nothing-out.parquet");
    let scalars = FEATURES.split(", {").filter(|one| !one.contains("list") && !one.contains("bytes"));
    let scalars = scalars.collect::<Vec<_>>().join(", {");
    run(folder, &declare("weather.csv", AGE, &scalars), "entities.csv", "out.csv");
    run(folder, &declare("weather", AGE, &scalars), "entities.csv", "typed.parquet");
    let compared = script(&python, "check", folder);
    assert!(compared > 30_000, "only {compared} values were compared");
}

#[test]
fn joins_are_those_of_feast() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    script(&python, "write", folder);
    script(&python, "prepare", folder);
    run(folder, &declare("feast.parquet", AGE, FEATURES), "feast-entities.parquet", "feast-out.parquet");
    let compared = script(&python, "feast", folder);
    assert!(compared > 5_000, "only {compared} values were compared");
}
