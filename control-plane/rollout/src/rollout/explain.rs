//! Decisions in words, for `hanok rollout explain`. Reads decisions only: what it says is what was stored.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::decision::{Action, Decision, HoldReason, Reason};
use super::evidence::{Evidence, MetricEvidence, TestEvidence};
use super::plan::{Direction, MetricKind, OnInconclusive};

/// The decisions as JSON: each as stored, with its sentences in `explanation`.
#[must_use]
pub fn explain_json(decisions: &[Decision]) -> Value {
    let explained = decisions.iter().map(|decision| {
        let lines: Vec<String> = explain_text(std::slice::from_ref(decision)).lines().map(str::to_owned).collect();
        json!({ "decision": decision, "explanation": lines })
    });
    Value::Array(explained.collect())
}

/// The decisions as text, oldest first as given.
#[must_use]
pub fn explain_text(decisions: &[Decision]) -> String {
    let mut text = String::new();
    for decision in decisions {
        let after = decision.evidence.running_milliseconds as f64 / 1000.0;
        line(&mut text, format_args!("{}  after {after:.1} s of running: {}", decision.id, headline(decision)));
        line(&mut text, format_args!("  because {}", cause(decision)));
        evidence_lines(&mut text, &decision.evidence);
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing into a string cannot fail.
    let _infallible = writeln!(text, "{arguments}");
}

fn headline(decision: &Decision) -> String {
    let verb = match decision.action {
        Action::Start => "started",
        Action::Advance => "advanced",
        Action::Promote => "promoted the candidate",
        Action::Rollback => "rolled back",
        Action::Hold => "held",
        Action::Pause => "paused",
        Action::Resume => "resumed",
        Action::Abort => "aborted",
    };
    if decision.share_before == decision.share_after {
        return format!("{verb}, the candidate's share stays {}", decision.share_after);
    }
    format!("{verb}, the candidate's share goes from {} to {}", decision.share_before, decision.share_after)
}

fn cause(decision: &Decision) -> String {
    match &decision.reason {
        Reason::Command => "a person ordered it".to_owned(),
        Reason::StepComplete { step } => {
            format!("step {} has its time and samples and nothing speaks against the candidate", step + 1)
        }
        Reason::Worse { metric } => {
            let numbers = decision.evidence.metrics.iter().find(|evidence| evidence.name == *metric);
            numbers.map_or_else(|| format!("the candidate is worse in `{metric}`"), worse)
        }
        Reason::WithinMargins { metrics } => {
            format!("the candidate is shown to be within the margin of {}", names(metrics))
        }
        Reason::NothingToProve => "the last step is complete and no metric asks for proof".to_owned(),
        Reason::OutOfTime { rule } => {
            let rule = match (rule, decision.action) {
                (OnInconclusive::Promote, Action::Hold) => "promote, but a watch distrusts the traffic",
                (OnInconclusive::Promote, _) => "promote",
                (OnInconclusive::Hold, _) => "hold and wait for a person",
                (OnInconclusive::Rollback, _) => "roll back",
            };
            format!("the maximum duration is over without a verdict, and the plan says: {rule}")
        }
        Reason::Held(hold) => held(hold, &decision.evidence),
    }
}

fn worse(metric: &MetricEvidence) -> String {
    let higher = metric.kind == Some(MetricKind::Label { better: Direction::Higher });
    let (test, direction) = (&metric.rollback, if higher { "fewer" } else { "more" });
    format!(
        "in `{}` the candidate has {direction} events than its share explains: {}; the evidence reached E = {}, the \
         limit is {}, and a candidate that is no worse would ever reach it with a probability of at most {}",
        metric.name,
        events(metric),
        e_value(test.log_e_max),
        e_value(test.log_limit),
        percent(test.alpha)
    )
}

fn held(hold: &HoldReason, evidence: &Evidence) -> String {
    match hold {
        HoldReason::SampleRatioMismatch => {
            let ratio = &evidence.sample_ratio;
            format!(
                "the arms don't get what their shares promise: of {} units {} went to the candidate, {:.1} were expected \
                 (E = {}, limit {}); look for lost records or a broken assignment before trusting any verdict",
                ratio.baseline_units + ratio.candidate_units,
                ratio.candidate_units,
                ratio.expected_candidate_units,
                e_value(ratio.log_e_max),
                e_value(ratio.log_limit)
            )
        }
        HoldReason::Cancellations => {
            format!("clients give up more often on the candidate: {}", events(&evidence.cancellations))
        }
        HoldReason::MarginsUnproven { metrics } => {
            format!(
                "the last step is complete, but it isn't shown yet that the candidate is within the margin of {}",
                names(metrics)
            )
        }
    }
}

fn evidence_lines(text: &mut String, evidence: &Evidence) {
    let (baseline, candidate) = (&evidence.baseline, &evidence.candidate);
    line(
        text,
        format_args!(
            "  requests: baseline {} ({} failed, {} shed, {} cancelled), candidate {} ({} failed, {} shed, {} cancelled); \
             {} of them in the warm-up",
            baseline.requests,
            baseline.failed,
            baseline.shed,
            baseline.cancelled,
            candidate.requests,
            candidate.failed,
            candidate.shed,
            candidate.cancelled,
            evidence.warm_up_requests
        ),
    );
    for metric in evidence.metrics.iter().chain([&evidence.cancellations]) {
        line(text, format_args!("  {}: {}", metric.name, metric_line(metric)));
    }
    let ratio = &evidence.sample_ratio;
    line(
        text,
        format_args!(
            "  sample ratio: {} units on the candidate, {:.1} expected of {}; E = {} of {}",
            ratio.candidate_units,
            ratio.expected_candidate_units,
            ratio.baseline_units + ratio.candidate_units,
            e_value(ratio.log_e_max),
            e_value(ratio.log_limit)
        ),
    );
    let shares = evidence.shares.iter().map(|change| {
        let after = evidence.started_at.map_or(0, |started_at| change.at.since(started_at)) as f64 / 1000.0;
        format!("{} from {after:.1} s", change.share)
    });
    line(text, format_args!("  candidate's share: {}", shares.collect::<Vec<_>>().join(", ")));
}

fn metric_line(metric: &MetricEvidence) -> String {
    let mut parts = vec![events(metric), test_words("worse", &metric.rollback)];
    parts.extend(metric.promotion.as_ref().map(|test| test_words("within margin", test)));
    match (&metric.kind, metric.threshold_microseconds) {
        (Some(MetricKind::Latency { .. }), Some(threshold)) => parts.push(format!("slow is above {threshold} us")),
        (Some(MetricKind::Latency { .. }), None) => parts.push("threshold still being estimated".to_owned()),
        _ => {}
    }
    if metric.events.repeated > 0 {
        parts.push(format!("{} further events of keys already counted", metric.events.repeated));
    }
    if metric.lost_key_rate > 0.01 {
        parts.push(format!("{} of new keys are lost as evidence", percent(metric.lost_key_rate)));
    }
    parts.join("; ")
}

fn events(metric: &MetricEvidence) -> String {
    let counts = &metric.events;
    let total = counts.baseline + counts.candidate;
    if let Some(MetricKind::Disagreement { allowance }) = metric.kind {
        return format!("{} of {total} comparisons disagree, {} are allowed", counts.candidate, percent(allowance));
    }
    format!(
        "{} of {total} events on the candidate, {:.1} explained by its share",
        counts.candidate, counts.expected_candidate
    )
}

fn test_words(claim: &str, test: &TestEvidence) -> String {
    let verdict = if test.refuted { "shown" } else { "not shown" };
    format!(
        "{claim}: {verdict} (E = {}, highest so far {}, limit {})",
        e_value(test.log_e),
        e_value(test.log_e_max),
        e_value(test.log_limit)
    )
}

/// An E-value from its logarithm, readable at any size.
fn e_value(log: f64) -> String {
    let value = log.exp();
    if (0.01..100_000.0).contains(&value) {
        format!("{value:.2}")
    } else {
        format!("10^{:.1}", log / std::f64::consts::LN_10)
    }
}

fn percent(rate: f64) -> String {
    format!("{} %", (rate * 1e6).round() / 1e4)
}

fn names(metrics: &[String]) -> String {
    metrics.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
