//! `hanok features backfill`: the past of a view, out of its source, day by day into its offline folder.

use std::io::Write as _;
use std::path::PathBuf;

use hanok_features::ErrorCode;
use hanok_offline::{BackfillBounds, BackfillReport, backfill};
use tokio::runtime::Handle;

use super::period::{Progress, instant, period};
use super::places::{folder_of, places};
use crate::commands::error::CommandError;
use crate::commands::text_table::TextTable;
use crate::features::{mistake, read_declarations, told_to_operator};
use crate::settings::{ReachFlags, size};

/// Arguments of `hanok features backfill`.
#[derive(Debug, clap::Args)]
pub(crate) struct BackfillArguments {
    /// The file with the declarations, in YAML; sources and offline folders are found from its folder
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// The feature view, which declares `source.path` and `offline.path`
    view: String,
    /// First day, in UTC
    #[arg(long, value_name = "DAY")]
    from: String,
    /// The day behind the last
    #[arg(long, value_name = "DAY")]
    to: String,
    /// Refuse, and touch nothing, when a feature is null more often than this (0 to 1) in the rows of the period, those of days that are there already among them
    #[arg(long, value_name = "RATE")]
    maximum_null_rate: Option<f64>,
    /// About how much memory rows may take, such as `1GiB`; the largest row group of the source comes on top. What does not fit
    /// waits on the disk meanwhile, in `.hanok/backfill` beside the declarations
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    memory: u64,
    #[command(flatten)]
    reach: ReachFlags,
}

/// Runs it. Blocks.
pub(super) fn run(arguments: &BackfillArguments, runtime: Handle) -> Result<(), CommandError> {
    if let Some(rate) = arguments.maximum_null_rate.filter(|rate| !(0.0..=1.0).contains(rate)) {
        let told = format!("`--maximum-null-rate`: expected 0 to 1, got `{rate}`");
        return Err(mistake(ErrorCode::InvalidArgument, &told));
    }
    let set = read_declarations(&arguments.file)?;
    let view = set.view(&arguments.view).map_err(told_to_operator)?;
    let period = period(instant("--from", &arguments.from)?, instant("--to", &arguments.to)?)?;
    let storage = places(&arguments.file, &arguments.reach, runtime)?;
    let mut progress = Progress::new(view.name.clone());
    let mut tell = |day: hanok_offline::DayDone| progress.tell(day.done, day.of, "days");
    let bounds = BackfillBounds {
        maximum_null_rate: arguments.maximum_null_rate,
        memory: usize::try_from(arguments.memory).unwrap_or(usize::MAX),
        scratch: folder_of(&arguments.file).join(".hanok/backfill"),
    };
    let report = backfill(&storage, view, period, &bounds, &mut tell)?;
    let names: Vec<&str> = view.features.iter().map(|feature| feature.name.as_str()).collect();
    write!(std::io::stdout().lock(), "{}", text_form(&view.name, &names, &report))?;
    Ok(())
}

fn text_form(view: &str, features: &[&str], report: &BackfillReport) -> String {
    let BackfillReport { written, unchanged, removed, rows, seen, nulls } = report;
    let mut text = format!(
        "{view}: {written} days with {rows} rows written, {unchanged} days were there already, {removed} removed because \
         they have no rows any more\n"
    );
    if seen.without_time + seen.without_key > 0 {
        let (time, key) = (seen.without_time, seen.without_key);
        text.push_str(&format!("{time} rows left out without a time, {key} without a key\n"));
    }
    if *rows > 0 {
        let mut table = TextTable::new(&["feature", ">null", ">rate"]);
        for (feature, nulls) in features.iter().zip(nulls) {
            #[allow(clippy::cast_precision_loss, reason = "a rate")]
            let rate = *nulls as f64 / *rows as f64;
            table.row([(*feature).to_owned(), nulls.to_string(), format!("{rate:.4}")]);
        }
        text.push_str(&table.to_string());
    }
    text
}
