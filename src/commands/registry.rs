//! `hanok registry`: the local registry from the command line. Parses, calls the registry, prints; decides nothing.

mod add;
mod govern;
mod look;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

use hanok_registry::{Actor, ErrorCode, Registry, RegistrySettings, is_registry};
use hanok_state::Timestamp;

use super::error::CommandError;
use crate::settings::{ActorFlag, OutputFormat, RegistryFlags};

/// Arguments of `hanok registry`.
#[derive(Debug, clap::Args)]
pub(crate) struct RegistryArguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    flags: RegistryFlags,
    #[command(flatten)]
    actor: ActorFlag,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Register a file, or the files of a folder, as the next version of a model
    Add(Box<add::AddArguments>),
    /// List the models, or the versions of one
    List(look::ListArguments),
    /// Show everything on record about a version: MODEL, MODEL/VERSION or MODEL@ALIAS
    Show(look::ShowArguments),
    /// Tell what differs between two versions
    Diff(look::DiffArguments),
    /// Tell who changed what, and when
    Log(look::LogArguments),
    /// Bring a version to a stage, if the model's rules allow it
    Promote(govern::PromoteArguments),
    /// Approve or reject a version for a stage
    Approve(govern::ApproveArguments),
    /// Point an alias at a version, or remove it
    Alias(govern::AliasArguments),
    /// Show what a model wants before a stage, or change it
    Policy(govern::PolicyArguments),
    /// Lay a version into a model repository
    Export(tidy::ExportArguments),
    /// Read every file again, and tell what is damaged or missing
    Verify,
    /// Remove files that nothing needs, and evict versions to stay below the quota
    Gc(tidy::GcArguments),
}

/// Runs the command.
pub(crate) fn run(arguments: RegistryArguments) -> Result<ExitCode, CommandError> {
    let RegistryArguments { action, flags, actor } = arguments;
    let makes = matches!(&action, Action::Add(_) | Action::Policy(_));
    let quota = match &action {
        Action::Add(arguments) => arguments.quota.quota,
        _ => None,
    };
    let desk = Desk { registry: open(&flags, quota, makes)?, format: flags.format, actor: actor.name() };
    match action {
        Action::Add(arguments) => add::run(&desk, &arguments),
        Action::List(arguments) => look::list(&desk, &arguments),
        Action::Show(arguments) => look::show(&desk, &arguments),
        Action::Diff(arguments) => look::diff(&desk, &arguments),
        Action::Log(arguments) => look::log(&desk, &arguments),
        Action::Promote(arguments) => govern::promote(&desk, &arguments),
        Action::Approve(arguments) => govern::approve(&desk, &arguments),
        Action::Alias(arguments) => govern::alias(&desk, &arguments),
        Action::Policy(arguments) => govern::policy(&desk, &arguments),
        Action::Export(arguments) => tidy::export(&desk, &arguments),
        Action::Verify => tidy::verify(&desk),
        Action::Gc(arguments) => tidy::gc(&desk, &arguments),
    }
}

/// The registry that is open, and how to talk.
#[derive(Debug)]
struct Desk {
    registry: Registry,
    format: OutputFormat,
    actor: String,
}

/// Opens the registry; makes one only for commands that bring something into it.
fn open(flags: &RegistryFlags, quota: Option<u64>, makes: bool) -> Result<Registry, CommandError> {
    let folder: &Path = &flags.registry;
    if !makes && !is_registry(folder) {
        let told =
            format!("--registry: there is no registry in `{}`; `hanok registry add` makes one", folder.display());
        return Err(with_code(&told, ErrorCode::NotFound));
    }
    Ok(Registry::open(folder, RegistrySettings { quota_bytes: quota, ..RegistrySettings::default() })?)
}

/// A mistake, with the code by which scripts go.
fn with_code(told: &str, code: ErrorCode) -> CommandError {
    CommandError::input(format!("{told} ({})", code.as_str()))
}

impl Desk {
    /// Who acts, now.
    fn actor(&self) -> Result<Actor, CommandError> {
        Ok(Actor::new(self.actor.clone(), now()?)?)
    }

    /// Prints a result: `text` for people, or `value` as JSON.
    fn print(&self, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> Result<ExitCode, CommandError> {
        use std::io::Write as _;
        let mut out = std::io::stdout().lock();
        match self.format {
            OutputFormat::Text => out.write_all(text().as_bytes())?,
            OutputFormat::Json => {
                let document = serde_json::to_string_pretty(value)
                    .map_err(|error| CommandError::failed(format!("the result could not be written: {error}")))?;
                writeln!(out, "{document}")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn now() -> Result<Timestamp, CommandError> {
    crate::clock::now().map_err(CommandError::failed)
}

/// `KEY=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("expected KEY=VALUE, got `{text}`")),
    }
}

/// A number of bytes with three digits that matter.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut scale: u64 = 1_000;
    while unit + 1 < UNITS.len() && bytes >= scale.saturating_mul(1_000) {
        unit += 1;
        scale = scale.saturating_mul(1_000);
    }
    let (whole, rest) = (bytes / scale, bytes % scale);
    let unit = UNITS[unit];
    match whole {
        0..=9 => format!("{whole}.{:02} {unit}", rest / (scale / 100)),
        10..=99 => format!("{whole}.{} {unit}", rest / (scale / 10)),
        _ => format!("{whole} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (12_345, "12.3 kB"),
            (999_999, "999 kB"),
            (5 << 30, "5.36 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX), "18446 PB");
    }
}
