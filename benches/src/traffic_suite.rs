//! The suite `traffic`: what splitting costs, whether it keeps its weights, and whether verdicts keep their promises.

#![allow(clippy::print_stdout, reason = "the table is the suite's output")]

mod controlled;
mod kills;
mod rollback;
mod routing;
mod shadow;
mod verdicts;

use std::process::ExitCode;

use crate::figure::{Figure, table};
use crate::machine::warn_when_busy;
use crate::{Options, Problem, record};

/// One part of the suite: its name for `--only`, and what makes its figures.
type Part = (&'static str, fn(&Options) -> Vec<Figure>);

const PARTS: [Part; 6] = [
    ("routing", routing::cost),
    ("weights", routing::weights),
    ("shadow", shadow::figures),
    ("rollback", rollback::figures),
    ("kills", kills::figures),
    ("verdicts", verdicts::figures),
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
    let path = record::write("traffic", options, record::figures(&figures))?;
    println!("recorded in {path}");
    let missed = figures.iter().any(|figure| figure.holds() == Some(false));
    let skipped = figures.iter().any(|figure| figure.measured.is_err());
    Ok(match (missed, skipped) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(3),
        (false, false) => ExitCode::SUCCESS,
    })
}
