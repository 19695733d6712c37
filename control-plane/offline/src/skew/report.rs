//! The whole comparison: the log, the join at its times, and feature by feature what became of it.

use hanok_features::{FeatureService, FeatureSet};

use super::compared::{SkewedFeature, compare};
use super::served_log::read_served;
use crate::error::OfflineError;
use crate::join::{JoinPlan, answer};
use crate::materialize::value;
use crate::period::Period;
use crate::storage::Storage;
use crate::table::NO_ROW;

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct SkewReport {
    /// Rows of the service in the log.
    pub rows: u64,
    /// Rows of other services, or outside of the period.
    pub others: u64,
    /// Lines without an end, which a server that was killed leaves.
    pub cut_off: u64,
    /// In the order of the service.
    pub features: Vec<SkewedFeature>,
}

/// Compares what a server logged (`files`, in this order) with the join of the same keys at the same times. Blocks.
///
/// # Errors
/// What is wrong with the log, the declarations or the views' past.
pub fn skew(
    storage: &dyn Storage,
    set: &FeatureSet,
    service: &FeatureService,
    files: &[String],
    period: Period,
    tolerance: f64,
) -> Result<SkewReport, OfflineError> {
    let plan = JoinPlan::service(set, service)?;
    let mut served = read_served(storage, files, &service.name, &plan, period)?;
    let mut features: Vec<Option<SkewedFeature>> = plan.asked.iter().map(|_| None).collect();
    for (view, keys) in plan.views.iter().zip(std::mem::take(&mut served.keys)) {
        let answer = answer(storage, view, keys, &served.times, &|row| format!("row `{}` of the log", row + 1))?;
        for (at, column) in view.columns.iter().enumerate() {
            let (joined, places) = answer.feature(at);
            let online = &served.features[*column];
            let looked_up = served.looked_up[*column].iter().enumerate().filter(|(_, looked_up)| **looked_up);
            let pairs = looked_up.map(|(row, _)| {
                let place = places[row];
                let offline = if place == NO_ROW { None } else { value(joined, place as usize) };
                (value(online, row), offline)
            });
            let asked = &plan.asked[*column];
            features[*column] = Some(SkewedFeature {
                feature: format!("{}:{}", asked.view, asked.feature),
                input: asked.column.clone(),
                ..compare(pairs, tolerance)
            });
        }
    }
    Ok(SkewReport {
        rows: served.times.len() as u64,
        others: served.others,
        cut_off: served.cut_off,
        features: features.into_iter().flatten().collect(),
    })
}
