//! What is wrong with a declared table: every problem at once, each with its path.
//!
//! Not about whether models exist or serve: the repository knows that, and it changes.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::assignment_hash::BUCKETS;
use crate::rules::compile_pattern;
use crate::version_name::label_fault;
use crate::{ModelTraffic, RuleSubject, ShadowTargetDeclaration, Sticky, TrafficTable, VersionName};

/// Most arms of one model.
pub(crate) const MOST_ARMS: usize = 64;
/// Most shadows of one model.
pub(crate) const MOST_SHADOWS: usize = 4;
/// Most rules of one model: they are tried one after another, on every request.
const MOST_RULES: usize = 256;
/// Longest name of a model, arm, header and the like, in bytes.
const LONGEST_NAME: usize = 256;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where, such as `models.fraud.arms[1].weight_basis_points`.
    pub path: String,
    /// What, lower case, with the offending value in backticks.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

impl TrafficTable {
    /// Everything that is wrong with the table; empty when it is valid.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut findings = Findings::default();
        if self.version == 0 {
            findings.add("version", "expected at least `1`, got `0`");
        }
        for (name, traffic) in &self.models {
            let path = format!("models.{name}");
            findings.name(&path, name);
            check_arms(&mut findings, &path, self, name, traffic);
            check_assignment(&mut findings, &path, traffic);
            check_rules(&mut findings, &path, traffic);
            check_shadows(&mut findings, &path, self, name, traffic);
            for label in traffic.labels.keys() {
                if let Some(fault) = label_fault(label) {
                    findings.add(format!("{path}.labels.{label}"), fault);
                }
            }
            if let Some(policy) = &traffic.outlier_ejection {
                for (field, message) in policy.faults() {
                    findings.add(format!("{path}.outlier_ejection.{field}"), message);
                }
            }
        }
        findings.0
    }
}

#[derive(Default)]
struct Findings(Vec<Problem>);

impl Findings {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into() });
    }

    fn name(&mut self, path: &str, name: &str) {
        if name.is_empty() {
            self.add(path, "a name must not be empty");
        } else if name.len() > LONGEST_NAME {
            self.add(path, format!("expected a name of at most `{LONGEST_NAME}` bytes, got `{}`", name.len()));
        } else if name.chars().any(char::is_control) {
            self.add(path, "a name must not have control characters");
        }
    }

    fn arm(&mut self, path: String, traffic: &ModelTraffic, arm: &str) {
        if !traffic.arms.iter().any(|declared| declared.name == arm) {
            self.add(path, format!("`{arm}` is not an arm of this model"));
        }
    }

    /// A label must be declared in the entry of the model that it names a version of.
    fn version(&mut self, path: String, table: &TrafficTable, model: &str, version: &VersionName) {
        match version {
            VersionName::Latest => {}
            VersionName::Number(0) => self.add(path, "expected a version of at least `1`, got `0`"),
            VersionName::Number(_) => {}
            VersionName::Label(label) => {
                if !table.models.get(model).is_some_and(|entry| entry.labels.contains_key(label)) {
                    self.add(path, format!("`{label}` is not a label of model `{model}`"));
                }
            }
        }
    }
}

fn check_arms(findings: &mut Findings, path: &str, table: &TrafficTable, public: &str, traffic: &ModelTraffic) {
    let count = traffic.arms.len();
    if !(1..=MOST_ARMS).contains(&count) {
        findings.add(format!("{path}.arms"), format!("expected 1 to `{MOST_ARMS}` arms, got `{count}`"));
    }
    let mut names = BTreeSet::new();
    for (index, arm) in traffic.arms.iter().enumerate() {
        let path = format!("{path}.arms[{index}]");
        findings.name(&format!("{path}.name"), &arm.name);
        if !names.insert(&arm.name) {
            findings.add(format!("{path}.name"), format!("`{}` is the name of another arm", arm.name));
        }
        if let Some(model) = &arm.model {
            findings.name(&format!("{path}.model"), model);
        }
        let model = arm.model.as_deref().unwrap_or(public);
        findings.version(format!("{path}.version"), table, model, &arm.version);
    }
    let sum: u64 = traffic.arms.iter().map(|arm| u64::from(arm.weight_basis_points)).sum();
    if sum != u64::from(BUCKETS) {
        let got = percent(sum);
        findings.add(format!("{path}.arms"), format!("expected weights that sum to `100` percent, got `{got}`"));
    }
}

/// Basis points as they are declared: `121` for 12,100.
fn percent(basis_points: u64) -> String {
    match basis_points % 100 {
        0 => format!("{}", basis_points / 100),
        rest => format!("{}.{rest:02}", basis_points / 100),
    }
}

fn check_assignment(findings: &mut Findings, path: &str, traffic: &ModelTraffic) {
    let sticky = match &traffic.sticky {
        Sticky::Header(name) | Sticky::Parameter(name) | Sticky::Tensor(name) => Some(name),
        Sticky::None | Sticky::Sequence => None,
    };
    if let Some(name) = sticky {
        findings.name(&format!("{path}.sticky"), name);
    }
    if traffic.allocation.is_empty() {
        return;
    }
    let path = format!("{path}.allocation");
    for (index, run) in traffic.allocation.iter().enumerate() {
        findings.arm(format!("{path}[{index}].arm"), traffic, &run.arm);
    }
    for arm in &traffic.arms {
        let runs = traffic.allocation.iter().filter(|run| run.arm == arm.name);
        let held: u64 = runs.map(|run| u64::from(run.buckets)).sum();
        if held != u64::from(arm.weight_basis_points) {
            let message = format!("arm `{}`: expected `{}` buckets, got `{held}`", arm.name, arm.weight_basis_points);
            findings.add(path.clone(), message);
        }
    }
}

fn check_rules(findings: &mut Findings, path: &str, traffic: &ModelTraffic) {
    if traffic.rules.len() > MOST_RULES {
        let message = format!("expected at most `{MOST_RULES}` rules, got `{}`", traffic.rules.len());
        findings.add(format!("{path}.rules"), message);
    }
    if let Some(RuleSubject::Header(name) | RuleSubject::Parameter(name)) = &traffic.segment {
        findings.name(&format!("{path}.segment"), name);
    }
    for (index, rule) in traffic.rules.iter().enumerate() {
        let path = format!("{path}.rules[{index}]");
        findings.arm(format!("{path}.arm"), traffic, &rule.arm);
        if let RuleSubject::Header(name) | RuleSubject::Parameter(name) = &rule.when {
            findings.name(&format!("{path}.when"), name);
        }
        if let Err(message) = compile_pattern(&rule.matches) {
            findings.add(format!("{path}.matches"), message);
        }
    }
}

fn check_shadows(findings: &mut Findings, path: &str, table: &TrafficTable, public: &str, traffic: &ModelTraffic) {
    if traffic.shadow.len() > MOST_SHADOWS {
        let message = format!("expected at most `{MOST_SHADOWS}` shadows, got `{}`", traffic.shadow.len());
        findings.add(format!("{path}.shadow"), message);
    }
    for (index, shadow) in traffic.shadow.iter().enumerate() {
        let path = format!("{path}.shadow[{index}]");
        match &shadow.target {
            ShadowTargetDeclaration::Arm(arm) => findings.arm(format!("{path}.target"), traffic, arm),
            ShadowTargetDeclaration::Version { model, version } => {
                if let Some(model) = model {
                    findings.name(&format!("{path}.target.model"), model);
                }
                let model = model.as_deref().unwrap_or(public);
                findings.version(format!("{path}.target.version"), table, model, version);
            }
        }
        if shadow.share_basis_points > BUCKETS {
            let message = format!("expected at most `{BUCKETS}`, got `{}`", shadow.share_basis_points);
            findings.add(format!("{path}.share_basis_points"), message);
        }
        findings.name(&format!("{path}.compare"), &shadow.compare);
    }
}
