//! `hanok registry export`, `verify` and `gc`: files out of the registry, and files in order.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use hanok_registry::{BlobProblem, CollectRequest, RegistryError, VersionReference};
use serde_json::json;

use super::{Desk, now, size};
use crate::commands::error::CommandError;
use crate::pulling::{FETCHED_WAITS, collect_fetched};
use crate::settings::QuotaFlag;

/// Arguments of `hanok registry export`.
#[derive(Debug, clap::Args)]
pub(super) struct ExportArguments {
    /// MODEL (its newest version), MODEL/VERSION or MODEL@ALIAS
    version: VersionReference,
    /// Folder of models, in Triton's layout
    #[arg(long, value_name = "DIR", default_value = "models", env = "HANOK_MODEL_REPOSITORY")]
    model_repository: PathBuf,
    /// The model's name there, if it is another
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Arguments of `hanok registry gc`.
#[derive(Debug, clap::Args)]
pub(super) struct GcArguments {
    /// Tell what would go, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    quota: QuotaFlag,
}

pub(super) fn export(desk: &Desk, arguments: &ExportArguments) -> Result<ExitCode, CommandError> {
    let name = arguments.name.as_deref();
    let exported = desk.registry.export(&arguments.version, &arguments.model_repository, name, now()?)?;
    desk.print(&exported, || {
        let how = if exported.new { "laid out in" } else { "is already in" };
        format!("{} {how} {}\n", exported.version.name, exported.path.display())
    })
}

/// Status 1 when something is wrong.
pub(super) fn verify(desk: &Desk) -> Result<ExitCode, CommandError> {
    let report = desk.registry.verify()?;
    desk.print(&report, || {
        let mut text: String = report.problems.iter().map(problem_text).collect();
        let (versions, blobs, bytes) = (report.versions, report.blobs, size(report.bytes));
        text.push_str(&format!("read {blobs} files ({bytes}) of {versions} versions: "));
        text.push_str(&match report.problems.len() {
            0 => "all as registered\n".to_owned(),
            count => format!("{count} problems; fetch or add the same content again to heal it\n"),
        });
        for stray in &report.strays {
            text.push_str(&format!("`{stray}` is none of the registry's files; nothing reads or removes it\n"));
        }
        if report.orphans > 0 {
            text.push_str(&format!(
                "{} files are needed by nothing; `hanok registry gc` removes them\n",
                report.orphans
            ));
        }
        text
    })?;
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn problem_text(problem: &BlobProblem) -> String {
    match problem {
        BlobProblem::Missing { version, path } => format!("{version}: `{path}` is missing or cannot be read\n"),
        BlobProblem::Differs { version, path, expected, actual } => {
            format!("{version}: `{path}` is damaged: expected `{expected}`, found `{actual}`\n")
        }
        BlobProblem::Manifest { version } => {
            format!("{version}: the list of its files is not the one that it was registered with\n")
        }
    }
}

pub(super) fn gc(desk: &Desk, arguments: &GcArguments) -> Result<ExitCode, CommandError> {
    let request =
        CollectRequest { quota_bytes: arguments.quota.quota, in_use: BTreeSet::new(), dry_run: arguments.dry_run };
    let collected = desk.registry.collect(&request, &desk.actor()?)?;
    // Who asks for room gets that of unfinished pulls too.
    let longest = if request.quota_bytes.is_some() { Duration::ZERO } else { FETCHED_WAITS };
    let waiting = collect_fetched(desk.registry.folder(), SystemTime::now(), longest, None, arguments.dry_run)
        .map_err(RegistryError::from)?;
    let fetched = json!({ "attempts": waiting.attempts, "bytes": waiting.bytes, "kept_bytes": waiting.kept_bytes });
    desk.print(&json!({ "dry_run": arguments.dry_run, "collected": collected, "fetched": fetched }), || {
        let would = if arguments.dry_run { "would be " } else { "" };
        let mut text: String = collected.evicted.iter().map(|name| format!("{name} {would}evicted\n")).collect();
        text.push_str(&format!("{} files {would}removed\n", collected.orphans));
        if waiting.attempts > 0 {
            let (attempts, bytes) = (waiting.attempts, size(waiting.bytes));
            text.push_str(&format!("{attempts} pulls that nobody went on with {would}removed: {bytes}\n"));
        }
        if waiting.kept_bytes > 0 {
            let bytes = size(waiting.kept_bytes);
            text.push_str(&format!("{bytes} of unfinished pulls wait for their next attempt; with --quota they go\n"));
        }
        text.push_str(&format!("{} before, {} after\n", size(collected.bytes_before), size(collected.bytes_after)));
        if let Some(quota) = request.quota_bytes.filter(|quota| collected.bytes_after > *quota) {
            text.push_str(&format!("the quota of {} is not met: the rest is in use, or was added here\n", size(quota)));
        }
        text
    })
}
