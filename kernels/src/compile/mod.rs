//! From CUDA sources to machine code: embedded, out of the cache, or compiled now.
//!
//! Needs no device. Invariant: for one source, architecture and compiler version the answer is always the same program.

mod architecture;
mod cache;
mod nvrtc;
mod resources;

pub use architecture::Architecture;
pub use cache::{CacheKey, CubinCache, Lookup};
pub use nvrtc::{Compiled, Nvrtc, NvrtcError, Target, nvrtc_candidates};
pub use resources::{KernelResources, kernel_resources};

use std::sync::OnceLock;

use crate::Family;
use crate::error::KernelError;

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

/// Where a program came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is part of this executable.
    Embedded,
    /// Out of the cache.
    Cached,
    /// Compiled now, and stored.
    Compiled,
    /// Compiled now; a damaged file of the cache was replaced by it.
    Repaired,
    /// Compiled now, and compiled again next time: the reason why it was not stored.
    NotStored(String),
}

/// Finds or makes the machine code of families.
#[derive(Debug)]
pub struct Compiler {
    candidates: Vec<std::path::PathBuf>,
    cache: Option<CubinCache>,
    library: OnceLock<Result<Nvrtc, NvrtcError>>,
}

impl Compiler {
    /// A compiler that opens NVRTC from the first of `candidates` that works, when it is first needed, and keeps what it
    /// makes in `cache`.
    #[must_use]
    pub fn new(candidates: Vec<std::path::PathBuf>, cache: Option<CubinCache>) -> Self {
        Self { candidates, cache, library: OnceLock::new() }
    }

    /// The opened library.
    ///
    /// # Errors
    /// `Unavailable` with everything that was tried.
    pub fn library(&self) -> Result<&Nvrtc, KernelError> {
        let opened = self.library.get_or_init(|| Nvrtc::open(&self.candidates));
        opened
            .as_ref()
            .map_err(|error| KernelError::Unavailable { what: "the CUDA run-time compiler", reason: error.to_string() })
    }

    /// Machine code of `family` for a device of `architecture`.
    ///
    /// Blocks for the time of compiling, 0.5 to 8 seconds, when it is neither embedded nor cached.
    ///
    /// # Errors
    /// `Unavailable` without NVRTC, `Compile` when it refuses the source.
    pub fn cubin(&self, family: Family, architecture: Architecture) -> Result<(Vec<u8>, Origin), KernelError> {
        if let Some(image) = embedded_cubin(family, architecture) {
            return Ok((image.to_vec(), Origin::Embedded));
        }
        let library = self.library()?;
        let source = family.source();
        let name = architecture.machine_code();
        let key = CacheKey::new(family.name(), &source, &name, library.version());
        let found = self.cache.as_ref().map(|cache| cache.look_up(&key));
        if let Some(Lookup::Found(image)) = found {
            return Ok((image, Origin::Cached));
        }
        let compiled = library.compile(family.name(), &source, Target::Cubin(&name)).map_err(|error| {
            KernelError::Compile { family: family.name(), architecture: name, log: error.to_string() }
        })?;
        let stored = self.cache.as_ref().map(|cache| cache.store(&key, &compiled.image));
        let origin = match (stored, found) {
            (None, _) => Origin::NotStored("no cache folder is given".to_owned()),
            (Some(Err(error)), _) => Origin::NotStored(error.to_string()),
            (Some(Ok(())), Some(Lookup::Corrupted)) => Origin::Repaired,
            (Some(Ok(())), _) => Origin::Compiled,
        };
        Ok((compiled.image, origin))
    }
}

/// Architectures for which this executable carries machine code.
#[must_use]
pub fn embedded_architectures() -> Vec<Architecture> {
    let mut all: Vec<Architecture> = embedded::CUBINS.iter().filter_map(|(_, name, _)| name.parse().ok()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The best embedded machine code that runs on `architecture`.
fn embedded_cubin(family: Family, architecture: Architecture) -> Option<&'static [u8]> {
    embedded::CUBINS
        .iter()
        .filter(|(name, _, _)| *name == family.name())
        .filter_map(|(_, name, image)| Some((name.parse::<Architecture>().ok()?, *image)))
        .filter(|(made_for, _)| made_for.runs_on(architecture))
        .max_by_key(|(made_for, _)| *made_for)
        .map(|(_, image)| image)
}
