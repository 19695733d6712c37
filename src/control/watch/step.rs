//! What a version that a watched reference names now means for the traffic of its model. Pure.

use hanok_api::{RolloutStanding, TrafficStanding};
use hanok_routing::VersionName;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing serves this model: this is its first version.
    First,
    /// It serves already. A rollout of another candidate that is under way is to end.
    Serves {
        /// That rollout.
        abort: Option<String>,
    },
    /// Its rollout has begun, or is over and was not won. `baseline` serves.
    Introduced {
        /// The version that serves.
        baseline: u64,
        /// That rollout, if it is over.
        over: Option<String>,
    },
    /// Another version serves: it becomes the candidate of a rollout.
    Introduce {
        /// The version that serves.
        baseline: u64,
        /// A rollout of another candidate, which is to end first.
        abort: Option<String>,
    },
}

impl Step {
    /// Whether it changes what is declared.
    const fn declares(&self) -> bool {
        match self {
            Self::First | Self::Introduce { .. } => true,
            Self::Serves { abort } => abort.is_some(),
            Self::Introduced { over, .. } => over.is_some(),
        }
    }
}

/// Decides on `version`. `standing` is the declared traffic, `ready` the versions that serve without any, `named` those that
/// the watch's own configuration names, the one that serves first.
///
/// # Errors
/// A text for the operator when it is open which version serves.
pub(super) fn step(
    standing: Option<&TrafficStanding>,
    ready: &[u64],
    named: Option<&[u64]>,
    model: &str,
    version: u64,
) -> Result<Step, String> {
    let step = decided(standing, ready, named, model, version)?;
    match standing.and_then(kept_elsewhere).filter(|_| step.declares()) {
        Some(refusal) => Err(refusal),
        None => Ok(step),
    }
}

/// Why a watch cannot change this traffic: somebody else keeps it as it is, and would set it back.
pub(super) fn kept_elsewhere(standing: &TrafficStanding) -> Option<String> {
    let place = standing.kept_in.as_deref()?;
    Some(format!(
        "`Traffic/{}` is declared in `{place}`, and only one of the two can decide about it: take it out of there and let the \
         watch keep it (--watch-plan says how), or end the watch (declared-elsewhere)",
        standing.name
    ))
}

fn decided(
    standing: Option<&TrafficStanding>,
    ready: &[u64],
    named: Option<&[u64]>,
    model: &str,
    version: u64,
) -> Result<Step, String> {
    let Some(standing) = standing else {
        return Ok(match undeclared(ready, named, model)? {
            None => Step::First,
            Some(baseline) if baseline == version => Step::Serves { abort: None },
            Some(baseline) => Step::Introduce { baseline, abort: None },
        });
    };
    if let Some(rollout) = standing.rollout.as_ref().filter(|rollout| !rollout.over) {
        // Whatever share the candidate has by now, it is not promoted yet.
        let baseline = version_of(standing, &rollout.baseline, model)?;
        let abort = Some(rollout.name.clone());
        return Ok(if version_of(standing, &rollout.candidate, model) == Ok(version) {
            Step::Introduced { baseline, over: None }
        } else if baseline == version {
            Step::Serves { abort }
        } else {
            Step::Introduce { baseline, abort }
        });
    }
    let baseline = serving(standing, model)?;
    let lost = |rollout: &&RolloutStanding| version_of(standing, &rollout.candidate, model) == Ok(version);
    Ok(match standing.rollout.as_ref().filter(lost) {
        _ if baseline == version => Step::Serves { abort: None },
        Some(rollout) => Step::Introduced { baseline, over: Some(rollout.name.clone()) },
        None => Step::Introduce { baseline, abort: None },
    })
}

/// The version that serves where no traffic is declared. With several that is not the highest: it may be a candidate whose
/// rollout was lost together with everything that was declared.
///
/// # Errors
/// A text for the operator when it is open.
pub(super) fn undeclared(ready: &[u64], named: Option<&[u64]>, model: &str) -> Result<Option<u64>, String> {
    if let [] | [_] = ready {
        return Ok(ready.first().copied());
    }
    match named.unwrap_or_default().iter().find(|version| ready.contains(version)) {
        Some(&version) => Ok(Some(version)),
        None => Err(format!(
            "several versions of `{model}` are loaded and no Traffic says which of them serves; declare one (`hanok apply`) \
             (traffic-open)"
        )),
    }
}

/// The version of the arm with the largest share.
fn serving(standing: &TrafficStanding, model: &str) -> Result<u64, String> {
    let largest = standing.shares.iter().rev().max_by_key(|(_, share)| *share);
    let name = largest.map(|(name, _)| name).or_else(|| standing.spec.arms.first().map(|arm| &arm.name));
    let name = name.ok_or_else(|| format!("`Traffic/{}` has no arm", standing.name))?;
    version_of(standing, name, model)
}

fn version_of(standing: &TrafficStanding, arm: &str, model: &str) -> Result<u64, String> {
    let found = standing.spec.arms.iter().find(|declared| declared.name == arm);
    match found.map(|arm| (&arm.version, arm.model.as_deref().unwrap_or(model))) {
        Some((VersionName::Number(version), of)) if of == model => Ok(*version),
        _ => Err(format!(
            "`Traffic/{}`: expected arm `{arm}` to name a version of `{model}` by its number; declare it so, or remove the \
             Traffic",
            standing.name
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use hanok_api::{Spec, read_declarations};

    use super::*;

    /// Arms with their versions and shares in percent; a rollout of `candidate`.
    fn standing(arms: &[(&str, u64, u32)], rollout: Option<(&str, bool)>) -> TrafficStanding {
        let declared: Vec<_> = arms
            .iter()
            .enumerate()
            .map(|(index, (name, version, _))| {
                serde_json::json!({"name": name, "version": version, "weight": if index == 0 { 100 } else { 0 }})
            })
            .collect();
        let document = serde_json::json!({
            "apiVersion": hanok_api::API_VERSION, "kind": "Traffic", "metadata": {"name": "m"}, "spec": {"arms": declared},
        });
        let Spec::Traffic(spec) = read_declarations(&document.to_string(), true).unwrap().remove(0).spec else {
            panic!("a Traffic was declared");
        };
        TrafficStanding {
            name: "m".to_owned(),
            spec,
            shares: arms.iter().map(|(name, _, share)| ((*name).to_owned(), share * 100)).collect(),
            rollout: rollout.map(|(candidate, over)| RolloutStanding {
                name: "m".to_owned(),
                baseline: arms[0].0.to_owned(),
                candidate: candidate.to_owned(),
                over,
            }),
            kept_in: None,
        }
    }

    #[test]
    fn without_traffic_what_is_ready_decides() {
        assert_eq!(step(None, &[], None, "m", 3), Ok(Step::First));
        assert_eq!(step(None, &[3], None, "m", 3), Ok(Step::Serves { abort: None }));
        assert_eq!(step(None, &[2], None, "m", 3), Ok(Step::Introduce { baseline: 2, abort: None }));
        // What was declared is lost: a candidate is not what serves because its number is higher.
        for (named, baseline) in [([1, 3], 1), ([3, 1], 3), ([2, 3], 3)] {
            let expected =
                if baseline == 3 { Step::Serves { abort: None } } else { Step::Introduce { baseline, abort: None } };
            assert_eq!(step(None, &[1, 3], Some(&named), "m", 3), Ok(expected), "{named:?}");
        }
        for named in [None, Some(&[7_u64][..])] {
            assert!(step(None, &[1, 3], named, "m", 3).unwrap_err().contains("hanok apply"));
        }
    }

    #[test]
    fn the_life_of_a_version() {
        let at =
            |arms: &[(&str, u64, u32)], rollout, version| step(Some(&standing(arms, rollout)), &[], None, "m", version);
        let abort = || Some("m".to_owned());
        assert_eq!(at(&[("v1", 1, 100)], None, 1), Ok(Step::Serves { abort: None }));
        assert_eq!(at(&[("v1", 1, 100)], None, 2), Ok(Step::Introduce { baseline: 1, abort: None }));
        for share in [10, 50, 90] {
            let under_way = [("v1", 1, 100 - share), ("v2", 2, share)];
            let going = Some(("v2", false));
            assert_eq!(at(&under_way, going, 2), Ok(Step::Introduced { baseline: 1, over: None }), "{share}");
            assert_eq!(at(&under_way, going, 1), Ok(Step::Serves { abort: abort() }), "moved back at {share}");
            assert_eq!(at(&under_way, going, 3), Ok(Step::Introduce { baseline: 1, abort: abort() }), "at {share}");
        }
        let promoted = [("v1", 1, 0), ("v2", 2, 100)];
        assert_eq!(at(&promoted, Some(("v2", true)), 2), Ok(Step::Serves { abort: None }));
        assert_eq!(at(&promoted, Some(("v2", true)), 3), Ok(Step::Introduce { baseline: 2, abort: None }));
        assert_eq!(
            at(&promoted, Some(("v2", true)), 1),
            Ok(Step::Introduce { baseline: 2, abort: None }),
            "moved back"
        );
        let rolled_back = [("v1", 1, 100), ("v2", 2, 0)];
        assert_eq!(at(&rolled_back, Some(("v2", true)), 2), Ok(Step::Introduced { baseline: 1, over: abort() }));
        assert_eq!(at(&rolled_back, Some(("v2", true)), 3), Ok(Step::Introduce { baseline: 1, abort: None }));
    }

    #[test]
    fn traffic_that_is_kept_elsewhere_is_not_changed() {
        let mut kept = standing(&[("v1", 1, 80), ("v2", 2, 20)], Some(("v2", false)));
        kept.kept_in = Some("declarations".to_owned());
        let at = |version| step(Some(&kept), &[1, 2], None, "m", version);
        assert_eq!(at(2), Ok(Step::Introduced { baseline: 1, over: None }));
        for version in [1, 3] {
            assert!(at(version).unwrap_err().contains("declared in `declarations`"), "{version}");
        }
        let mut alone = standing(&[("v1", 1, 100)], None);
        alone.kept_in.clone_from(&kept.kept_in);
        assert_eq!(step(Some(&alone), &[1], None, "m", 1), Ok(Step::Serves { abort: None }));
        assert!(step(Some(&alone), &[1], None, "m", 2).is_err());
    }

    #[test]
    fn traffic_that_leaves_the_version_open_is_refused() {
        let mut open = standing(&[("v1", 1, 100)], None);
        open.spec.arms[0].version = VersionName::Latest;
        assert!(step(Some(&open), &[], None, "m", 2).unwrap_err().contains("by its number"));
        let mut other = standing(&[("v1", 1, 100)], None);
        other.spec.arms[0].model = Some("n".to_owned());
        assert!(step(Some(&other), &[], None, "m", 2).is_err());
    }
}
