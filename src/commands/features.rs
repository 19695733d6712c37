//! `hanok features`: check declared features, write rows into the embedded store, look features up as a model would.
//!
//! Works on files and stores itself; no server is needed, and one may run beside it.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hanok_features::{Lookup, LookupSettings, RowsFormat, read_rows, system_clock};
use serde_json::Value;

use super::error::CommandError;
use crate::features::{open_stores, read_declarations, told_to_operator};

/// Arguments of `hanok features`.
#[derive(Debug, clap::Args)]
pub(crate) struct FeaturesArguments {
    #[command(subcommand)]
    action: FeaturesAction,
}

#[derive(Debug, clap::Subcommand)]
enum FeaturesAction {
    /// Check declared entities, stores, views and services; tell every fault with its line
    Validate {
        /// The file with the declarations, in YAML
        file: PathBuf,
    },
    /// Look up every feature of a service; prints a JSON object a row
    Get {
        /// The file with the declarations, in YAML
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// The feature service
        service: String,
        /// Rows as JSON objects with values of join keys, and of inputs that override features
        #[arg(required = true, value_name = "ROW")]
        rows: Vec<String>,
    },
    /// Write rows into a view of an embedded store; a server that runs sees them at once
    Put {
        /// The file with the declarations, in YAML
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// The feature view
        view: String,
        /// The rows: `.csv` with a header line, or `.jsonl`; `-` for JSON lines from standard input
        rows: PathBuf,
    },
}

/// Runs `hanok features`.
pub(crate) async fn run(arguments: FeaturesArguments) -> Result<ExitCode, CommandError> {
    match arguments.action {
        FeaturesAction::Validate { file } => {
            let set = read_declarations(&file)?;
            let mut out = std::io::stdout().lock();
            let (entities, stores) = (set.entities().len(), set.stores().len());
            let (views, services) = (set.views().len(), set.services().len());
            writeln!(out, "valid: {entities} entities, {stores} stores, {views} views, {services} services")?;
        }
        FeaturesAction::Get { file, service, rows } => get(&file, &service, &rows).await?,
        FeaturesAction::Put { file, view, rows } => put(&file, &view, &rows).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn get(file: &Path, service: &str, rows: &[String]) -> Result<(), CommandError> {
    let set = read_declarations(file)?;
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| serde_json::from_str(row))
        .collect::<Result<_, _>>()
        .map_err(|error| CommandError::input(format!("expected rows as JSON objects: {error}")))?;
    let stores = open_stores(&set, file)?;
    let lookup =
        Lookup::start(&set, service, &stores, LookupSettings::default(), system_clock).map_err(told_to_operator)?;
    let request = lookup.read_request(&rows).map_err(told_to_operator)?;
    let resolved = lookup.resolve(&request).await.map_err(told_to_operator)?;
    lookup.close().await;
    let mut out = std::io::stdout().lock();
    for row in resolved.to_json() {
        writeln!(out, "{row}")?;
    }
    Ok(())
}

async fn put(file: &Path, view: &str, rows: &Path) -> Result<(), CommandError> {
    /// Rows of one transaction.
    const AT_ONCE: usize = 65_536;
    let set = read_declarations(file)?;
    let view = set.view(view).map_err(told_to_operator)?;
    let (format, input) = rows_of(rows)?;
    let rows = read_rows(view, format, input, system_clock()).map_err(told_to_operator)?;
    let stores = open_stores(&set, file)?;
    let store = stores.embedded(&view.store).ok_or_else(|| {
        CommandError::input(format!(
            "view `{}` is in store `{}`, which is not embedded: write with its own tools",
            view.name, view.store
        ))
    })?;
    let mut taken = 0;
    for rows in rows.chunks(AT_ONCE) {
        taken += store.write(&view.name, rows).await.map_err(told_to_operator)?;
    }
    let older = rows.len() - taken;
    writeln!(std::io::stdout().lock(), "{taken} rows written, {older} left out because a newer one is there")?;
    Ok(())
}

fn rows_of(path: &Path) -> Result<(RowsFormat, Box<dyn Read>), CommandError> {
    if path.as_os_str() == "-" {
        return Ok((RowsFormat::JsonLines, Box::new(std::io::stdin())));
    }
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => RowsFormat::Csv,
        Some("jsonl" | "ndjson" | "json") => RowsFormat::JsonLines,
        _ => return Err(CommandError::input(format!("expected a file `.csv` or `.jsonl`, got `{}`", path.display()))),
    };
    let file = File::open(path)
        .map_err(|error| CommandError::input(format!("`{}` cannot be read: {error}", path.display())))?;
    Ok((format, Box::new(std::io::BufReader::new(file))))
}
