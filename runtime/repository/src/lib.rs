//! The model repository: folders of models become versions that are ready to serve, and stay so.
//!
//! Serving reads one immutable snapshot ([`ReadyModels`]) without a lock; loading builds beside it, on threads of its
//! own, and swaps the snapshot when everything is warm. A load that fails changes nothing that serves.

mod backend_registry;
mod feature_step;
mod gpu_devices;
mod last_load;
mod layout;
mod lifecycle;
mod load_gate;
mod loading;
mod model_state;
mod override_files;
mod poller;
mod ready_models;
mod reload;
mod retirement;
mod version_keeper;
mod version_policy;
mod warmup;

pub use backend_registry::BackendRegistry;
pub use feature_step::{FeatureSource, FeatureStep, FillFuture, FilledRequest};
pub use gpu_devices::GpuDevices;
pub use layout::{FolderProblem, ModelFolder, ModelRoots};
pub use lifecycle::{ControlMode, LoadRequest, ModelRepository, RepositorySettings};
pub use load_gate::LoadGate;
pub use model_state::{IndexEntry, VersionState};
pub use poller::Poller;
pub use ready_models::{ReadyModel, ReadyModels, ReadyVersion};
pub use version_keeper::{KeptVersion, VersionKeeper};
pub use version_policy::versions_to_serve;
