//! `hanok apply` and `hanok rollback`: declared resources go to a control plane, or back to an earlier revision.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::error::CommandError;
use crate::bounded_text::{self, LARGEST_SETTINGS};
use crate::client::{AdminCall, AdminClient};
use crate::settings::AdminFlags;

/// Arguments of `hanok apply`.
#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArguments {
    /// Files with resources in YAML or JSON, several documents each if need be; `-` for standard input
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove resources that the files do not declare
    #[arg(long)]
    prune: bool,
    /// Refuse when another revision than this is in force
    #[arg(long, value_name = "REVISION")]
    expect: Option<u64>,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminFlags,
}

/// Arguments of `hanok rollback`.
#[derive(Debug, clap::Args)]
pub(crate) struct RollbackArguments {
    /// The revision whose resources come back, as a new revision
    revision: u64,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminFlags,
}

/// Runs `hanok apply`.
pub(crate) async fn run(arguments: ApplyArguments) -> Result<ExitCode, CommandError> {
    let mut documents = String::new();
    for file in &arguments.files {
        let text = read(file)?;
        if !documents.is_empty() {
            documents.push_str("\n---\n");
        }
        documents.push_str(&text);
    }
    let mut call = AdminCall::post(format!("/v1/apply?dry_run={}&prune={}", arguments.dry_run, arguments.prune));
    call.body = Some(("application/yaml", documents.as_bytes()));
    if let Some(expected) = arguments.expect {
        call.headers.push(("if-match", format!("\"{expected}\"")));
    }
    let answer = client(&arguments.admin)?.json(call).await?;
    show(&answer, arguments.dry_run, arguments.json)
}

/// Runs `hanok rollback`.
pub(crate) async fn run_rollback(arguments: RollbackArguments) -> Result<ExitCode, CommandError> {
    let body = serde_json::json!({"revision": arguments.revision}).to_string();
    let mut call = AdminCall::post("/v1/rollback".to_owned());
    call.body = Some(("application/json", body.as_bytes()));
    let answer = client(&arguments.admin)?.json(call).await?;
    show(&answer, false, arguments.json)
}

/// A client for the control plane that the flags name.
pub(super) fn client(flags: &AdminFlags) -> Result<AdminClient, CommandError> {
    let token = match &flags.token_file {
        None => None,
        Some(path) => {
            let text = bounded_text::read(path, LARGEST_SETTINGS).map_err(|error| {
                CommandError::input(format!("--token-file: `{}` cannot be read: {error}", path.display()))
            })?;
            Some(text.trim().to_owned())
        }
    };
    Ok(AdminClient::new(flags.admin.clone(), token))
}

fn read(path: &Path) -> Result<String, CommandError> {
    if path.as_os_str() == "-" {
        return bounded_text::read_from(std::io::stdin().lock(), LARGEST_SETTINGS)
            .map_err(|error| CommandError::input(format!("standard input cannot be read: {error}")));
    }
    bounded_text::read(path, LARGEST_SETTINGS)
        .map_err(|error| CommandError::input(format!("--file: `{}` cannot be read: {error}", path.display())))
}

/// Prints a plan: a line for each resource, its fields below, then what a person should know.
fn show(answer: &Value, dry_run: bool, json: bool) -> Result<ExitCode, CommandError> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{answer:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = answer.get("plan").unwrap_or(answer);
    for change in list(&plan["changes"]) {
        writeln!(out, "{} {} `{}`", word(&change["action"]), word(&change["kind"]), word(&change["name"]))?;
        for difference in list(&change["differences"]) {
            write_difference(&mut out, &difference)?;
        }
    }
    let traffic = list(&plan["traffic"]);
    if !traffic.is_empty() {
        writeln!(out, "traffic table")?;
        for difference in &traffic {
            write_difference(&mut out, difference)?;
        }
    }
    if let Some(bytes) = plan["memory"]["total_bytes"].as_u64().filter(|bytes| *bytes > 0) {
        writeln!(out, "memory of the arms: {} MB", bytes.div_ceil(1_000_000))?;
    }
    for warning in list(&plan["warnings"]) {
        writeln!(out, "warning: {}", word(&warning))?;
    }
    let nothing = list(&plan["changes"]).is_empty() && traffic.is_empty();
    match (answer["revision"].as_u64(), dry_run, nothing) {
        (_, _, true) => writeln!(out, "nothing to change")?,
        (_, true, false) => writeln!(out, "nothing was changed: apply without --dry-run to do this")?,
        (Some(revision), false, false) => writeln!(out, "revision {revision} is in force")?,
        (None, false, false) => writeln!(out, "done")?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn write_difference(out: &mut impl std::io::Write, difference: &Value) -> std::io::Result<()> {
    let path = word(&difference["path"]);
    let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
    match (difference.get("before"), difference.get("after")) {
        (Some(before), Some(after)) => writeln!(out, "  ~ {path}{before} -> {after}"),
        (None, Some(after)) => writeln!(out, "  + {path}{after}"),
        (Some(before), None) => writeln!(out, "  - {path}{before}"),
        (None, None) => Ok(()),
    }
}

/// The elements of an array; none of anything else.
pub(super) fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// A text as it is, anything else as JSON.
pub(super) fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
