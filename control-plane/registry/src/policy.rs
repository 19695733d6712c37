//! What a model wants before a version of it reaches a stage: approvals by people, and checks that passed.
//!
//! A pure judgement of what is on record. Who somebody is, is told by the caller.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hanok_state::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::RegistryError;
use crate::stage::Stage;
use crate::text::{check_text, person};

/// Most checks of a rule or an approval.
const MOST_CHECKS: usize = 64;

/// What one stage wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StageRule {
    /// How many different people must approve.
    pub approvals: u32,
    /// Checks of which an approval must tell that they passed.
    pub checks: BTreeSet<String>,
    /// Whether the approval of whoever registered the version does not count.
    pub four_eyes: bool,
}

impl StageRule {
    pub(crate) fn check(&self, stage: Stage) -> Result<(), RegistryError> {
        if stage == Stage::None {
            return Err(RegistryError::invalid("stage", "nothing is to be approved for `none`"));
        }
        check_count(self.checks.len())?;
        self.checks.iter().try_for_each(|check| check_text("check", check))
    }
}

/// A model's rules by stage; a stage without one wants nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelPolicy {
    /// The rules.
    pub rules: BTreeMap<Stage, StageRule>,
}

/// What somebody decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The version may reach the stage.
    Approved,
    /// It may not.
    Rejected,
}

/// One decision about a version and a stage, with what it was based on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// Which stage.
    pub stage: Stage,
    /// What was decided.
    pub verdict: Verdict,
    /// By whom.
    pub by: String,
    /// When.
    #[serde(serialize_with = "crate::version::rfc3339")]
    pub at: Timestamp,
    /// Checks that were looked at, and whether they passed.
    pub checks: BTreeMap<String, bool>,
    /// What else there is to say.
    pub note: Option<String>,
}

/// A decision to be recorded.
#[derive(Clone, Debug)]
pub struct NewApproval {
    /// Which stage.
    pub stage: Stage,
    /// What was decided.
    pub verdict: Verdict,
    /// Checks that were looked at, and whether they passed.
    pub checks: BTreeMap<String, bool>,
    /// What else there is to say.
    pub note: Option<String>,
}

impl NewApproval {
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        if self.stage == Stage::None {
            return Err(RegistryError::invalid("stage", "nothing is to be approved for `none`"));
        }
        check_count(self.checks.len())?;
        self.checks.keys().try_for_each(|check| check_text("check", check))?;
        self.note.as_deref().map_or(Ok(()), |note| check_text("note", note))
    }
}

fn check_count(count: usize) -> Result<(), RegistryError> {
    if count > MOST_CHECKS {
        return Err(RegistryError::invalid("checks", format!("expected at most {MOST_CHECKS}, got {count}")));
    }
    Ok(())
}

/// Why a version may not reach a stage yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Somebody rejected it, and has not approved it since.
    Rejected {
        /// Who.
        by: String,
    },
    /// Fewer people approved than the rule wants.
    Approvals {
        /// How many the rule wants.
        expected: u32,
        /// How many count.
        actual: u32,
    },
    /// The last approval that looked at this check tells that it failed.
    CheckFailed {
        /// Which.
        check: String,
    },
    /// No approval looked at this check.
    CheckMissing {
        /// Which.
        check: String,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected { by } => write!(formatter, "rejected by `{by}`"),
            Self::Approvals { expected, actual } => {
                write!(formatter, "expected {expected} approvals, found {actual}")
            }
            Self::CheckFailed { check } => write!(formatter, "check `{check}` failed"),
            Self::CheckMissing { check } => write!(formatter, "check `{check}` is not on record"),
        }
    }
}

/// What keeps a version, registered by `author`, from a stage with this rule. `approvals` are those for the stage, oldest
/// first; of each person the last one counts, whichever way the name is written. Nothing: it may go there.
#[must_use]
pub fn obstacles(rule: &StageRule, author: &str, approvals: &[Approval]) -> Vec<Obstacle> {
    let mut standing: BTreeMap<String, &Approval> = BTreeMap::new();
    let mut checks: BTreeMap<&str, bool> = BTreeMap::new();
    for approval in approvals {
        standing.insert(person(&approval.by), approval);
        checks.extend(approval.checks.iter().map(|(check, passed)| (check.as_str(), *passed)));
    }
    let rejected = standing.values().filter(|approval| approval.verdict == Verdict::Rejected);
    let mut found: Vec<Obstacle> = rejected.map(|approval| Obstacle::Rejected { by: approval.by.clone() }).collect();
    let author = person(author);
    let counts = |by: &&String| !(rule.four_eyes && **by == author);
    let approved = standing.iter().filter(|(_, approval)| approval.verdict == Verdict::Approved).map(|(by, _)| by);
    let approved = u32::try_from(approved.filter(counts).count()).unwrap_or(u32::MAX);
    if approved < rule.approvals {
        found.push(Obstacle::Approvals { expected: rule.approvals, actual: approved });
    }
    for check in &rule.checks {
        match checks.get(check.as_str()) {
            Some(true) => {}
            Some(false) => found.push(Obstacle::CheckFailed { check: check.clone() }),
            None => found.push(Obstacle::CheckMissing { check: check.clone() }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn approval(by: &str, verdict: Verdict, checks: &[(&str, bool)]) -> Approval {
        let checks = checks.iter().map(|(check, passed)| ((*check).to_owned(), *passed)).collect();
        Approval { stage: Stage::Production, verdict, by: by.to_owned(), at: Timestamp::default(), checks, note: None }
    }

    #[test]
    fn the_last_word_of_each_counts() {
        let rule = StageRule { approvals: 2, checks: BTreeSet::from(["accuracy".to_owned()]), four_eyes: true };
        let mut on_record = vec![approval("ann", Verdict::Approved, &[("accuracy", false)])];
        assert_eq!(obstacles(&rule, "ann", &on_record).len(), 2, "her own does not count, and the check failed");
        on_record.push(approval("bob", Verdict::Rejected, &[]));
        assert!(obstacles(&rule, "ann", &on_record).contains(&Obstacle::Rejected { by: "bob".to_owned() }));
        on_record.push(approval("bob", Verdict::Approved, &[("accuracy", true)]));
        let missing = Obstacle::Approvals { expected: 2, actual: 1 };
        assert_eq!(obstacles(&rule, "ann", &on_record), [missing]);
        on_record.push(approval("cyd", Verdict::Approved, &[]));
        assert_eq!(obstacles(&rule, "ann", &on_record), []);
    }

    fn any_approval() -> impl Strategy<Value = Approval> {
        let checks = prop::collection::btree_map("[xy]", any::<bool>(), 0..3);
        ("[a-d]", any::<bool>(), checks).prop_map(|(by, approved, checks)| Approval {
            checks,
            ..approval(&by, if approved { Verdict::Approved } else { Verdict::Rejected }, &[])
        })
    }

    proptest! {
        #[test]
        fn a_wish_more_never_helps(
            on_record in prop::collection::vec(any_approval(), 0..8), approvals in 0_u32..4,
            checks in prop::collection::btree_set("[xyz]", 0..3), four_eyes: bool,
            ways in prop::collection::vec(0_usize..3, 1..8),
        ) {
            let rule = StageRule { approvals, checks, four_eyes };
            let now = obstacles(&rule, "a", &on_record);
            // A name written in another way is no other person.
            let mut rewritten = on_record.clone();
            for (approval, way) in rewritten.iter_mut().zip(ways.iter().cycle()) {
                approval.by = [approval.by.to_uppercase(), format!(" {} ", approval.by), format!("{}\u{200b}", approval.by)]
                    [*way].clone();
            }
            prop_assert_eq!(obstacles(&rule, " A", &rewritten).len(), now.len());
            // No rule at all is met unless somebody's last word is no.
            let last_word = |by: &str| on_record.iter().rfind(|approval| approval.by == by).map(|found| found.verdict);
            let rejected = ["a", "b", "c", "d"].iter().any(|by| last_word(by) == Some(Verdict::Rejected));
            prop_assert_eq!(obstacles(&StageRule::default(), "a", &on_record).is_empty(), !rejected);
            let stricter = StageRule { approvals: approvals + 1, ..rule.clone() };
            prop_assert!(now.is_empty() || !obstacles(&stricter, "a", &on_record).is_empty());
            // A stranger's approval with every check passed can only remove obstacles.
            let mut more = on_record;
            let passed: Vec<(&str, bool)> = rule.checks.iter().map(|check| (check.as_str(), true)).collect();
            more.push(approval("z", Verdict::Approved, &passed));
            prop_assert!(obstacles(&rule, "a", &more).len() <= now.len());
        }
    }
}
