//! Who may say no before a model is loaded: a contract that somebody above the repository fulfils.

use std::path::Path;

/// Judges models before they are loaded, at start and later. Called on loading threads; may block.
pub trait LoadGate: std::fmt::Debug + Send + Sync {
    /// Whether the model in this folder may be loaded, as it lies there now; else why not, for the log and for whoever asked.
    ///
    /// # Errors
    /// The reason, on one line, without paths.
    fn admit(&self, model: &str, folder: &Path) -> Result<(), String>;
}
