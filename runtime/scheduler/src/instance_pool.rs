//! A model's instances: how many, where, under what names, and how one is made.
//!
//! Not a scheduler: which instance executes what is decided elsewhere.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hanok_backend::{ErrorCode, InstancePlacement, Model, ModelInstance, Placement, ServingError};
use hanok_model_config::{InstanceGroup, InstanceKind, ModelConfig, Scheduling};
use hanok_tensor::AlignedBuffer;

/// Most instances of one model; a configuration that asks for more is refused.
pub(crate) const MAX_INSTANCES: usize = 1024;

/// Longest thread name that Linux shows.
const THREAD_NAME_LENGTH: usize = 15;

/// One instance with the buffers that its batches are gathered in.
#[derive(Debug)]
pub(crate) struct InstanceRunner {
    pub(crate) instance: Box<dyn ModelInstance>,
    /// The GPU whose memory the instance uses by itself: it gathers by itself too.
    pub(crate) device: Option<u32>,
    /// Whether it takes the next batch while it computes one.
    pub(crate) pipelined: bool,
    /// One per input, then one per control tensor.
    pub(crate) buffers: Vec<AlignedBuffer>,
}

impl InstanceRunner {
    /// Creates an instance; a panic of the backend is an error.
    pub(crate) fn create(
        model: &dyn Model,
        config: &ModelConfig,
        placement: &InstancePlacement,
    ) -> Result<Box<Self>, ServingError> {
        let created = catch_unwind(AssertUnwindSafe(|| model.create_instance(placement)));
        let mut instance = created.unwrap_or_else(|panic| {
            Err(ServingError::internal("the model failed while an instance was created")
                .with_operator_detail(panic_text(panic.as_ref())))
        })?;
        let controls = match &config.scheduling {
            Scheduling::Sequence(sequence) => sequence.controls.len(),
            _ => 0,
        };
        let buffers = (0..config.inputs.len() + controls).map(|_| AlignedBuffer::new()).collect();
        let (device, pipelined) = (instance.device(), instance.pipelined().is_some());
        Ok(Box::new(Self { instance, device, pipelined, buffers }))
    }

    /// Drops the instance; a panic on the way is swallowed, since the instance is lost anyway.
    pub(crate) fn discard(self: Box<Self>) {
        if catch_unwind(AssertUnwindSafe(|| drop(self))).is_err() {
            tracing::warn!("a model instance panicked while it was dropped");
        }
    }
}

/// The text of a panic, for the operator.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("no text"))
}

/// The instances that a configuration asks for.
pub(crate) fn placements(config: &ModelConfig) -> Result<Vec<InstancePlacement>, ServingError> {
    let mut placements = Vec::new();
    for group in &config.instance_groups {
        let places = places_of(group);
        let wanted = places.len().saturating_mul(group.count as usize);
        if placements.len().saturating_add(wanted) > MAX_INSTANCES {
            return Err(ServingError::new(
                ErrorCode::ResourceExhausted,
                format!("expected at most `{MAX_INSTANCES}` instances of a model, got more"),
            ));
        }
        let mut index = 0;
        for placement in places {
            for _ in 0..group.count {
                placements.push(InstancePlacement { name: format!("{}_{index}", group.name), placement });
                index += 1;
            }
        }
    }
    if placements.is_empty() {
        return Err(ServingError::invalid("expected at least `1` instance of the model, got `0`"));
    }
    Ok(placements)
}

fn places_of(group: &InstanceGroup) -> Vec<Placement> {
    let gpus = || group.gpus.iter().map(|&gpu| Placement::Gpu(gpu)).collect::<Vec<_>>();
    match group.kind {
        InstanceKind::Cpu => vec![Placement::Cpu],
        InstanceKind::Model => vec![Placement::Model],
        InstanceKind::Gpu if group.gpus.is_empty() => vec![Placement::Gpu(0)],
        InstanceKind::Auto if group.gpus.is_empty() => vec![Placement::Cpu],
        InstanceKind::Gpu | InstanceKind::Auto => gpus(),
    }
}

/// A name for the instance's thread that tools show whole: the front of the instance's name, and its number.
pub(crate) fn thread_name(placement: &InstancePlacement, number: usize) -> String {
    let name = &placement.name;
    if name.len() <= THREAD_NAME_LENGTH {
        return name.clone();
    }
    let tail = format!(".{number}");
    let mut end = THREAD_NAME_LENGTH - tail.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{tail}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_names_fit() {
        let name = |name: &str, number| {
            thread_name(&InstancePlacement { name: name.into(), placement: Placement::Cpu }, number)
        };
        assert_eq!(name("simple_0_0", 0), "simple_0_0");
        assert_eq!(name("flight_delay_0_1", 1), "flight_delay_.1");
        assert_eq!(name("한옥한옥한옥한옥", 1023).len(), 14);
    }
}
