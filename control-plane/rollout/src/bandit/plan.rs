//! The declared plan of a bandit, and its check.

use serde::{Deserialize, Serialize};

use crate::BasisPoints;
use crate::problem::{Problem, Problems};

/// A bandit over the arms of one model name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BanditPlan {
    /// Name of the bandit.
    pub bandit: String,
    /// Names of its arms, 2 to 64.
    pub arms: Vec<String>,
    /// Share that every arm keeps, in basis points; times the number of arms at most 10,000.
    pub floor_basis_points: u16,
    /// What is to be had more of.
    pub reward: Reward,
    /// Seed of its draws: the same seed and observations give the same weights.
    pub seed: u64,
}

/// What counts as a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reward {
    /// The request succeeded (or its outcome, reported later, was good).
    Success,
    /// The request succeeded within so many microseconds; one of unknown latency did not.
    SuccessWithin {
        /// The limit, inclusive.
        microseconds: u64,
    },
}

/// A bandit's plan that was checked. The only way to one is [`BanditPlan::validate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedBandit {
    plan: BanditPlan,
    floor: BasisPoints,
}

impl BanditPlan {
    /// Checks everything.
    ///
    /// # Errors
    /// All problems at once, each with its path.
    pub fn validate(self) -> Result<ValidatedBandit, Vec<Problem>> {
        let mut problems = Problems::default();
        problems.expect_name(&self.bandit, "bandit");
        let arms = self.arms.len();
        problems.expect((2..=64).contains(&arms), "arms", format!("expected 2 to 64, found `{arms}`"));
        for (index, arm) in self.arms.iter().enumerate() {
            problems.expect_name(arm, format!("arms[{index}]"));
        }
        problems.expect_distinct(self.arms.iter().map(String::as_str), |index| format!("arms[{index}]"));
        let most = 10_000 / arms.max(1);
        problems.expect(
            (1..=most).contains(&usize::from(self.floor_basis_points)),
            "floor_basis_points",
            format!("expected 1 to {most}, found `{}`", self.floor_basis_points),
        );
        if let Reward::SuccessWithin { microseconds } = self.reward {
            problems.expect(microseconds > 0, "reward.success_within.microseconds", "expected at least 1");
        }
        let floor = BasisPoints::new(self.floor_basis_points).unwrap_or_default();
        problems.into_result(ValidatedBandit { plan: self, floor })
    }
}

impl ValidatedBandit {
    /// The plan as it was declared.
    #[must_use]
    pub fn plan(&self) -> &BanditPlan {
        &self.plan
    }

    /// The share that every arm keeps.
    #[must_use]
    pub fn floor(&self) -> BasisPoints {
        self.floor
    }
}
