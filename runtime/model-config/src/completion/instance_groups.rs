//! Names, kinds and counts of instance groups.
//!
//! Triton gives ONNX models two CPU instances by default. We give one: an engine already uses every core for one
//! execution, so that a second instance doubles the memory and lets two executions take each other's cores. KIND_AUTO is
//! decided here only where there is no GPU: with one, whoever places the instances decides by the room that there is.

use super::{CompletionFacts, FilledField};
use crate::wire;
use crate::wire::model_instance_group::Kind;

pub(super) fn complete(config: &mut wire::ModelConfig, facts: &CompletionFacts, filled: &mut Vec<FilledField>) {
    let wire::ModelConfig { name, instance_group, .. } = config;
    if instance_group.is_empty() {
        instance_group.push(wire::ModelInstanceGroup { name: name.clone(), ..Default::default() });
        filled.push(FilledField::new("instance_group[0]", name.as_str(), "no group is given"));
    }
    for (index, group) in instance_group.iter_mut().enumerate() {
        let path = format!("instance_group[{index}]");
        if group.name.is_empty() {
            group.name = format!("{name}_{index}");
            filled.push(FilledField::new(format!("{path}.name"), &group.name, "no name is given"));
        }
        if group.kind == i32::from(Kind::Auto) && !facts.gpu_available {
            let reason = "no GPU is available to this model";
            group.kind = Kind::Cpu.into();
            filled.push(FilledField::new(format!("{path}.kind"), Kind::Cpu.as_str_name(), reason));
            // As in Triton, GPUs listed for KIND_AUTO are a wish that ends where there is none.
            if !group.gpus.is_empty() {
                group.gpus.clear();
                filled.push(FilledField::new(format!("{path}.gpus"), "[]", reason));
            }
        }
        if group.count == 0 {
            group.count = 1;
            filled.push(FilledField::new(format!("{path}.count"), "1", "no count is given"));
        }
    }
}
