//! `mlflow://NAME@ALIAS`, `mlflow://NAME/VERSION`, `mlflow://NAME/STAGE`, `mlflow://NAME/latest`.
//!
//! The server is a setting, not a part of the reference, so that one reference means the same in every environment.
//! Names may hold anything but `/` and `:`, as in MLflow; what a URL cannot hold is percent-encoded.

use std::fmt;

use percent_encoding::utf8_percent_encode;

use super::{KEPT, decoded, invalid};
use crate::SourceError;
use crate::artifact_path::shown;

/// A registered model of MLflow, and which of its versions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MlflowReference {
    /// Name of the registered model.
    pub name: String,
    /// Which version.
    pub selector: MlflowSelector,
}

/// Which version of a registered model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MlflowSelector {
    /// The version that the alias points at.
    Alias(String),
    /// This version.
    Version(u64),
    /// The newest version in a legacy stage: `None`, `Staging`, `Production` or `Archived`.
    Stage(String),
    /// The newest version.
    Latest,
}

impl MlflowReference {
    /// Whether the reference may name another version tomorrow.
    #[must_use]
    pub const fn moves(&self) -> bool {
        !matches!(self.selector, MlflowSelector::Version(_))
    }
}

/// Stages that MLflow knows, in its spelling.
const STAGES: [&str; 4] = ["None", "Staging", "Production", "Archived"];

pub(super) fn parse(rest: &str) -> Result<MlflowReference, SourceError> {
    if rest.contains(['?', '#']) {
        return Err(invalid("an MLflow reference has no query and no fragment".to_owned()));
    }
    let (name, selector) = match (rest.split_once('@'), rest.split_once('/')) {
        (Some((name, alias)), None) => (name, MlflowSelector::Alias(checked("alias", alias)?)),
        (None, Some((name, version))) => (name, version_or_stage(version)?),
        _ => return Err(invalid(format!("`{}` needs either @ALIAS or /VERSION after the model's name", shown(rest)))),
    };
    Ok(MlflowReference { name: checked("model name", name)?, selector })
}

fn version_or_stage(text: &str) -> Result<MlflowSelector, SourceError> {
    if text == "latest" {
        return Ok(MlflowSelector::Latest);
    }
    if let Some(stage) = STAGES.iter().find(|stage| stage.eq_ignore_ascii_case(text)) {
        return Ok(MlflowSelector::Stage((*stage).to_owned()));
    }
    match text.parse::<u64>() {
        Ok(version @ 1..) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(MlflowSelector::Version(version)),
        _ => Err(invalid(format!("expected a version number from 1 or a stage, got `{}`", shown(text)))),
    }
}

fn checked(what: &str, part: &str) -> Result<String, SourceError> {
    let text = decoded(part)?;
    let usable = !text.is_empty()
        && text.len() <= 255
        && !text.contains(['/', ':', '\\'])
        && !["..", "."].contains(&text.as_str());
    // An alias with an `@` in it would read as a name with an alias.
    if !usable || part.contains('@') {
        return Err(invalid(format!("`{}` is no {what}", shown(&text))));
    }
    Ok(text)
}

impl fmt::Display for MlflowReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "mlflow://{}", utf8_percent_encode(&self.name, KEPT))?;
        match &self.selector {
            MlflowSelector::Alias(alias) => write!(formatter, "@{}", utf8_percent_encode(alias, KEPT)),
            MlflowSelector::Version(version) => write!(formatter, "/{version}"),
            MlflowSelector::Stage(stage) => write!(formatter, "/{stage}"),
            MlflowSelector::Latest => formatter.write_str("/latest"),
        }
    }
}
