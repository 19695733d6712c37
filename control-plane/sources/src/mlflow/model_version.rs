//! A version of a registered model as MLflow describes it, and how a reference selects one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::server::MlflowServer;
use super::server_error::Question;
use crate::artifact_path::shown;
use crate::{MlflowReference, MlflowSelector, SourceError, SourceErrorCode};

/// A version of a registered model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModelVersion {
    pub(super) name: String,
    pub(super) version: u64,
    /// When it was registered, in milliseconds: another instant is another version, whatever its number.
    pub(super) created: u64,
    pub(super) run_id: String,
    /// `models:/m-ID` since MLflow 3, before that where the files are.
    pub(super) source: String,
    pub(super) status: String,
    pub(super) stage: String,
    pub(super) description: String,
    pub(super) aliases: Vec<String>,
    pub(super) tags: BTreeMap<String, String>,
}

impl ModelVersion {
    /// `NAME/VERSION`, and what tells it from one that had this name and number before it, or has them elsewhere: a model
    /// that is deleted and made anew begins with version 1 again.
    pub(super) fn identity(&self, server: &MlflowServer) -> String {
        let Self { name, version, created, run_id, .. } = self;
        format!("{}/{version} created:{created} run:{} at {}", shown(name), shown(run_id), server.tracking())
    }
}

/// The version that `reference` selects now.
pub(super) async fn selected(server: &MlflowServer, reference: &MlflowReference) -> Result<ModelVersion, SourceError> {
    let name = reference.name.as_str();
    let model = format!("model `{}`", shown(name));
    match &reference.selector {
        MlflowSelector::Alias(alias) => {
            let query = [("name", name), ("alias", alias)];
            parse(
                &server.get(&["registered-models", "alias"], &query, Question::Alias { model: name, alias }).await?["model_version"],
            )
        }
        MlflowSelector::Version(version) => numbered(server, name, *version).await,
        MlflowSelector::Stage(stage) => {
            let versions = latest_versions(server, name, &model).await?;
            let in_stage = versions.into_iter().filter(|version| version.stage.eq_ignore_ascii_case(stage));
            let newest = in_stage.max_by_key(|version| version.version).ok_or_else(|| {
                SourceError::new(
                    SourceErrorCode::AliasMissing,
                    format!("{model} has no version in stage `{stage}`"),
                    "move a version to the stage; better, use an alias: stages are deprecated in MLflow",
                )
            })?;
            // The list leaves aliases out.
            numbered(server, name, newest.version).await
        }
        MlflowSelector::Latest => {
            let newest = latest_versions(server, name, &model).await?.into_iter().max_by_key(|version| version.version);
            let newest = newest.ok_or_else(|| {
                SourceError::new(
                    SourceErrorCode::NotFound,
                    format!("{model} has no versions"),
                    "register a version in MLflow",
                )
            })?;
            numbered(server, name, newest.version).await
        }
    }
}

async fn numbered(server: &MlflowServer, name: &str, version: u64) -> Result<ModelVersion, SourceError> {
    let (number, what) = (version.to_string(), format!("version `{version}` of model `{}`", shown(name)));
    let query = [("name", name), ("version", number.as_str())];
    parse(&server.get(&["model-versions", "get"], &query, Question::Plain(&what)).await?["model_version"])
}

/// The newest version of each stage.
async fn latest_versions(server: &MlflowServer, name: &str, model: &str) -> Result<Vec<ModelVersion>, SourceError> {
    let answer = server.get(&["registered-models", "get"], &[("name", name)], Question::Plain(model)).await?;
    answer["registered_model"]["latest_versions"].as_array().into_iter().flatten().map(parse).collect()
}

/// Where the files of the version are.
pub(super) async fn artifact_uri(server: &MlflowServer, version: &ModelVersion) -> Result<String, SourceError> {
    let number = version.version.to_string();
    let query = [("name", version.name.as_str()), ("version", number.as_str())];
    let what = format!("files of version `{number}` of model `{}`", shown(&version.name));
    let answer = server.get(&["model-versions", "get-download-uri"], &query, Question::Plain(&what)).await?;
    answer["artifact_uri"].as_str().map(str::to_owned).ok_or_else(|| incomplete("artifact_uri"))
}

fn parse(value: &Value) -> Result<ModelVersion, SourceError> {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| match &value[key] {
        Value::String(digits) => digits.parse().ok(),
        number => number.as_u64(),
    };
    let name = text("name");
    if name.is_empty() {
        return Err(incomplete("name"));
    }
    let tags = value["tags"].as_array().into_iter().flatten();
    Ok(ModelVersion {
        name,
        version: number("version").ok_or_else(|| incomplete("version"))?,
        created: number("creation_timestamp").ok_or_else(|| incomplete("creation_timestamp"))?,
        run_id: text("run_id"),
        source: text("source"),
        status: text("status"),
        stage: text("current_stage"),
        description: text("description"),
        aliases: value["aliases"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        tags: tags
            .filter_map(|tag| Some((tag["key"].as_str()?.to_owned(), tag["value"].as_str()?.to_owned())))
            .collect(),
    })
}

fn incomplete(field: &str) -> SourceError {
    SourceError::new(
        SourceErrorCode::UnexpectedAnswer,
        format!("MLflow's answer has no `{field}`"),
        "check that MLFLOW_TRACKING_URI is an MLflow server, version 2.3 or newer",
    )
}
