//! Prints all simulated figures: `cargo run --release -p hanok-rollout --example figures [full]`.
//!
//! Exit status 1 when a target is missed.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::process::ExitCode;

use hanok_rollout::simulation::{Effort, figures};

fn main() -> ExitCode {
    let effort = if std::env::args().nth(1).as_deref() == Some("full") { Effort::Full } else { Effort::Reduced };
    let figures = figures(effort);
    for figure in &figures {
        let holds = match figure.holds {
            Some(true) => "holds",
            Some(false) => "MISSED",
            None => "",
        };
        println!("{} | {} | {:.5} {} | {holds}", figure.name, figure.target, figure.measured, figure.unit);
    }
    ExitCode::from(u8::from(figures.iter().any(|figure| figure.holds == Some(false))))
}
