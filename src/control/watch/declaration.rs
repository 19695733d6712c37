//! The declared resources by which a watched version comes into service: the operator's plan with the arms filled in. Pure.

use std::path::Path;

use hanok_api::{Declared, Percent, RolloutSpec, Spec, TrafficArm, TrafficSpec, TrafficStanding, read_declarations};
use hanok_routing::VersionName;

use crate::bounded_text::{self, LARGEST_SETTINGS};
use crate::commands::error::CommandError;

/// What is done where the operator declares nothing.
const DEFAULT: &str = "
apiVersion: hanok.dev/v1
kind: Rollout
metadata: {name: watched}
spec:
  traffic: watched
  baseline: filled-in
  candidate: filled-in
  steps:
    - {weight: 10, minimum_samples: 100}
    - {weight: 50, minimum_samples: 500}
  metrics:
    - {name: errors, kind: error_rate}
  alpha_rollback: 0.01
";

/// How new versions come into service.
#[derive(Clone, Debug)]
pub(super) struct RolloutTemplate {
    rollout: RolloutSpec,
    traffic: Option<TrafficSpec>,
}

impl RolloutTemplate {
    /// Reads the operator's plan, or takes the default.
    pub(super) fn read(file: Option<&Path>) -> Result<Self, CommandError> {
        let Some(path) = file else { return Self::parse(DEFAULT).map_err(CommandError::failed) };
        let text = bounded_text::read(path, LARGEST_SETTINGS).map_err(|error| {
            CommandError::input(format!("--watch-plan: `{}` cannot be read: {error}", path.display()))
        })?;
        Self::parse(&text)
            .map_err(|reason| CommandError::input(format!("--watch-plan: `{}`: {reason}", path.display())))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let declared = read_declarations(text, false)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        let (mut rollout, mut traffic) = (None, None);
        for Declared { name, spec } in declared {
            let second = match spec {
                Spec::Rollout(spec) => rollout.replace(spec).is_some(),
                Spec::Traffic(spec) => traffic.replace(spec).is_some(),
                other => {
                    return Err(format!("expected a Rollout and at most a Traffic, got `{}/{name}`", other.kind()));
                }
            };
            if second {
                return Err(format!("expected one Rollout and at most one Traffic, got another, `{name}`"));
            }
        }
        let rollout = rollout.ok_or("expected a Rollout, got none")?;
        Ok(Self { rollout, traffic })
    }

    /// All traffic to `version`: so that what is loaded beside it gets none.
    pub(super) fn pinned(&self, model: &str, version: u64) -> Vec<Declared> {
        let mut spec = self.traffic.clone().unwrap_or_else(bare);
        spec.model = Some(model.to_owned());
        spec.arms = vec![arm(version, 100)];
        vec![Declared { name: resource_name(model), spec: Spec::Traffic(spec) }]
    }

    /// A rollout from `baseline` to `candidate` in the traffic that stands. What else is declared there stays.
    pub(super) fn introduced(&self, standing: &TrafficStanding, baseline: u64, candidate: u64) -> Vec<Declared> {
        let mut traffic = standing.spec.clone();
        let serving = traffic.arms.iter().find(|arm| arm.version == VersionName::Number(baseline));
        let mut serving = serving.cloned().unwrap_or_else(|| arm(baseline, 100));
        serving.weight = percent(100);
        let mut arriving = arm(candidate, 0);
        if arriving.name == serving.name {
            arriving.name.push_str("-candidate");
        }
        let rollout = RolloutSpec {
            traffic: standing.name.clone(),
            baseline: serving.name.clone(),
            candidate: arriving.name.clone(),
            ..self.rollout.clone()
        };
        traffic.arms = vec![serving, arriving];
        vec![
            Declared { name: standing.name.clone(), spec: Spec::Traffic(traffic) },
            Declared { name: standing.name.clone(), spec: Spec::Rollout(rollout) },
        ]
    }
}

/// Names of resources are shorter than those of models may be, and begin with a letter or digit.
fn resource_name(model: &str) -> String {
    let name: String = model.chars().filter(char::is_ascii).take(63).collect();
    if name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        name
    } else {
        format!("m{}", &name[..name.len().min(62)])
    }
}

fn bare() -> TrafficSpec {
    TrafficSpec {
        model: None,
        arms: Vec::new(),
        sticky: hanok_routing::Sticky::default(),
        salt: None,
        rules: Vec::new(),
        labels: std::collections::BTreeMap::new(),
        shadow: Vec::new(),
        outlier_ejection: None,
        tell: false,
        segment: None,
        join_outcomes: false,
    }
}

fn arm(version: u64, weight: u16) -> TrafficArm {
    TrafficArm {
        name: format!("v{version}"),
        model: None,
        version: VersionName::Number(version),
        weight: percent(weight),
    }
}

/// 0 to 100.
fn percent(value: u16) -> Percent {
    Percent::from_basis_points(value.min(100) * 100).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    const PLAN: &str = "
apiVersion: hanok.dev/v1
kind: Traffic
metadata: {name: any}
spec: {arms: [{name: x, weight: 100}], tell: true, sticky: {header: x-user}}
---
apiVersion: hanok.dev/v1
kind: Rollout
metadata: {name: any}
spec: {traffic: any, baseline: x, candidate: z, steps: [{weight: 25, minimum_samples: 10}], metrics: [{name: errors, kind: error_rate}]}
";

    #[test]
    fn arms_are_filled_in_and_the_rest_stays() {
        let template = RolloutTemplate::parse(PLAN).unwrap();
        let pinned = template.pinned("flight_delay", 7).remove(0);
        let Spec::Traffic(spec) = pinned.spec.clone() else { panic!("{pinned:?}") };
        assert!(spec.tell && pinned.name == "flight_delay");
        let standing = TrafficStanding {
            name: pinned.name,
            spec,
            shares: vec![("v7".to_owned(), 10_000)],
            rollout: None,
            kept_in: None,
        };
        let [traffic, rollout] = template.introduced(&standing, 7, 8).try_into().unwrap();
        let traffic = traffic.document();
        assert_eq!(traffic["spec"]["arms"][0]["name"], "v7");
        assert_eq!(traffic["spec"]["arms"][1]["version"], 8);
        assert_eq!(traffic["spec"]["tell"], true);
        assert_eq!(traffic["spec"]["sticky"]["header"], "x-user");
        let rollout = rollout.document();
        assert_eq!((&rollout["spec"]["baseline"], &rollout["spec"]["candidate"]), (&"v7".into(), &"v8".into()));
        assert_eq!(rollout["spec"]["steps"][0]["weight"].as_f64(), Some(25.0));
    }

    #[test]
    fn plans_that_are_none_are_refused() {
        assert!(RolloutTemplate::read(None).is_ok());
        assert!(RolloutTemplate::parse("").unwrap_err().contains("expected a Rollout"));
        assert!(RolloutTemplate::parse(&format!("{PLAN}\n---\n{PLAN}")).is_err());
        let experiment = "{apiVersion: hanok.dev/v1, kind: Experiment, metadata: {name: e}, spec: {traffic: t, control: c, metrics: []}}";
        assert!(RolloutTemplate::parse(experiment).unwrap_err().contains("Experiment/e"));
        for model in ["m", "_m", &"x".repeat(128)] {
            let name = resource_name(model);
            assert!(name.len() <= 63 && name.starts_with(|first: char| first.is_ascii_alphanumeric()), "{name}");
        }
    }
}
