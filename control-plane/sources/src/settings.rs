//! What the operator sets once for all sources. Nothing here is read from the environment: the caller passes values.

use std::path::PathBuf;

use crate::egress::AllowedPlace;
use crate::{Credentials, Limits};

/// Settings of all sources.
#[derive(Clone, Debug, Default)]
pub struct SourceSettings {
    /// Places besides public ones that may be connected to; those may also be spoken to without encryption.
    pub allowed: Vec<AllowedPlace>,
    /// Bounds of one pull.
    pub limits: Limits,
    /// Who we are to whom.
    pub credentials: Credentials,
    /// PEM file with certificate authorities besides this system's.
    pub certificate_authorities: Option<PathBuf>,
}
