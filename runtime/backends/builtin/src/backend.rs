//! The three traits of the contract over the built-in models.
//!
//! Validation happens at load, so that an execution only computes.

use std::sync::Arc;
use std::time::Duration;

use hanok_backend::{Backend, Batch, InstancePlacement, Model, ModelInstance, ModelSource, Placement, ServingError};

use crate::delay::Delays;
use crate::sequence_accumulator::{self, Sums};
use crate::{ModelKind, add_sub, faults, identity, repeat, square};

/// The backend called `builtin`.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuiltinBackend;

impl BuiltinBackend {
    /// The backend's name in configurations.
    pub const NAME: &str = "builtin";

    /// The backend; it has no state.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Backend for BuiltinBackend {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, ServingError> {
        let config = &source.config;
        let kind = ModelKind::from_config(config)?;
        match kind {
            ModelKind::Identity => identity::validate(config),
            ModelKind::AddSub => add_sub::validate(config),
            ModelKind::Repeat => repeat::validate(config),
            ModelKind::Square => square::validate(config),
            ModelKind::SequenceAccumulator => sequence_accumulator::validate(config),
            ModelKind::Sleep | ModelKind::Fail | ModelKind::Panic => faults::validate(config),
        }?;
        let delays = Delays::from_config(config)?;
        if !delays.creation.is_zero() {
            std::thread::sleep(delays.creation);
        }
        Ok(Arc::new(BuiltinModel { kind, delays }))
    }
}

#[derive(Debug)]
struct BuiltinModel {
    kind: ModelKind,
    delays: Delays,
}

impl Model for BuiltinModel {
    fn create_instance(&self, placement: &InstancePlacement) -> Result<Box<dyn ModelInstance>, ServingError> {
        if let Placement::Gpu(_) = placement.placement {
            return Err(ServingError::unsupported(
                "backend `builtin` runs on the processors only: use `instance_group [{ kind: KIND_CPU }]`",
            ));
        }
        let delay = self.delays.for_instance(&placement.name);
        Ok(Box::new(BuiltinInstance { kind: self.kind, delay, sums: Sums::default() }))
    }
}

#[derive(Debug)]
struct BuiltinInstance {
    kind: ModelKind,
    delay: Duration,
    sums: Sums,
}

impl ModelInstance for BuiltinInstance {
    fn execute(&mut self, batch: &mut Batch<'_>) -> Result<(), ServingError> {
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
        match self.kind {
            ModelKind::Identity => identity::execute(batch),
            ModelKind::AddSub => add_sub::execute(batch),
            ModelKind::Repeat => {
                repeat::execute(batch);
                Ok(())
            }
            ModelKind::Square => {
                square::execute(batch);
                Ok(())
            }
            ModelKind::SequenceAccumulator => self.sums.execute(batch),
            ModelKind::Sleep => faults::sleep(batch),
            ModelKind::Fail => faults::fail(batch),
            ModelKind::Panic => faults::panic(batch),
        }
    }
}
