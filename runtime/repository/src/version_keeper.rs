//! Who keeps what a loaded version needs from being removed: a contract that somebody above the repository fulfils.

use std::fmt::Debug;

/// What is kept for as long as this value lives.
pub type KeptVersion = Box<dyn Debug + Send + Sync>;

/// Keeps versions that are loaded. Called on loading threads; may block.
pub trait VersionKeeper: Debug + Send + Sync {
    /// Called before a version is loaded, at each reload too. What is returned is dropped when loading has failed, or when the
    /// version is out of service and its last request is finished.
    fn keep(&self, model: &str, version: u64) -> KeptVersion;
}
