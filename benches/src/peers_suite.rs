//! The suite `peers`: the server and every peer that is installed, on the same models through the one load generator.
//!
//! One server runs at a time: each round starts every server in turn, measures it and ends it, so that no idle server
//! disturbs another and a busy minute of the machine hits all. Ratios to ours are taken within a round, figures are
//! medians over the rounds. The invariant: a server whose answers differ from ours is not measured.

#![allow(clippy::print_stdout, reason = "the table is the suite's output")]

mod answers;
mod comparison;
mod subject;

use std::path::PathBuf;
use std::process::ExitCode;

use self::answers::Answers;
use self::comparison::{Comparison, Key};
use self::subject::{SUBJECTS, Subject};
use crate::generator::{Load, measure};
use crate::machine::warn_when_busy;
use crate::model_repository::{ModelRepository, parameter};
use crate::{Options, Problem, record};

/// Where things are, how long to measure, and where the peers are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PeersArguments {
    #[command(flatten)]
    options: Options,
    /// Where `benches/peers/install` put the peers.
    #[arg(long, env = "HANOK_PEERS", default_value = ".hanok/peers")]
    installed: PathBuf,
    /// The peers' programs.
    #[arg(long, default_value = "benches/peers")]
    peers: PathBuf,
}

/// Requests in flight.
const CONCURRENCY: [u32; 3] = [1, 8, 32];

/// Runs the suite: exit status 0 when every installed server was measured, 1 otherwise.
pub(crate) fn run(arguments: &PeersArguments) -> Result<ExitCode, Problem> {
    let options = &arguments.options;
    options.require_server()?;
    warn_when_busy();
    let (repository, models) = models(arguments)?;
    let mut comparison = Comparison::default();
    let mut present = Vec::new();
    for subject in SUBJECTS.iter().filter(|subject| subject.is_ours() || options.wants(subject.name)) {
        match subject.missing(arguments) {
            None => present.push(subject),
            Some(reason) => comparison.skip(subject.name, reason),
        }
    }
    let mut expected = None;
    for round in 0..options.rounds {
        // There and back, so that nobody always follows the same server; ours is the first of all.
        if round > 0 {
            present.reverse();
        }
        for subject in &present {
            eprintln!("round {} of {}: {}", round + 1, options.rounds, subject.name);
            let suite = Round { arguments, repository: &repository, models: &models, number: round };
            match suite.measure(subject, &mut expected, &mut comparison) {
                Err(problem) if subject.is_ours() => return Err(problem),
                Err(problem) => comparison.fail(subject.name, problem),
                Ok(()) => {}
            }
        }
    }
    print!("{}", comparison.text());
    let versions = present.iter().map(|subject| (subject.name, subject.version(arguments)));
    let path = record::write("peers", options, comparison.record(&versions.collect()))?;
    println!("recorded in {path}");
    Ok(if comparison.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The repository that every server gets, and its models: one instance with one thread, as the Python peers have.
fn models(arguments: &PeersArguments) -> Result<(ModelRepository, Vec<&'static str>), Problem> {
    let settings =
        format!("instance_group [ {{ count: 1 kind: KIND_CPU }} ]\n{}", parameter("intra_op_thread_count", "1"));
    let repository = ModelRepository::new("peers")?;
    repository.add_copy(&arguments.peers.join("models"), "identity", &settings)?;
    let mut models = vec!["identity"];
    match repository.add_copy(&arguments.options.test_models, "tabular", &settings) {
        Ok(()) => models.push("tabular"),
        Err(problem) => eprintln!("without `tabular`: {problem}"),
    }
    Ok((repository, models))
}

/// One round with what it needs.
struct Round<'a> {
    arguments: &'a PeersArguments,
    repository: &'a ModelRepository,
    models: &'a [&'static str],
    number: u32,
}

impl Round<'_> {
    /// Starts one server, compares its answers with `expected` (ours, asked first), measures it and ends it.
    fn measure(
        &self,
        subject: &Subject,
        expected: &mut Option<Answers>,
        comparison: &mut Comparison,
    ) -> Result<(), Problem> {
        let options = &self.arguments.options;
        let server = subject.start(self.arguments, self.repository.path(), self.models)?;
        comparison.started(subject.name, self.number, server.ready_after);
        let addresses = subject.wires.iter().map(|wire| wire.address(&server)).collect::<Result<Vec<_>, _>>()?;
        for address in &addresses {
            let answers = Answers::ask(options, address, self.models)?;
            expected.get_or_insert_with(|| answers.clone()).compare(&answers)?;
        }
        for &model in self.models {
            for (wire, address) in subject.wires.iter().zip(&addresses) {
                let mut arguments =
                    vec!["--concurrency".to_owned(), CONCURRENCY.map(|count| count.to_string()).join(",")];
                arguments.extend(wire.arguments().iter().map(|&argument| argument.to_owned()));
                let load = Load { server: address.clone(), pid: server.child.id(), model, arguments };
                let levels = match measure(options, &load, false) {
                    Ok(levels) => levels,
                    Err(problem) => {
                        comparison.fail(subject.name, format!("{model}, {}: {problem}", wire.name()));
                        continue;
                    }
                };
                for (concurrency, measured) in CONCURRENCY.into_iter().zip(levels) {
                    let key = Key { model, wire: wire.name(), concurrency, server: subject.name };
                    comparison.add(key, self.number, measured);
                }
            }
        }
        Ok(())
    }
}
