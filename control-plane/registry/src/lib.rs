//! The local registry: models, immutable versions, stages, aliases, approvals, lineage, and their files by content.
//!
//! One [`Registry`] stands on a folder: rows in SQLite, files named by their SHA-256. Several processes may use the same
//! folder at once. It knows no network (`hanok-sources` brings files in) and no tensor; nothing in it reads a clock.
//! Calls block on the disk: from a tokio thread they go through `spawn_blocking`.
//!
//! Invariants: what was acknowledged is on the disk; every change and its log record are one transaction; a version's
//! content never changes; an operation that fails or is killed leaves nothing; what is in use is never evicted.

mod audit;
mod changes;
mod database;
mod difference;
mod digest;
mod error;
mod eviction;
mod export;
mod filter;
mod folder;
mod housekeeping;
mod import;
mod known_sources;
mod laying;
mod local_files;
mod lock_check;
mod lock_file;
mod manifest;
mod model_folder;
mod names;
mod policy;
mod registry;
mod reserve;
mod rows;
mod schema;
mod stage;
mod staging;
mod syncing;
mod text;
mod unique_keys;
mod verify;
mod version;
mod walk;

pub use audit::{Action, LogRecord};
pub use changes::{AliasExpectation, StageMove};
pub use difference::{FactChange, FileChange, VersionDifference, difference};
pub use digest::{Digest, DigestBuilder};
pub use error::{ErrorCode, RegistryError, StorageFailure};
pub use eviction::{StoredVersion, choose_evictions, stored_bytes};
pub use export::Exported;
pub use filter::VersionFilter;
pub use folder::is_registry;
pub use housekeeping::{CollectRequest, Collected};
pub use import::{Import, ImportFile, Registered};
pub use known_sources::KnownSources;
pub use local_files::{LocalFiles, Provenance};
pub use lock_check::{LockProblem, check_locked, check_model};
pub use lock_file::{LockFile, LockedModel, LockedVersion};
pub use manifest::{FileContent, Manifest};
pub use model_folder::{FoundModel, find_model, find_models};
pub use names::{NAME_BYTES, PATH_BYTES, PATH_DEPTH, Selector, VersionName, VersionReference, check_name, check_path};
pub use policy::{Approval, ModelPolicy, NewApproval, Obstacle, StageRule, Verdict, obstacles};
pub use registry::{Hold, Registry, RegistrySettings};
pub use stage::{Stage, is_transition};
pub use text::{TEXT_BYTES, is_address, is_text, is_value, one_line};
pub use verify::{BlobProblem, VerifyReport};
pub use version::{
    Actor, GitCommit, Lineage, LineageStep, Model, Origin, Signature, TensorSignature, TrainingData, Version,
    VersionFacts, VersionRecord,
};
