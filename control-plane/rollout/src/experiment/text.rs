//! A report in words.

use super::report::{Comparison, ExperimentReport, Verdict};

/// The report as text, one line per comparison.
#[must_use]
pub fn report_text(report: &ExperimentReport) -> String {
    let units: u64 = report.units.iter().sum();
    let ratio = if report.sample_ratio_mismatch {
        "the arms do not get what their shares promise: no verdict may be trusted until that is explained"
    } else {
        "the arms get what their shares promise, as far as can be seen"
    };
    let mut lines = vec![format!(
        "experiment {}: {units} units, by arm {:?}; {ratio} (p = {})",
        report.experiment,
        report.units,
        p_value(report.sample_ratio_p_value)
    )];
    lines.extend(report.comparisons.iter().map(comparison_line));
    lines.join("\n") + "\n"
}

fn comparison_line(comparison: &Comparison) -> String {
    let verdict = match comparison.verdict {
        Verdict::Better => "is better than the control",
        Verdict::Worse => "is worse than the control",
        Verdict::Undecided => "is not shown to differ from the control so far",
        Verdict::Invalid => "has no verdict, the sample ratio is wrong",
    };
    let place = comparison.segment.as_ref().map(|segment| format!(" in segment {segment}")).unwrap_or_default();
    let level = (1.0 - comparison.alpha) * 100.0;
    let mut text = format!(
        "{}{place}: {} {verdict}: {:.6} of {} units against {:.6} of {}",
        comparison.metric,
        comparison.treatment,
        comparison.treatment_mean,
        comparison.treatment_units,
        comparison.control_mean,
        comparison.control_units
    );
    if let Some(interval) = comparison.difference {
        text += &format!(", difference {:+.6} to {:+.6}", interval.low, interval.high);
    }
    if let Some(ratio) = comparison.ratio {
        let high = ratio.high.map_or_else(|| "unbounded".to_owned(), |high| format!("{high:.3}"));
        text += &format!(", ratio {:.3} to {high}", ratio.low);
    }
    text + &format!(
        " (always valid at {level:.2} %); p = {}, needed {}",
        p_value(comparison.p_value),
        p_value(comparison.alpha)
    )
}

fn p_value(value: f64) -> String {
    if value >= 0.0001 { format!("{value:.4}") } else { format!("{value:.1e}") }
}
