//! What every front door of the server shares.

use std::sync::Arc;

use hanok_protocol::StatusProfile;
use hanok_repository::ModelRepository;
use hanok_telemetry::{Logging, Tracer};
use regex::Regex;

use crate::admission::Admission;
use crate::cuda_regions::{CudaRegions, NamedRegions};
use crate::lifecycle::Lifecycle;
use crate::system_regions::{AllRegions, SystemRegions};
use crate::traffic::Traffic;
use crate::{Limits, Management};

/// Name and version that server metadata tells.
#[derive(Clone, Debug)]
pub struct ServerIdentity {
    /// Name; clients of Triton look for `triton`.
    pub name: String,
    /// Version of this server.
    pub version: String,
}

/// What the server behaves like, beyond its limits.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// How failures become statuses.
    pub profile: StatusProfile,
    /// Whether readiness asks that every model is ready.
    pub strict_readiness: bool,
    /// Headers whose names match become request parameters (W-99); HTTP.
    pub http_header_forward: Option<Regex>,
    /// The same for gRPC metadata keys.
    pub grpc_header_forward: Option<Regex>,
    /// Whether replies of inference over gRPC are compressed for clients that take it (W-55).
    pub compress_grpc_replies: bool,
    /// Who may change what the server does.
    pub management: Management,
    /// Name and version that server metadata tells.
    pub identity: ServerIdentity,
}

/// What every front door of the server shares.
#[derive(Debug)]
pub struct ServerState {
    /// The models.
    pub repository: Arc<ModelRepository>,
    /// Which version serves a request, and what is told of it.
    pub traffic: Arc<Traffic>,
    /// Every bound.
    pub limits: Limits,
    /// Counts of what is inside.
    pub admission: Arc<Admission>,
    /// The stage of the server's life.
    pub lifecycle: Lifecycle,
    /// Device memory that clients made known.
    pub cuda_regions: CudaRegions,
    /// Memory of this machine that clients made known.
    pub system_regions: SystemRegions,
    /// Everything else that is configured.
    pub behaviour: Behaviour,
    /// The process's log, for requests that change its level.
    pub logging: Option<Arc<Logging>>,
    /// Who samples requests and has their traces written.
    pub tracer: Arc<Tracer>,
}

impl ServerState {
    /// What requests find under the names of regions.
    pub(crate) fn regions(&self) -> AllRegions<'_> {
        let cuda = NamedRegions { regions: &self.cuda_regions, gpus: self.repository.gpus() };
        AllRegions { system: &self.system_regions, cuda }
    }

    /// Whether the server as a whole is ready (W-12).
    #[must_use]
    pub fn is_ready(&self) -> bool {
        use crate::lifecycle::Stage;
        self.lifecycle.stage() == Stage::Serving && (!self.behaviour.strict_readiness || self.repository.all_ready())
    }

    /// Whether the process is alive and not on its last step.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.lifecycle.stage() != crate::lifecycle::Stage::Stopped
    }
}
