//! `hanok features join`: a table of entities with the features that held at each row's time.

use std::io::Write as _;
use std::path::PathBuf;

use hanok_features::FeatureSet;
use hanok_offline::{JoinPlan, JoinReport, OfflineError, join};
use serde_json::json;
use tokio::runtime::Handle;

use super::places::{from_here, places};
use crate::commands::error::CommandError;
use crate::commands::text_table::TextTable;
use crate::features::read_declarations;
use crate::settings::ReachFlags;

/// Arguments of `hanok features join`.
#[derive(Debug, clap::Args)]
pub(crate) struct JoinArguments {
    /// The file with the declarations, in YAML; sources are found from its folder
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// A feature service: its features, called as the inputs of its model
    #[arg(long, value_name = "NAME", conflicts_with = "features", required_unless_present = "features")]
    service: Option<String>,
    /// Features as VIEW:FEATURE, or VIEW:* for all of a view; several with commas
    #[arg(long, value_name = "VIEW:FEATURE", value_delimiter = ',')]
    features: Vec<String>,
    /// With --features: call the columns VIEW__FEATURE
    #[arg(long, requires = "features")]
    full_names: bool,
    /// The rows to be answered, `.parquet` or `.csv`, on a disk or in a bucket (`s3://BUCKET/PATH`): columns with the join keys and a time, and any others
    #[arg(long, value_name = "FILE")]
    entities: PathBuf,
    /// The column with the time of each row; what has no time zone is UTC
    #[arg(long, value_name = "COLUMN", default_value = "event_timestamp")]
    event_timestamp: String,
    /// Where to write, `.parquet` or `.csv`: the rows in their order with all their columns, and the features beside them
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: ReachFlags,
}

/// Runs it. Blocks.
pub(super) fn run(arguments: &JoinArguments, runtime: Handle) -> Result<(), CommandError> {
    let set = read_declarations(&arguments.file)?;
    let plan = plan(&set, arguments)?;
    let storage = places(&arguments.file, &arguments.reach, runtime)?;
    let (entities, out) = (from_here(&arguments.entities)?, from_here(&arguments.out)?);
    let report = join(&storage, &plan, &entities, &arguments.event_timestamp, &out)?;
    let mut stdout = std::io::stdout().lock();
    if arguments.json {
        writeln!(stdout, "{}", json_form(&report))?;
    } else {
        write!(stdout, "{}", text_form(&report))?;
        writeln!(stdout, "{} rows written to {}", report.rows, arguments.out.display())?;
    }
    Ok(())
}

fn plan(set: &FeatureSet, arguments: &JoinArguments) -> Result<JoinPlan, CommandError> {
    let Some(name) = &arguments.service else {
        return Ok(JoinPlan::features(set, &arguments.features, arguments.full_names)?);
    };
    let service = set.service(name).map_err(OfflineError::from)?;
    Ok(JoinPlan::service(set, service)?)
}

fn text_form(report: &JoinReport) -> String {
    let mut table = TextTable::new(&["feature", "column", ">filled", ">too old", ">null"]);
    for feature in &report.features {
        let null = report.rows - feature.filled - feature.too_old;
        let name = format!("{}:{}", feature.feature.view, feature.feature.feature);
        table.row([
            name,
            feature.feature.column.clone(),
            feature.filled.to_string(),
            feature.too_old.to_string(),
            null.to_string(),
        ]);
    }
    let mut text = table.to_string();
    for view in report.views.iter().filter(|view| view.seen.without_time + view.seen.without_key > 0) {
        text.push_str(&format!(
            "{}: {} of {} rows left out without a time, {} without a key\n",
            view.view, view.seen.without_time, view.seen.rows, view.seen.without_key
        ));
    }
    text
}

fn json_form(report: &JoinReport) -> serde_json::Value {
    let views: Vec<_> = report
        .views
        .iter()
        .map(|view| {
            json!({
                "view": view.view,
                "rows_read": view.seen.rows,
                "rows_without_time": view.seen.without_time,
                "rows_without_key": view.seen.without_key,
                "found": view.found,
            })
        })
        .collect();
    let features: Vec<_> = report
        .features
        .iter()
        .map(|one| {
            json!({
                "view": one.feature.view,
                "feature": one.feature.feature,
                "column": one.feature.column,
                "filled": one.filled,
                "too_old": one.too_old,
            })
        })
        .collect();
    json!({ "rows": report.rows, "views": views, "features": features })
}
