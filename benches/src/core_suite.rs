//! The suite `core`: every figure of the serving core, against its target.
//!
//! Subjects are measured in turn, round after round, so that a busy minute of the machine hits all of them; figures are
//! medians over the rounds, and ratios to a floor are taken within a round. Parts that lack something are skipped with
//! the reason, and a suite with skipped figures does not succeed.

#![allow(clippy::print_stdout, reason = "the table is the suite's output")]

mod closed_loop;
mod engine_share;
mod footprint;

use std::process::ExitCode;

use crate::figure::{Figure, table};
use crate::machine::warn_when_busy;
use crate::{Options, Problem, overload, record};

/// One part of the suite: its name for `--only`, and what makes its figures.
type Part = (&'static str, fn(&Options) -> Vec<Figure>);

const PARTS: [Part; 6] = [
    ("identity", closed_loop::identity),
    ("queue-delay", closed_loop::queue_delay),
    ("boosting", closed_loop::boosting),
    ("engine", engine_share::figures),
    ("footprint", footprint::figures),
    ("overload", overload::figures),
];

/// Runs the suite: exit status 0 when every figure holds, 1 when one is missed, 3 when none is missed but some skipped.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Problem> {
    options.require_server()?;
    warn_when_busy();
    let mut figures = Vec::new();
    for (name, part) in PARTS {
        if options.wants(name) {
            eprintln!("measuring {name}");
            figures.extend(part(options));
        }
    }
    print!("{}", table(&figures));
    let path = record::write("core", options, record::figures(&figures))?;
    println!("recorded in {path}");
    let missed = figures.iter().any(|figure| figure.holds() == Some(false));
    let skipped = figures.iter().any(|figure| figure.measured.is_err());
    Ok(match (missed, skipped) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(3),
        (false, false) => ExitCode::SUCCESS,
    })
}
