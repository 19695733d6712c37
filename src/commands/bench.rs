//! placeholder

use std::process::ExitCode;

use super::error::CommandError;

/// Arguments of `hanok bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArguments {}

pub(crate) async fn run(_arguments: BenchArguments) -> Result<ExitCode, CommandError> {
    Ok(ExitCode::SUCCESS)
}
