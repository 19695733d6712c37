//! A suite of figures: its parts, the table that it prints, its record and its exit status.

#![allow(clippy::print_stdout, reason = "the table is the suite's output")]

use std::process::ExitCode;

use crate::figure::{Figure, table};
use crate::machine::warn_when_busy;
use crate::{Options, Problem, record};

/// One part of a suite: its name for `--only`, and what makes its figures.
pub(crate) type Part = (&'static str, fn(&Options) -> Vec<Figure>);

/// Runs a suite: exit status 0 when every figure holds, 1 when one is missed, 3 when none is missed but some skipped.
pub(crate) fn run(name: &str, parts: &[Part], options: &Options) -> Result<ExitCode, Problem> {
    options.require_server()?;
    warn_when_busy();
    let mut figures = Vec::new();
    for (part, measure) in parts {
        if options.wants(part) {
            eprintln!("measuring {part}");
            figures.extend(measure(options));
        }
    }
    print!("{}", table(&figures));
    let path = record::write(name, options, record::figures(&figures))?;
    println!("recorded in {path}");
    let missed = figures.iter().any(|figure| figure.holds() == Some(false));
    let skipped = figures.iter().any(|figure| figure.measured.is_err());
    Ok(match (missed, skipped) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(3),
        (false, false) => ExitCode::SUCCESS,
    })
}
