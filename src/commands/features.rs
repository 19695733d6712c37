//! `hanok features`: check declared features, write rows into the embedded store, look features up as a model would, and
//! what is done with their past.
//!
//! Works on files and stores itself; no server is needed, and one may run beside it.

mod backfill;
mod join;
mod materialize;
mod period;
mod places;
mod skew;

use std::collections::BTreeSet;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hanok_features::ErrorCode::{InvalidArgument, NotFound, Unsupported};
use hanok_features::{
    FeatureSet, FeatureView, Lookup, LookupSettings, OpenStores, RowsFormat, ServiceFeature, WritableStore,
    read_object, read_rows, system_clock,
};
use serde_json::Value;

use self::places::beside;
use super::error::CommandError;
use crate::features::{mistake, open_regular, open_some_stores, read_declarations, told_to_operator, unreadable};

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
    /// Write rows into a view's online store: an embedded one, or Redis hashes; a server that runs sees them at once. Rows are
    /// written whole: a feature that a line of JSON leaves out is null afterwards
    Put {
        /// The file with the declarations, in YAML
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// The feature view
        view: String,
        /// The rows: `.csv` with a header line, or `.jsonl`; `-` for JSON lines from standard input
        rows: PathBuf,
    },
    /// Build a training set: for each row of a table the newest features at or before its time, never later
    ///
    /// Reads the files that the views declare under `source.path` (Parquet and CSV, on a disk or in a bucket). A feature that is older at the row's
    /// time than its `maximum_age_seconds` is null, as is one whose key has no row yet: defaults are for serving. Of rows of
    /// one key and time the one created last counts (`source.created_time`), otherwise the last of the file.
    Join(join::JoinArguments),
    /// Write the newest row of each key into the view's online store, with its event time
    ///
    /// Reads the view's offline folder if it declares one, otherwise its source. A stored row that is newer stays, so any
    /// interval may be materialised again, also after the command was killed. Without --from it goes on behind the newest row
    /// that it read, which is kept in the store itself: one that was emptied or replaced is filled anew. What arrives with
    /// older event times later is found with --from or --again.
    Materialize(materialize::MaterializeArguments),
    /// Check a view's rows and keep them, one Parquet file a day, in its offline folder, on a disk or in a bucket
    ///
    /// Whole days take the place of what was there, each at once: it may be run again at any time, and goes on after it
    /// was killed. Days that are there already, from the same files by the same declaration, are left as they are.
    Backfill(backfill::BackfillArguments),
    /// Compare what a server served (`hanok serve --feature-log`) with the join of the same keys at the same times
    ///
    /// Tells for each feature how many rows agree, differ, were served nothing or a default, or have nothing in the past; how
    /// far numbers are apart; and the population stability index. Exit status 3 when more rows of a feature than --threshold
    /// do not agree.
    Skew(skew::SkewArguments),
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
        FeaturesAction::Join(arguments) => beside(move |runtime| join::run(&arguments, runtime)).await?,
        FeaturesAction::Materialize(arguments) => materialize::run(&arguments).await?,
        FeaturesAction::Backfill(arguments) => beside(move |runtime| backfill::run(&arguments, runtime)).await?,
        FeaturesAction::Skew(arguments) => return beside(move |runtime| skew::run(&arguments, runtime)).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn get(file: &Path, service: &str, rows: &[String]) -> Result<(), CommandError> {
    let set = read_declarations(file)?;
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| read_object(row.as_bytes()).map(Value::Object))
        .collect::<Result<_, _>>()
        .map_err(|error| mistake(InvalidArgument, &format!("expected rows as JSON objects: {error}")))?;
    let stores = stores_of(&set, service)?;
    let stores = open_some_stores(&set, file, &stores)?;
    if let Some(name) = stores.without_file().next() {
        let remedy = "see that its path is right; the first `hanok features put` makes it";
        return Err(mistake(NotFound, &format!("store `{name}` has no file: {remedy}")));
    }
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
    let stores = open_some_stores(&set, file, &BTreeSet::from([view.store.as_str()]))?;
    let store = writable(&stores, view)?;
    let mut taken = 0;
    for rows in rows.chunks(AT_ONCE) {
        taken += store.write(view, rows).await.map_err(told_to_operator)?;
    }
    let older = rows.len() - taken;
    writeln!(std::io::stdout().lock(), "{taken} rows written, {older} left out because a newer one is there")?;
    Ok(())
}

/// Names of the stores that a service reads.
fn stores_of<'s>(set: &'s FeatureSet, service: &str) -> Result<BTreeSet<&'s str>, CommandError> {
    let service = set.service(service).map_err(told_to_operator)?;
    let store = |feature: &ServiceFeature| set.view(&feature.view).map(|view| view.store.as_str());
    service.features.iter().map(store).collect::<Result<_, _>>().map_err(told_to_operator)
}

/// The store of a view, to be written to.
fn writable(stores: &OpenStores, view: &FeatureView) -> Result<WritableStore, CommandError> {
    stores.writable(&view.store).ok_or_else(|| {
        let why = "which is neither embedded nor Redis hashes with `event_time`: write with its own tools";
        mistake(Unsupported, &format!("view `{}` is in store `{}`, {why}", view.name, view.store))
    })
}

fn rows_of(path: &Path) -> Result<(RowsFormat, Box<dyn Read>), CommandError> {
    if path.as_os_str() == "-" {
        return Ok((RowsFormat::JsonLines, Box::new(std::io::stdin())));
    }
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => RowsFormat::Csv,
        Some("jsonl" | "ndjson" | "json") => RowsFormat::JsonLines,
        _ => {
            let text = format!("expected a file `.csv` or `.jsonl`, got `{}`", path.display());
            return Err(mistake(InvalidArgument, &text));
        }
    };
    let file = open_regular(path).map_err(|error| unreadable(path, &error))?;
    Ok((format, Box::new(std::io::BufReader::new(file))))
}
