//! Versions of MLflow's registry: over its REST API, with artifacts through the tracking server or from object storage.
//!
//! Paths are those of `/api/2.0/mlflow`, which servers 2.x and 3.x answer. The ONNX flavour is served; of every other one
//! the refusal says what the version holds and how to get ONNX from it.

mod artifact_place;
mod flavour;
mod ml_model;
mod model_config;
mod model_version;
mod provenance;
mod proxy;
mod server;
mod server_error;
mod signature;
mod source;

pub(crate) use artifact_place::ArtifactPlace;
pub(crate) use proxy::ProxiedFiles;
pub(crate) use server::MlflowServer;
pub use signature::{ModelSignature, SignatureTensor};
pub use source::ServingModel;
pub(crate) use source::{named_version, resolve};
