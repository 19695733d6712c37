//! Small requests in a closed loop: server CPU per request, beside the floors; the queue delay; gradient boosting.

use std::collections::BTreeMap;

use crate::figure::{Figure, Reference, Target};
use crate::floor_http::{BINARY_WIDTH, JSON_WIDTH};
use crate::generator::{Load, Measured, measure};
use crate::model_repository::{ModelRepository, parameter};
use crate::server::{Engine, RunningServer};
use crate::{Options, Problem};

/// What the floors take per request on the machine that the targets were stated for: CPU microseconds of a bare hyper
/// server, of one that decodes and encodes V2 JSON, and of a bare tonic server at concurrency 8 and 32.
const HTTP_FLOOR: f64 = 8.0;
const JSON_FLOOR: f64 = 13.0;
const GRPC_FLOOR_8: f64 = 18.0;
const GRPC_FLOOR_32: f64 = 16.0;

/// A subject's results: per level, one entry per round.
type Rounds = BTreeMap<&'static str, Vec<Vec<Measured>>>;

/// What a figure is made from.
struct Line {
    name: String,
    unit: &'static str,
    target: Target,
    subject: &'static str,
    level: usize,
    pick: fn(&Measured) -> f64,
    /// Divides by the same figure of this subject, in the same round.
    over: Option<&'static str>,
    /// The floor that the target assumes: subject, and CPU per request at the same level, in microseconds.
    reference: Option<(&'static str, f64)>,
}

impl Line {
    /// The same, with a target that was stated for a machine on which `floor` takes `floor_us`.
    fn at(self, floor: &'static str, floor_us: f64) -> Self {
        Self { reference: Some((floor, floor_us)), ..self }
    }
}

fn cpu(subject: &'static str, what: &str, level: usize, concurrency: u32, target: Target) -> Line {
    let name = format!("{what}, server CPU per request, concurrency {concurrency}");
    Line { name, unit: "us", target, subject, level, pick: |level| level.cpu_us, over: None, reference: None }
}

fn over_floor(
    subject: &'static str,
    floor: &'static str,
    what: &str,
    level: usize,
    concurrency: u32,
    target: Target,
) -> Line {
    let name = format!("{what}, CPU over the floor's, concurrency {concurrency}");
    Line { name, unit: "", target, subject, level, pick: |level| level.cpu_us, over: Some(floor), reference: None }
}

/// Runs `subjects` in turn for every round.
fn interleave(options: &Options, subjects: &[(&'static str, Load<'_>)]) -> Result<Rounds, Problem> {
    let mut rounds = Rounds::new();
    for round in 0..options.rounds {
        eprintln!("  round {} of {}", round + 1, options.rounds);
        for (subject, load) in subjects {
            rounds.entry(subject).or_default().push(measure(options, load, false)?);
        }
    }
    Ok(rounds)
}

fn figures(lines: Vec<Line>, rounds: &Result<Rounds, Problem>) -> Vec<Figure> {
    let figure = |line: Line| {
        let rounds = match rounds {
            Ok(rounds) => rounds,
            Err(problem) => return Figure::skipped(line.name, line.unit, line.target, problem),
        };
        let values = |subject: &str, pick: fn(&Measured) -> f64| -> Vec<f64> {
            let all = rounds.get(subject).map(Vec::as_slice).unwrap_or_default();
            all.iter().filter_map(|levels| levels.get(line.level)).map(pick).collect()
        };
        let mut own = values(line.subject, line.pick);
        if let Some(floor) = line.over {
            own = own.iter().zip(values(floor, line.pick)).map(|(value, floor)| value / floor).collect();
        }
        let reference = line
            .reference
            .map(|(floor, floor_us)| Reference::new(floor_us, &own, &values(floor, |level| level.cpu_us)));
        let figure = Figure::of(line.name, line.unit, line.target, own);
        match reference {
            Some(reference) => figure.at(reference),
            None => figure,
        }
    };
    lines.into_iter().map(figure).collect()
}

fn load<'a>(server: String, pid: u32, model: &'a str, arguments: &[&str]) -> Load<'a> {
    Load { server, pid, model, arguments: arguments.iter().map(|&text| text.to_owned()).collect() }
}

/// Identity over HTTP binary, HTTP JSON and gRPC, each beside its floor, and the lone request.
pub(super) fn identity(options: &Options) -> Vec<Figure> {
    use Target::{AtMost, Information};

    let rounds = identity_rounds(options);
    let lone = |subject, name: &str, target, over| Line {
        name: format!("{name}, p50{}", if over { ", over the floor's" } else { "" }),
        unit: if over { "" } else { "us" },
        target,
        subject,
        level: 0,
        pick: |level: &Measured| level.p50_us,
        over: over.then_some("http floor"),
        reference: None,
    };
    let rate = |subject, name: &str| Line {
        name: format!("{name}, answers per second, concurrency 32"),
        unit: "/s",
        target: Information,
        subject,
        level: 2,
        pick: |level: &Measured| level.rate,
        over: None,
        reference: None,
    };
    let lines = vec![
        cpu("http", "identity HTTP binary", 1, 8, AtMost(20.0)).at("http floor", HTTP_FLOOR),
        cpu("http", "identity HTTP binary", 2, 32, AtMost(14.0)).at("http floor", HTTP_FLOOR),
        over_floor("http", "http floor", "identity HTTP binary", 1, 8, AtMost(2.5)),
        over_floor("http", "http floor", "identity HTTP binary", 2, 32, AtMost(2.5)),
        cpu("http floor", "floor: bare hyper", 1, 8, Information),
        cpu("http floor", "floor: bare hyper", 2, 32, Information),
        cpu("grpc", "identity gRPC", 1, 8, AtMost(38.0)).at("grpc floor", GRPC_FLOOR_8),
        cpu("grpc", "identity gRPC", 2, 32, AtMost(32.0)).at("grpc floor", GRPC_FLOOR_32),
        over_floor("grpc", "grpc floor", "identity gRPC", 1, 8, AtMost(2.5)),
        over_floor("grpc", "grpc floor", "identity gRPC", 2, 32, AtMost(2.5)),
        cpu("grpc floor", "floor: bare tonic", 1, 8, Information),
        cpu("grpc floor", "floor: bare tonic", 2, 32, Information),
        cpu("json", "30 floats HTTP JSON", 1, 8, AtMost(28.0)).at("json floor", JSON_FLOOR),
        cpu("json", "30 floats HTTP JSON", 2, 32, AtMost(22.0)).at("json floor", JSON_FLOOR),
        over_floor("json", "json floor", "30 floats HTTP JSON", 1, 8, Information),
        over_floor("json", "json floor", "30 floats HTTP JSON", 2, 32, Information),
        cpu("json floor", "floor: bare hyper with JSON", 1, 8, Information),
        cpu("json floor", "floor: bare hyper with JSON", 2, 32, Information),
        lone("http", "a lone request over HTTP", AtMost(39.5), false).at("http floor", HTTP_FLOOR),
        lone("http", "a lone request over HTTP", Information, true),
        lone("http floor", "floor: a lone request", Information, false),
        rate("http", "identity HTTP binary"),
        rate("http floor", "floor: bare hyper"),
        rate("grpc", "identity gRPC"),
        rate("grpc floor", "floor: bare tonic"),
    ];
    figures(lines, &rounds)
}

fn identity_rounds(options: &Options) -> Result<Rounds, Problem> {
    let repository = ModelRepository::new("identity")?;
    let batching = "max_batch_size: 64\ndynamic_batching { }\n";
    repository.add_identity("identity", BINARY_WIDTH, batching)?;
    repository.add_identity("identity_json", JSON_WIDTH, batching)?;
    let server = RunningServer::hanok(options, repository.path(), Engine::Found)?;
    let (http_floor, grpc_floor) = (RunningServer::floor("floor-http")?, RunningServer::floor("floor-grpc")?);
    let pid = server.child.id();
    let levels = ["--concurrency", "1,8,32", "--encoding", "binary"];
    let json = ["--concurrency", "1,8,32", "--encoding", "json"];
    let grpc = ["--concurrency", "1,8,32"];
    let subjects = [
        ("http", load(server.http()?, pid, "identity", &levels)),
        ("http floor", load(http_floor.http()?, http_floor.child.id(), "identity", &levels)),
        ("grpc", load(server.grpc()?, pid, "identity", &grpc)),
        ("grpc floor", load(grpc_floor.grpc()?, grpc_floor.child.id(), "identity", &grpc)),
        ("json", load(server.http()?, pid, "identity_json", &json)),
        ("json floor", load(http_floor.http()?, http_floor.child.id(), "identity_json", &json)),
    ];
    interleave(options, &subjects)
}

/// A maximum queue delay must cost nothing when nothing more can arrive.
pub(super) fn queue_delay(options: &Options) -> Vec<Figure> {
    let rounds = || -> Result<Rounds, Problem> {
        let repository = ModelRepository::new("queue-delay")?;
        let delayed = "max_batch_size: 64\ndynamic_batching { max_queue_delay_microseconds: 500 }\n";
        repository.add_identity("eager", BINARY_WIDTH, "max_batch_size: 64\ndynamic_batching { }\n")?;
        repository.add_identity("delayed", BINARY_WIDTH, delayed)?;
        let server = RunningServer::hanok(options, repository.path(), Engine::Found)?;
        let levels = ["--concurrency", "8"];
        let subject = |model| Ok::<_, Problem>(load(server.http()?, server.child.id(), model, &levels));
        interleave(options, &[("eager", subject("eager")?), ("delayed", subject("delayed")?)])
    };
    let line = Line {
        name: "throughput with 500 us queue delay over without, concurrency 8".to_owned(),
        unit: "",
        target: Target::AtLeast(0.9),
        subject: "delayed",
        level: 0,
        pick: |level| level.rate,
        over: Some("eager"),
        reference: None,
    };
    figures(vec![line], &rounds())
}

/// 100 boosted trees over 30 features, on either engine.
pub(super) fn boosting(options: &Options) -> Vec<Figure> {
    let rounds = |engine| {
        let repository = ModelRepository::new("boosting")?;
        repository.add_copy(&options.test_models, "tabular", &parameter("intra_op_thread_count", "1"))?;
        let server = RunningServer::hanok(options, repository.path(), engine)?;
        if !server.has_model("tabular") {
            return Err(server.child.explain("did not load `tabular`"));
        }
        let levels = ["--concurrency", "8,32", "--encoding", "binary"];
        let floor = RunningServer::floor("floor-http")?;
        let subjects = [
            ("boosting", load(server.http()?, server.child.id(), "tabular", &levels)),
            ("http floor", load(floor.http()?, floor.child.id(), "identity", &levels)),
        ];
        interleave(options, &subjects)
    };
    let lines = |what: &str, first, second| {
        let (first, second) = (cpu("boosting", what, 0, 8, first), cpu("boosting", what, 1, 32, second));
        vec![first.at("http floor", HTTP_FLOOR), second.at("http floor", HTTP_FLOOR)]
    };
    let library = lines("gradient boosting on ONNX Runtime", Target::AtMost(28.0), Target::AtMost(22.0));
    let embedded = lines("gradient boosting on tract", Target::Information, Target::Information);
    let mut all = figures(library, &rounds(Engine::OnnxRuntime));
    all.extend(figures(embedded, &rounds(Engine::Tract)));
    all
}
