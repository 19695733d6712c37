//! Look-ups of features: from the embedded store and from Redis, and what they cost a request in front of a model.
//!
//! The look-ups alone are measured by an example of the features' crate; here the server is, on both sides by the same
//! generator.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::figure::{Figure, Target};
use crate::generator::{Load, Measured, measure};
use crate::model_repository::ModelRepository;
use crate::server::RunningServer;
use crate::{Options, Problem};

/// Names of the look-ups' figures, with unit and target, for when they cannot be measured.
const LOOKUPS: [(&str, &str, Target); 6] = [
    ("embedded, 1 key x 20 features, p50", "us", Target::AtMost(5.0)),
    ("embedded, 100 keys x 20 features in one batch, p50", "us", Target::AtMost(150.0)),
    ("Redis, round trips for a batch of 100 keys", "", Target::AtMost(1.0)),
    ("Redis, 100 keys a request, 4 callers", "of a bare pipelined client", Target::AtLeast(0.9)),
    ("Redis, 10 keys a request, 16 callers", "of a bare pipelined client", Target::AtLeast(0.9)),
    ("Redis, 1 key a request, 64 callers", "of a bare pipelined client", Target::AtLeast(0.9)),
];

/// Features of the model in the server.
const FEATURES: usize = 20;
/// Rows in its store; requests ask for one of them.
const ROWS: usize = 10_000;

/// The figures, measured or skipped.
pub(super) fn figures(options: &Options) -> Vec<Figure> {
    let mut figures = lookups();
    figures.extend(in_the_server(options));
    figures
}

fn lookups() -> Vec<Figure> {
    let told = run_example();
    let figure = |(name, unit, target): (&'static str, &'static str, Target)| {
        let found = told.as_ref().map_err(Clone::clone).and_then(|lines| {
            let line = lines.iter().find(|line| line["name"] == name);
            let measured = line.and_then(|line| line["measured"].as_f64());
            measured
                .ok_or_else(|| "the example did not measure it: redis-server is not installed, or it failed".to_owned())
        });
        let name = format!("features, {name}");
        match found {
            Ok(measured) => Figure::of(name, unit, target, vec![measured]),
            Err(problem) => Figure::skipped(name, unit, target, &problem),
        }
    };
    LOOKUPS.into_iter().map(figure).collect()
}

/// What the example tells; it also ends with a failure when a target is missed, and that is in what it tells.
fn run_example() -> Result<Vec<Value>, Problem> {
    let mut command = Command::new("cargo");
    command.args([
        "run",
        "--release",
        "--quiet",
        "--package",
        "hanok-features",
        "--example",
        "lookups",
        "--",
        "--json",
    ]);
    let output = command.output().map_err(|error| format!("cargo cannot be started: {error}"))?;
    let lines = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if lines.is_empty() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the example failed: {}", text.lines().last().unwrap_or_default()));
    }
    Ok(lines)
}

/// A model of twenty inputs, asked by one key and by hand: the same model, on the same server.
fn in_the_server(options: &Options) -> Vec<Figure> {
    const CPU: &str = "features, server CPU of a request by key over one with 20 inputs by hand, HTTP JSON";
    const LATENCY: &str = "features, p50 of a request by key over one with 20 inputs by hand, one at a time";
    let measured = (|| {
        let repository = ModelRepository::new("features")?;
        let declared = repository.path().join("features.yaml");
        repository.add_many("by_hand", FEATURES, "")?;
        repository.add_many(
            "by_key",
            FEATURES,
            "parameters { key: \"feature_service\" value { string_value: \"planes\" } }",
        )?;
        std::fs::write(&declared, declarations()).map_err(|error| format!("cannot write declarations: {error}"))?;
        fill(options, &declared)?;
        let server = RunningServer::featured(options, repository.path(), &declared)?;
        let run = |model: &'static str, arguments: &[String]| -> Result<[Measured; 2], Problem> {
            let mut arguments = arguments.to_vec();
            arguments.extend(["--encoding", "json", "--concurrency", "1,8"].map(str::to_owned));
            let load = Load { server: server.http()?, pid: server.child.id(), model, arguments };
            let levels = measure(options, &load, false)?;
            levels.try_into().map_err(|_| "the generator told other levels".to_owned())
        };
        let (mut cpu, mut latency) = (Vec::new(), Vec::new());
        let by_key = ["--input".to_owned(), format!("plane={}", name(ROWS / 2))];
        for _ in 0..options.rounds {
            let [hand_alone, hand] = run("by_hand", &[])?;
            let [key_alone, key] = run("by_key", &by_key)?;
            cpu.push(key.cpu_us / hand.cpu_us);
            latency.push(key_alone.p50_us / hand_alone.p50_us);
        }
        Ok((cpu, latency))
    })();
    match measured {
        Ok((cpu, latency)) => {
            vec![Figure::of(CPU, "", Target::Information, cpu), Figure::of(LATENCY, "", Target::Information, latency)]
        }
        Err(problem) => {
            let problem: Problem = problem;
            [CPU, LATENCY].map(|name| Figure::skipped(name, "", Target::Information, &problem)).into()
        }
    }
}

fn name(row: usize) -> String {
    format!("N{row:05}")
}

fn declarations() -> String {
    let features: Vec<String> = (0..FEATURES).map(|index| format!("{{name: f{index}, type: float32}}")).collect();
    let served: Vec<String> = (0..FEATURES).map(|index| format!("planes:f{index}")).collect();
    format!(
        "apiVersion: hanok.dev/v1\nkind: Entity\nmetadata: {{name: plane}}\nspec: {{type: string}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: OnlineStore\nmetadata: {{name: main}}\nspec: {{embedded: {{path: features.db}}}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureView\nmetadata: {{name: planes}}\n\
         spec: {{entities: [plane], store: main, owner: bench, features: [{}]}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureService\nmetadata: {{name: planes}}\n\
         spec: {{owner: bench, features: [{}]}}\n",
        features.join(", "),
        served.join(", ")
    )
}

/// Writes the rows as an operator would.
fn fill(options: &Options, declared: &Path) -> Result<(), Problem> {
    let rows = declared.with_file_name("rows.jsonl");
    let mut text = String::new();
    for row in 0..ROWS {
        let mut line = serde_json::Map::new();
        line.insert("plane".to_owned(), name(row).into());
        for feature in 0..FEATURES {
            line.insert(format!("f{feature}"), (row + feature).into());
        }
        text.push_str(&Value::Object(line).to_string());
        text.push('\n');
    }
    std::fs::write(&rows, text).map_err(|error| format!("cannot write rows: {error}"))?;
    let mut command = Command::new(&options.hanok);
    command.args(["features", "put", "-f"]).arg(declared).arg("planes").arg(&rows);
    let output = command.output().map_err(|error| format!("cannot start hanok: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("hanok features put: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
