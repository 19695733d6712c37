//! A registered model as a source: from the reference to the version, its files, and what serves it.

use std::collections::BTreeMap;

use super::artifact_place::{self, ArtifactPlace};
use super::ml_model::{self, OnnxModel};
use super::model_version::{self, ModelVersion};
use super::proxy::ProxiedFiles;
use super::server::MlflowServer;
use super::signature::ModelSignature;
use super::{model_config, provenance};
use crate::artifact_path::shown;
use crate::bucket::BucketObjects;
use crate::listing::listing_digest;
use crate::{
    ArtifactPath, Credentials, ListedFile, MlflowReference, MlflowSelector, Revision, Sha256Digest, SourceError,
    SourceErrorCode,
};

/// What a server needs to serve the fetched files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingModel {
    /// The model's file, within the fetched folder. What it refers to (external data) lies beside it.
    pub file: ArtifactPath,
    /// What the publisher declared, where it names tensors.
    pub signature: Option<ModelSignature>,
    /// A `config.pbtxt` for a version folder that is the fetched folder as it is.
    pub config: String,
}

/// A version, resolved.
#[derive(Debug)]
pub(crate) struct ResolvedVersion {
    pub(crate) pinned: MlflowReference,
    pub(crate) revision: Revision,
    pub(crate) place: ArtifactPlace,
    pub(crate) files: Vec<ListedFile>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) serving: ServingModel,
}

/// Largest `MLmodel`.
const MOST_ML_MODEL_BYTES: u64 = 1 << 20;

/// The version that `reference` names now, as a text that begins with `NAME/VERSION`: one cheap call, for watching.
pub(crate) async fn named_version(server: &MlflowServer, reference: &MlflowReference) -> Result<String, SourceError> {
    Ok(model_version::selected(server, reference).await?.identity(server))
}

/// The version that `reference` names now, with its files.
pub(crate) async fn resolve(
    server: &MlflowServer,
    reference: &MlflowReference,
    credentials: &Credentials,
) -> Result<ResolvedVersion, SourceError> {
    let version = model_version::selected(server, reference).await?;
    if !["READY", ""].contains(&version.status.as_str()) {
        return Err(SourceError::new(
            SourceErrorCode::NotReady,
            format!(
                "version `{}` of model `{}` is `{}`",
                version.version,
                shown(&version.name),
                shown(&version.status)
            ),
            "wait until MLflow says READY; if it failed, register the version again",
        ));
    }
    let uri = model_version::artifact_uri(server, &version).await?;
    let place = artifact_place::parse(&uri)?;
    let ml_model = ArtifactPath::parse("MLmodel")?;
    let has_model = |files: &[ListedFile]| {
        if files.iter().any(|file| file.path == ml_model) { Ok(()) } else { Err(no_model(&version)) }
    };
    let (files, document) = match &place {
        ArtifactPlace::Proxy(below) => {
            let proxied = ProxiedFiles { server: server.clone(), below: below.clone() };
            let files = proxied.list().await?;
            has_model(&files)?;
            (files, proxied.read(&ml_model, MOST_ML_MODEL_BYTES).await?)
        }
        ArtifactPlace::Bucket(bucket) => {
            let objects = BucketObjects::open(server.client(), bucket, credentials, server.limits())?;
            let files = objects.list().await?;
            has_model(&files)?;
            (files, objects.read(&ml_model, MOST_ML_MODEL_BYTES).await?)
        }
    };
    let onnx = ml_model::parse(&document, &version.name, version.version)?;
    // A version's files are not to change; if they do all the same, the listing shows most of it. `MLmodel` tells the
    // model's own name and the instant at which it was logged.
    let (identity, listed) = (version.identity(server), listing_digest(&files));
    let text = format!("mlflow {identity} {uri} listing:{listed} MLmodel:{}", Sha256Digest::of(&document));
    let mut metadata = metadata(&version, &uri, &onnx, provenance::of_run(server, &version.run_id).await?);
    metadata.insert("mlflow.server".to_owned(), server.tracking().to_string());
    finish(&version, Revision::lasting(text), place, files, onnx, metadata)
}

fn finish(
    version: &ModelVersion,
    revision: Revision,
    place: ArtifactPlace,
    files: Vec<ListedFile>,
    onnx: OnnxModel,
    metadata: BTreeMap<String, String>,
) -> Result<ResolvedVersion, SourceError> {
    // With external data the flavour names a folder's file all the same; anything else is a damaged upload.
    if !files.iter().any(|file| file.path == onnx.file) {
        return Err(SourceError::new(
            SourceErrorCode::InvalidModel,
            format!("`MLmodel` names `{}`, which is not among the version's files", onnx.file),
            "log the model again: its upload was not complete",
        ));
    }
    let (name, number) = (&version.name, version.version);
    let config = model_config::written(
        onnx.file.as_str(),
        onnx.signature.as_ref(),
        &format!("version {number} of MLflow's model {name}"),
    );
    let serving = ServingModel { file: onnx.file, signature: onnx.signature, config };
    let pinned = MlflowReference { name: name.clone(), selector: MlflowSelector::Version(number) };
    Ok(ResolvedVersion { pinned, revision, place, files, metadata, serving })
}

fn metadata(
    version: &ModelVersion,
    uri: &str,
    onnx: &OnnxModel,
    facts: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut metadata = facts;
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            metadata.insert(key.to_owned(), value.to_owned());
        }
    };
    add("mlflow.model", &version.name);
    add("mlflow.version", &version.version.to_string());
    add("mlflow.run", &version.run_id);
    add("mlflow.source", &version.source);
    add("mlflow.artifacts", uri);
    add("mlflow.stage", &version.stage);
    add("mlflow.aliases", &version.aliases.join(","));
    add("description", &version.description);
    add("mlflow.logged_model", onnx.model_id.as_deref().unwrap_or_default());
    add("mlflow.release", onnx.mlflow_version.as_deref().unwrap_or_default());
    add("created", onnx.created.as_deref().unwrap_or_default());
    for (key, value) in &version.tags {
        add(&format!("tag.{key}"), value);
    }
    metadata
}

fn no_model(version: &ModelVersion) -> SourceError {
    SourceError::new(
        SourceErrorCode::InvalidModel,
        format!("version `{}` of model `{}` has no file `MLmodel`", version.version, shown(&version.name)),
        "register what mlflow.onnx.log_model(…) logged; plain artifacts can be pulled from their bucket",
    )
}
