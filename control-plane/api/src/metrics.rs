//! State of the control plane in Prometheus' text format. Bounded: one line per declared judge and per runtime.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use crate::reconcile::{DeclaredState, DeclaredStatus};

/// What the last tick found.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetricsView {
    pub(crate) judges: Vec<JudgeMetrics>,
    pub(crate) runtimes: Vec<RuntimeMetrics>,
    pub(crate) table_version: u64,
    pub(crate) revision: u64,
    pub(crate) failing: bool,
    pub(crate) served_refused: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct JudgeMetrics {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) phase: &'static str,
    /// The candidate's share in basis points, for rollouts.
    pub(crate) share: Option<u16>,
    pub(crate) decisions: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct RuntimeMetrics {
    pub(crate) name: String,
    pub(crate) reachable: bool,
    pub(crate) table_version: u64,
    pub(crate) dropped: u64,
}

/// Where the controller puts what others show.
#[derive(Debug, Default)]
pub(crate) struct MetricsBoard {
    shown: Mutex<Arc<MetricsView>>,
}

impl MetricsBoard {
    pub(crate) fn show(&self, view: MetricsView) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    /// The text: names end in their unit, label values are escaped.
    pub(crate) fn render(&self, declared: Option<&DeclaredStatus>) -> String {
        let view = Arc::clone(&self.shown.lock().unwrap_or_else(PoisonError::into_inner));
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, lines: Vec<(String, u64)>| {
            // Writing into a string cannot fail.
            let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in lines {
                let _infallible = writeln!(text, "{name}{labels} {value}");
            }
        };
        let judge = |judge: &JudgeMetrics| {
            format!("kind=\"{}\",name=\"{}\",model=\"{}\"", judge.kind, escaped(&judge.name), escaped(&judge.model))
        };
        let phases = view.judges.iter().map(|one| (format!("{{{},phase=\"{}\"}}", judge(one), one.phase), 1));
        family(
            "hanok_control_phase",
            "gauge",
            "Phase that each rollout, experiment and bandit is in.",
            phases.collect(),
        );
        let shares = view.judges.iter().filter_map(|one| Some((format!("{{{}}}", judge(one)), u64::from(one.share?))));
        let help = "Share of traffic that a rollout gives its candidate, in basis points.";
        family("hanok_rollout_candidate_share_basis_points", "gauge", help, shares.collect());
        let decisions = view.judges.iter().map(|one| (format!("{{{}}}", judge(one)), one.decisions));
        family("hanok_control_decisions_total", "counter", "Decisions of the present run.", decisions.collect());
        let runtime = |one: &RuntimeMetrics| format!("{{runtime=\"{}\"}}", escaped(&one.name));
        let reachable = view.runtimes.iter().map(|one| (runtime(one), u64::from(one.reachable)));
        family("hanok_control_runtime_reachable", "gauge", "Whether the last call succeeded.", reachable.collect());
        let versions = view.runtimes.iter().map(|one| (runtime(one), one.table_version));
        family("hanok_control_runtime_table_version", "gauge", "Traffic table in force.", versions.collect());
        let dropped = view.runtimes.iter().map(|one| (runtime(one), one.dropped));
        let help = "Records that a runtime had no room for.";
        family("hanok_control_runtime_records_lost_total", "counter", help, dropped.collect());
        let one = |value: u64| vec![(String::new(), value)];
        family("hanok_control_table_version", "gauge", "Traffic table that is stored.", one(view.table_version));
        family("hanok_control_revision", "gauge", "Revision of the declared resources.", one(view.revision));
        family("hanok_control_failing", "gauge", "Whether the last tick failed.", one(view.failing.into()));
        let help = "Served requests that the join of outcomes had no room for.";
        family("hanok_control_served_refused_total", "counter", help, one(view.served_refused));
        if let Some(declared) = declared {
            let in_step = u64::from(declared.state == DeclaredState::InStep);
            let help = "Whether what is declared elsewhere was in force at the last look.";
            family("hanok_declared_in_step", "gauge", help, one(in_step));
            let help = "Resources that differed from what is declared elsewhere at the last look.";
            family("hanok_declared_differences", "gauge", help, one(declared.differences as u64));
            let help = "Problems of what is declared elsewhere.";
            family("hanok_declared_problems", "gauge", help, one(declared.problems.len() as u64));
            let help = "When what is declared elsewhere was last read, since the Unix epoch; 0: never.";
            let read_at = declared.read_at_millis / 1_000;
            family("hanok_declared_last_read_timestamp_seconds", "gauge", help, one(read_at));
        }
        text
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
