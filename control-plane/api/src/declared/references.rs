//! Whether a set holds together: names that are referred to exist, and every derived plan and table is valid.
//!
//! Not about whether models exist: a runtime knows that, it changes, and it is a warning.

use std::collections::BTreeMap;

use hanok_routing::TrafficTable;

use super::judges::{BanditSpec, ExperimentSpec, RolloutSpec};
use super::{DeclaredSet, Problem, ProblemKind, ResourceKind, ShadowCompare, Spec, TrafficSpec};

impl DeclaredSet {
    /// Everything that is wrong with the set as a whole; empty when it holds together. `document` finds the document of a
    /// resource, where there is one.
    #[must_use]
    pub fn problems(&self, document: impl Fn(ResourceKind, &str) -> Option<usize>) -> Vec<Problem> {
        let mut findings = Findings { found: Vec::new(), document: &document };
        check_tables(&mut findings, self);
        for (kind, name, spec) in self.iter() {
            let mut here = |path: String, message: String| findings.add(kind, name, path, message);
            match spec {
                Spec::Traffic(traffic) => check_shadows(&mut here, self, traffic),
                Spec::Comparison(rules) => {
                    for fault in rules.faults() {
                        here(format!("spec.{}", fault.path), fault.message);
                    }
                }
                Spec::Rollout(rollout) => check_rollout(&mut here, self, name, rollout),
                Spec::Experiment(experiment) => check_experiment(&mut here, self, name, experiment),
                Spec::Bandit(bandit) => check_bandit(&mut here, self, name, bandit),
            }
        }
        findings.found
    }
}

struct Findings<'a> {
    found: Vec<Problem>,
    document: &'a dyn Fn(ResourceKind, &str) -> Option<usize>,
}

impl Findings<'_> {
    fn add(&mut self, kind: ResourceKind, name: &str, path: String, message: String) {
        let document = (self.document)(kind, name);
        let (resource, kind) = (Some(format!("{kind}/{name}")), ProblemKind::Value);
        self.found.push(Problem { document, resource, path, message, kind });
    }
}

/// Checks all traffic as one table, because labels of one model may be used by another.
fn check_tables(findings: &mut Findings<'_>, set: &DeclaredSet) {
    let mut table = TrafficTable { version: 1, models: BTreeMap::new() };
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    for (name, traffic) in set.traffics() {
        let public = traffic.public_model(name).to_owned();
        if let Some(other) = names.get(&public) {
            let message = format!("expected one `Traffic` for model `{public}`, `{other}` is for it too");
            findings.add(ResourceKind::Traffic, name, "spec.model".to_owned(), message);
            continue;
        }
        table.models.insert(public.clone(), traffic.entry(name, set.is_watched(name)).0);
        names.insert(public, name);
    }
    for problem in table.problems() {
        // The longest name that fits: one model's name may begin with another's.
        let owner = names
            .iter()
            .filter_map(|(public, name)| Some((*name, problem.path.strip_prefix(&format!("models.{public}"))?)))
            .filter(|(_, rest)| rest.is_empty() || rest.starts_with('.'))
            .min_by_key(|(_, rest)| rest.len());
        let (name, rest) = owner.unwrap_or(("", problem.path.as_str()));
        findings.add(ResourceKind::Traffic, name, format!("spec{}", declared_path(rest)), problem.message);
    }
}

/// The words of the declaration for those of the table.
fn declared_path(path: &str) -> String {
    path.replace(".weight_basis_points", ".weight").replace(".share_basis_points", ".share")
}

fn check_shadows(here: &mut impl FnMut(String, String), set: &DeclaredSet, traffic: &TrafficSpec) {
    for (index, shadow) in traffic.shadow.iter().enumerate() {
        match &shadow.compare {
            Some(ShadowCompare::Named(name)) if set.get(ResourceKind::Comparison, name).is_none() => here(
                format!("spec.shadow[{index}].compare.named"),
                format!("expected the name of a `Comparison`, got `{name}`"),
            ),
            Some(ShadowCompare::Inline(rules)) => {
                for fault in rules.faults() {
                    here(format!("spec.shadow[{index}].compare.inline.{}", fault.path), fault.message);
                }
            }
            Some(ShadowCompare::Named(_)) | None => {}
        }
    }
}

fn traffic_of<'a>(here: &mut impl FnMut(String, String), set: &'a DeclaredSet, name: &str) -> Option<&'a TrafficSpec> {
    let traffic = set.traffic(name);
    if traffic.is_none() {
        here("spec.traffic".to_owned(), format!("expected the name of a `Traffic`, got `{name}`"));
    }
    traffic
}

fn check_arm(here: &mut impl FnMut(String, String), traffic: &TrafficSpec, path: &str, arm: &str) -> bool {
    let known = traffic.arms.iter().any(|declared| declared.name == arm);
    if !known {
        let names: Vec<&str> = traffic.arms.iter().map(|arm| arm.name.as_str()).collect();
        here(path.to_owned(), format!("expected one of the arms `{}`, got `{arm}`", names.join("`, `")));
    }
    known
}

fn check_rollout(here: &mut impl FnMut(String, String), set: &DeclaredSet, name: &str, rollout: &RolloutSpec) {
    if let Some(traffic) = traffic_of(here, set, &rollout.traffic) {
        let mut known = check_arm(here, traffic, "spec.baseline", &rollout.baseline);
        known &= check_arm(here, traffic, "spec.candidate", &rollout.candidate);
        let others = traffic.arms.iter().filter(|arm| arm.name != rollout.baseline && arm.name != rollout.candidate);
        if let Some(other) = others.into_iter().find(|arm| known && arm.weight.basis_points() > 0) {
            let message = format!(
                "expected all weight at `{}` and `{}`, `{}` has some",
                rollout.baseline, rollout.candidate, other.name
            );
            here("spec.traffic".to_owned(), message);
        }
    }
    let model = set.traffic(&rollout.traffic).map_or("model", |traffic| traffic.public_model(&rollout.traffic));
    if let Err(problems) = rollout.plan(name, model).validate() {
        for problem in problems {
            here(format!("spec.{}", problem.path.replace("weight_basis_points", "weight")), problem.message);
        }
    }
    for (metric, rule) in &rollout.labels {
        if !rollout.label_metrics().any(|(name, ..)| name == metric) {
            here(format!("spec.labels.{metric}"), format!("expected the name of a label metric, got `{metric}`"));
        }
        if !rule.at_least.is_finite() {
            here(format!("spec.labels.{metric}.at_least"), "expected a finite number".to_owned());
        }
    }
}

fn check_experiment(here: &mut impl FnMut(String, String), set: &DeclaredSet, name: &str, experiment: &ExperimentSpec) {
    let Some(traffic) = traffic_of(here, set, &experiment.traffic) else { return };
    if check_arm(here, traffic, "spec.control", &experiment.control)
        && let Err(problems) = experiment.plan(name, traffic).validate()
    {
        for problem in problems {
            here(format!("spec.{}", problem.path), problem.message);
        }
    }
    let moves = |(_, _, spec): &(ResourceKind, &str, &Spec)| match spec {
        Spec::Bandit(bandit) => bandit.traffic == experiment.traffic,
        _ => false,
    };
    if let Some((_, bandit, _)) = set.iter().find(moves) {
        let message = format!(
            "expected a traffic whose weights nobody moves, bandit `{bandit}` moves those of `{}`",
            experiment.traffic
        );
        here("spec.traffic".to_owned(), message);
    }
}

fn check_bandit(here: &mut impl FnMut(String, String), set: &DeclaredSet, name: &str, bandit: &BanditSpec) {
    let Some(traffic) = traffic_of(here, set, &bandit.traffic) else { return };
    if let Err(problems) = bandit.plan(name, traffic).validate() {
        for problem in problems {
            let path = problem.path.replace("floor_basis_points", "floor");
            here(format!("spec.{path}"), problem.message);
        }
    }
    if bandit.update_seconds == 0 {
        here("spec.update_seconds".to_owned(), "expected at least `1`, got `0`".to_owned());
    }
    for (_, other, spec) in set.iter() {
        let (kind, same) = match spec {
            Spec::Bandit(more) => ("bandit", more.traffic == bandit.traffic && other != name),
            Spec::Rollout(rollout) => ("rollout", rollout.traffic == bandit.traffic),
            _ => continue,
        };
        if same {
            let message =
                format!("expected one that moves the weights of `{}`, {kind} `{other}` does too", bandit.traffic);
            here("spec.traffic".to_owned(), message);
        }
    }
}
