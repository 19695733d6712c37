//! `hanok features skew`: what a server served beside what a training set would have at the same moments.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hanok_features::ErrorCode;
use hanok_offline::{Period, Places, SkewReport, Storage as _, skew};
use serde_json::json;
use tokio::runtime::Handle;

use super::period::{instant, period};
use super::places::{from_here, places};
use crate::commands::error::CommandError;
use crate::commands::text_table::TextTable;
use crate::features::{SEGMENTS_OF_LOG, mistake, read_declarations, segments, told_to_operator};
use crate::settings::ReachFlags;

/// Exit status when a feature is above the threshold.
const ABOVE: u8 = 3;

/// Arguments of `hanok features skew`.
#[derive(Debug, clap::Args)]
pub(crate) struct SkewArguments {
    /// The file with the declarations, in YAML; sources are found from its folder
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// The feature service
    service: String,
    /// The folder that a server logged into (`hanok serve --feature-log`), or one of its files; also where they were copied
    /// to in a bucket (`s3://BUCKET/PATH`)
    #[arg(long, value_name = "PATH")]
    log: PathBuf,
    /// First instant that counts
    #[arg(long, value_name = "INSTANT")]
    from: Option<String>,
    /// End of what counts, which is no part of it
    #[arg(long, value_name = "INSTANT")]
    to: Option<String>,
    /// How far apart two numbers may be and still be the same, as a share of the larger
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    tolerance: f64,
    /// The share of rows of a feature that may differ; above it the exit status is 3
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    threshold: f64,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: ReachFlags,
}

/// Runs it. Blocks.
pub(super) fn run(arguments: &SkewArguments, runtime: Handle) -> Result<ExitCode, CommandError> {
    for (option, value) in [("--tolerance", arguments.tolerance), ("--threshold", arguments.threshold)] {
        if !(0.0..=1.0).contains(&value) {
            return Err(mistake(ErrorCode::InvalidArgument, &format!("`{option}`: expected 0 to 1, got `{value}`")));
        }
    }
    let set = read_declarations(&arguments.file)?;
    let service = set.service(&arguments.service).map_err(told_to_operator)?;
    let bound = |option: &str, text: &Option<String>, otherwise: i64| {
        text.as_ref().map_or(Ok(otherwise), |text| instant(option, text))
    };
    let interval: Period =
        period(bound("--from", &arguments.from, i64::MIN)?, bound("--to", &arguments.to, i64::MAX)?)?;
    let storage = places(&arguments.file, &arguments.reach, runtime)?;
    let files = files(&storage, &arguments.log)?;
    let report = skew(&storage, &set, service, &files, interval, arguments.tolerance)?;
    let mut stdout = std::io::stdout().lock();
    if arguments.json {
        writeln!(stdout, "{}", json_form(&report, arguments.threshold))?;
    } else {
        write!(stdout, "{}", text_form(&report))?;
    }
    let above = report.features.iter().any(|feature| feature.mismatch_rate() > arguments.threshold);
    Ok(if above { ExitCode::from(ABOVE) } else { ExitCode::SUCCESS })
}

/// The files of a log, in their order.
fn files(storage: &Places, log: &Path) -> Result<Vec<String>, CommandError> {
    let Some(object) = log.to_str().filter(|log| Places::is_object(log)) else {
        return segments(log)?.iter().map(|file| from_here(file)).collect();
    };
    if log.extension().is_some_and(|ending| ending == "jsonl") {
        return Ok(vec![object.to_owned()]);
    }
    Ok(storage.list(&format!("{}/{SEGMENTS_OF_LOG}", object.trim_end_matches('/')))?)
}

fn text_form(report: &SkewReport) -> String {
    let titles = [
        "feature",
        ">rows",
        ">equal",
        ">differ",
        ">not served",
        ">not joined",
        ">mismatch",
        ">mean apart",
        ">most apart",
        ">psi",
    ];
    let mut table = TextTable::new(&titles);
    let digits = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    for feature in &report.features {
        table.row([
            feature.feature.clone(),
            feature.rows.to_string(),
            feature.equal.to_string(),
            feature.differ.to_string(),
            feature.missing_online.to_string(),
            feature.missing_offline.to_string(),
            format!("{:.4}", feature.mismatch_rate()),
            digits(feature.mean_difference),
            digits(feature.largest_difference),
            digits(feature.stability_index),
        ]);
    }
    let mut text = table.to_string();
    text.push_str(&format!("{} rows of the log compared, {} others passed over\n", report.rows, report.others));
    if report.cut_off > 0 {
        text.push_str(&format!("{} lines have no end and were left out\n", report.cut_off));
    }
    text
}

fn json_form(report: &SkewReport, threshold: f64) -> serde_json::Value {
    let features: Vec<_> = report
        .features
        .iter()
        .map(|feature| {
            json!({
                "feature": feature.feature,
                "input": feature.input,
                "rows": feature.rows,
                "equal": feature.equal,
                "differ": feature.differ,
                "missing_online": feature.missing_online,
                "missing_offline": feature.missing_offline,
                "mismatch_rate": feature.mismatch_rate(),
                "mean_absolute_difference": feature.mean_difference,
                "largest_difference": feature.largest_difference,
                "population_stability_index": feature.stability_index,
                "above_threshold": feature.mismatch_rate() > threshold,
            })
        })
        .collect();
    json!({
        "rows": report.rows,
        "other_rows": report.others,
        "lines_without_end": report.cut_off,
        "threshold": threshold,
        "features": features,
    })
}
