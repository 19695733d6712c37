//! placeholder

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct BareLoopArguments {}
pub(crate) fn run(_: &BareLoopArguments) -> Result<(), crate::Problem> {
    Err("not yet".to_owned())
}
