//! Where models are pulled from: MLflow, object storage, web servers, Git.
//!
//! One contract for all: a [`SourceReference`] is parsed from text, [`Sources::resolve`] says what it names now, and
//! [`Sources::fetch`] brings that to a folder which nobody sees before it is whole and verified. Not a registry: what a
//! model is called here, which version serves and who approved it is decided elsewhere. Who reads and writes single objects
//! in parts, tables for example, opens their bucket ([`Sources::bucket`]).
//!
//! Invariants: no stranger's name becomes a path before [`ArtifactPath`] has checked it; nobody is connected to before
//! [`AddressPolicy`] has judged the very address; everything that a stranger sends is bounded by [`Limits`]; no
//! credential is part of a reference, a log line or an error.

mod artifact_path;
mod bucket;
mod credentials;
mod digest;
mod download;
mod egress;
mod error;
mod git;
mod limits;
mod listing;
mod mlflow;
mod reference;
mod resolved;
mod settings;
mod sources;
mod staging;
mod watch;
mod web;
mod webhook;

pub use artifact_path::ArtifactPath;
pub use bucket::{OpenBucket, StoredObject, Upload};
pub use credentials::{Credentials, Secret, VARIABLES};
pub use digest::{Sha256Digest, folder_digest};
pub use egress::{AddressClass, AddressPolicy, AllowedPlace};
pub use error::{SourceError, SourceErrorCode};
pub use limits::{Limits, MinimumRate};
pub use listing::ListedFile;
pub use mlflow::{ModelSignature, ServingModel, SignatureTensor};
pub use reference::{
    BucketProvider, BucketReference, GitReference, GitRevision, GitTransport, MlflowReference, MlflowSelector,
    SourceReference, WebReference, holds_secret_parameter,
};
pub use resolved::{Contents, FetchedFolder, ResolvedSource, Revision};
pub use settings::SourceSettings;
pub use sources::Sources;
pub use staging::FetchedFile;
pub use watch::{Seen, WatchEvent, WatchPlan, WatchState, watch};
pub use webhook::{Delivery, WebhookSender, verify_webhook};
