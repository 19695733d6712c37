//! The stages of a version, and the ways between them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::RegistryError;

/// Where a version stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Just registered.
    #[default]
    None,
    /// Being tried.
    Staging,
    /// Meant to serve.
    Production,
    /// Kept, not meant to serve any more.
    Archived,
}

impl Stage {
    /// All stages.
    pub const ALL: [Self; 4] = [Self::None, Self::Staging, Self::Production, Self::Archived];

    /// As it is written: `none`, `staging`, `production` or `archived`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Staging => "staging",
            Self::Production => "production",
            Self::Archived => "archived",
        }
    }

    /// Whether a version of this stage is in use, so that its files are kept whatever the quota.
    #[must_use]
    pub const fn is_in_use(self) -> bool {
        matches!(self, Self::Staging | Self::Production)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text).ok_or_else(|| {
            RegistryError::invalid("stage", format!("expected none, staging, production or archived, got `{text}`"))
        })
    }
}

/// Whether a version may go from one stage to the other, approvals aside.
///
/// From every stage to every other, with two exceptions: what is archived comes back through `none` or `staging` only, and
/// nothing that was in use becomes `none` again. Staying is no transition.
#[must_use]
pub const fn is_transition(from: Stage, to: Stage) -> bool {
    match (from, to) {
        (Stage::None, Stage::None)
        | (Stage::Staging, Stage::Staging | Stage::None)
        | (Stage::Production, Stage::Production | Stage::None)
        | (Stage::Archived, Stage::Archived | Stage::Production) => false,
        (Stage::None | Stage::Staging | Stage::Production | Stage::Archived, _) => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn every_way_is_decided() {
        let ways: Vec<String> = Stage::ALL
            .into_iter()
            .flat_map(|from| Stage::ALL.into_iter().map(move |to| (from, to)))
            .filter(|(from, to)| is_transition(*from, *to))
            .map(|(from, to)| format!("{from}>{to}"))
            .collect();
        let expected = [
            "none>staging",
            "none>production",
            "none>archived",
            "staging>production",
            "staging>archived",
            "production>staging",
            "production>archived",
            "archived>none",
            "archived>staging",
        ];
        assert_eq!(ways, expected);
        for stage in Stage::ALL {
            assert_eq!(stage.to_string().parse::<Stage>().unwrap(), stage);
        }
        assert!("Production".parse::<Stage>().is_err());
    }
}
