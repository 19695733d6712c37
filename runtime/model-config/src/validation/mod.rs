//! From the wire form to the validated form.

use crate::{CompletionFacts, ConfigProblem, ModelConfig, Notice, wire};

impl ModelConfig {
    /// Validates a completed configuration.
    ///
    /// # Errors
    /// Every problem found, each with the path of its field.
    pub fn from_wire(
        wire: wire::ModelConfig,
        facts: &CompletionFacts,
    ) -> Result<(Self, Vec<Notice>), Vec<ConfigProblem>> {
        let _ = (wire, facts);
        Err(vec![ConfigProblem::new("", "not built yet")])
    }
}
