//! `hanok declared`: what is declared in a folder or on a Git branch beside what is in force, and a check without a server.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hanok_api::{FolderFault, check_declared_folder};
use serde_json::{Value, json};

use super::apply::{client, list, word, write_difference};
use super::error::CommandError;
use crate::client::AdminCall;
use crate::settings::AdminFlags;

/// Arguments of `hanok declared`.
#[derive(Debug, clap::Args)]
pub(crate) struct DeclaredArguments {
    /// What to do; without it, the state is shown. Exit status 1: something differs or is not valid
    #[command(subcommand)]
    action: Option<DeclaredAction>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    admin: AdminFlags,
}

#[derive(Debug, clap::Subcommand)]
enum DeclaredAction {
    /// Show what was read from where, what is wrong with it, and how what is in force differs from it
    Show,
    /// Look now and put in force what is declared: also where drift is only told, and where the kill switch holds the table
    Sync,
    /// Check the declarations of a folder without a server, as continuous integration does before a merge
    Check {
        /// The folder
        folder: PathBuf,
    },
}

/// Runs the command.
pub(crate) async fn run(arguments: DeclaredArguments) -> Result<ExitCode, CommandError> {
    let DeclaredArguments { action, json, admin } = arguments;
    let mut out = std::io::stdout().lock();
    let show = || AdminCall::get("/v1/declared".to_owned());
    let answer = match action.unwrap_or(DeclaredAction::Show) {
        DeclaredAction::Check { folder } => return check(&mut out, &folder, json),
        DeclaredAction::Show => client(&admin)?.json(show()).await?,
        DeclaredAction::Sync => {
            let client = client(&admin)?;
            client.json(AdminCall::post("/v1/declared/sync".to_owned())).await?;
            client.json(show()).await?
        }
    };
    if json {
        writeln!(out, "{answer:#}")?;
    } else {
        write_status(&mut out, &answer)?;
    }
    let in_step = answer["state"] == "in_step" && list(&answer["drift"]["resources"]).is_empty();
    Ok(if in_step { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(out: &mut impl Write, folder: &Path, json: bool) -> Result<ExitCode, CommandError> {
    match check_declared_folder(folder) {
        Ok((files, resources)) if json => {
            writeln!(out, "{:#}", json!({ "files": files, "resources": resources, "problems": [] }))?;
            Ok(ExitCode::SUCCESS)
        }
        Ok((files, resources)) => {
            writeln!(out, "valid: {resources} resources in {files} files")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(FolderFault::Unreadable(failure)) => {
            Err(CommandError::input(format!("`{}`: {}; {}", folder.display(), failure.message, failure.remedy)))
        }
        Err(FolderFault::Problems(problems)) if json => {
            writeln!(out, "{:#}", json!({ "problems": problems }))?;
            Ok(ExitCode::FAILURE)
        }
        Err(FolderFault::Problems(problems)) => {
            for problem in &problems {
                writeln!(out, "{problem}")?;
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

fn write_status(out: &mut impl Write, answer: &Value) -> std::io::Result<()> {
    writeln!(out, "{}: {}", word(&answer["place"]), word(&answer["state"]).replace('_', " "))?;
    for reason in [&answer["reason"], &answer["failure"]["remedy"]].into_iter().filter(|reason| reason.is_string()) {
        writeln!(out, "  {}", word(reason))?;
    }
    for problem in list(&answer["problems"]) {
        writeln!(out, "  {}", problem_text(&problem))?;
    }
    let origin = |name: &str, at: &Value| match (&at["commit"]["id"], &at["digest"]) {
        (Value::String(id), _) => {
            let short: String = id.chars().take(12).collect();
            format!("{name}: commit {short} ({}) by {}", word(&at["commit"]["subject"]), word(&at["commit"]["author"]))
        }
        (_, digest) => format!("{name}: {}", word(digest)),
    };
    if answer["read"].is_object() {
        writeln!(out, "{}", origin("read", &answer["read"]))?;
    }
    if answer["in_force"].is_object() {
        let revision = word(&answer["in_force"]["revision"]);
        writeln!(out, "{}, revision {revision}", origin("in force", &answer["in_force"]["origin"]))?;
    }
    let drift = &answer["drift"];
    for change in list(&drift["resources"]) {
        let what = match change["action"].as_str() {
            Some("created") => "is missing",
            Some("removed") => "is no longer declared",
            _ => "differs",
        };
        writeln!(
            out,
            "{} `{}` {what} (what is in force -> what is declared)",
            word(&change["kind"]),
            word(&change["name"])
        )?;
        for difference in list(&change["differences"]) {
            write_difference(out, &difference)?;
        }
    }
    for name in list(&drift["not_declared"]) {
        writeln!(out, "`{}` is in force and not declared there; it is left alone", word(&name))?;
    }
    for runtime in list(&drift["runtimes"]) {
        writeln!(out, "runtime `{}` goes by another table", word(&runtime["name"]))?;
    }
    for missing in list(&drift["missing"]) {
        writeln!(out, "{}", word(&missing))?;
    }
    Ok(())
}

/// `FILE:LINE:COLUMN: KIND/NAME: PATH: MESSAGE; REMEDY`.
fn problem_text(problem: &Value) -> String {
    let text = |name: &str| problem[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let number = |name: &str| problem[name].as_u64().map(|number| number.to_string());
    let place: Vec<String> = [text("file"), number("line"), number("column")].into_iter().flatten().collect();
    let place = Some(place.join(":")).filter(|place| !place.is_empty());
    let parts: Vec<String> = [place, text("resource"), text("path"), text("message")].into_iter().flatten().collect();
    format!("{}; {}", parts.join(": "), word(&problem["remedy"]))
}
