//! The GPUs that models may use: where their instances go, and the memory that they are promised before anything is loaded.
//!
//! **Experimental: no GPU has confirmed it.** What is decided is decided by `hanok-devices`; here stand the estimate and the
//! translation from a configuration and back. Memory is promised per version, and given back with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use hanok_backend::{ErrorCode, ServingError};
use hanok_devices::{
    Device, DeviceBudget, Discovery, GroupWish, MemoryEstimate, MemoryPromise, Place, PlacementError, WishKind,
};
use hanok_model_config::wire::model_instance_group::Kind;
use hanok_model_config::{InstanceKind, ModelConfig};
use hanok_tensor::{DataType, Shape};

/// What an engine needs besides weights and tensors: its handles, its workspace, its kernels.
const ENGINE_BYTES: u64 = 128 << 20;

/// Intermediate values, as a multiple of the inputs and outputs of a full batch.
const INTERMEDIATE_FACTOR: u64 = 4;

/// The GPUs of this process and what is promised of them.
#[derive(Debug)]
pub struct GpuDevices {
    discovery: Discovery,
    budget: Arc<DeviceBudget>,
}

impl GpuDevices {
    /// The devices that were found; `limits` are parts of their memory, from 0 to 1, beyond which nothing is loaded.
    #[must_use]
    pub fn new(discovery: Discovery, limits: &BTreeMap<u32, f64>) -> Self {
        let budget = Arc::new(DeviceBudget::default());
        for device in &discovery.devices {
            let foreign = device.free_bytes.map_or(0, |free| device.memory_bytes.saturating_sub(free));
            let limit = limits.get(&device.ordinal).copied().unwrap_or(1.0);
            budget.open(device.ordinal, device.memory_bytes, foreign, limit);
        }
        Self { discovery, budget }
    }

    /// The devices.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.discovery.devices
    }

    /// What was found of driver and devices.
    #[must_use]
    pub fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// Bytes of a device that are promised to loaded models.
    #[must_use]
    pub fn promised_bytes(&self, ordinal: u32) -> u64 {
        self.budget.promised(ordinal)
    }

    /// Gives every group of `config` that is not bound to the processors its place, and promises the memory.
    pub(crate) fn place(
        &self,
        config: &ModelConfig,
        version_directory: &Path,
    ) -> Result<(ModelConfig, MemoryPromise), ServingError> {
        let estimate = estimate(config, weights_bytes(version_directory));
        let wishes: Vec<GroupWish> = config.instance_groups.iter().map(wish).collect();
        let used = |ordinal| self.discovery.used_bytes(ordinal);
        let (placed, promise) = self.budget.admit(&wishes, estimate, used).map_err(|error| refusal(config, &error))?;
        let mut config = config.clone();
        for (index, placed) in placed.into_iter().enumerate() {
            let group = &mut config.instance_groups[index];
            if !placed.left_out.is_empty() {
                tracing::warn!(
                    model = config.name,
                    group = group.name,
                    gpus = ?placed.left_out,
                    needed = estimate.per_instance_bytes,
                    "GPUs without room for an instance are left out"
                );
            }
            if matches!(group.kind, InstanceKind::Cpu | InstanceKind::Model) {
                continue;
            }
            let (kind, wire_kind, gpus) = match placed.place {
                Place::Cpu => (InstanceKind::Cpu, Kind::Cpu, Vec::new()),
                Place::Gpus(gpus) => (InstanceKind::Gpu, Kind::Gpu, gpus),
            };
            group.kind = kind;
            if let Some(wire) = config.wire.instance_group.get_mut(index) {
                wire.kind = wire_kind.into();
                wire.gpus = gpus.iter().filter_map(|&gpu| i32::try_from(gpu).ok()).collect();
            }
            group.gpus = gpus;
        }
        Ok((config, promise))
    }

    /// Replaces an estimate by what the loaded and warmed version took. Loads side by side on one device are told apart only
    /// by their sum, so that what was estimated stays where the device took less than the weights.
    pub(crate) fn settle(&self, promise: &mut MemoryPromise, used_before: &BTreeMap<u32, u64>) {
        let gpus: Vec<(u32, u64)> = promise.bytes().iter().map(|(&gpu, &bytes)| (gpu, bytes)).collect();
        for (gpu, estimated) in gpus {
            let (Some(before), Some(now)) = (used_before.get(&gpu), self.discovery.used_bytes(gpu)) else { continue };
            let measured = now.saturating_sub(*before);
            tracing::debug!(gpu, estimated, measured, "memory of a loaded version");
            if measured > 0 {
                promise.settle(gpu, measured);
            }
        }
    }

    /// Memory in use on the devices of `promise`, by whomever.
    pub(crate) fn used(&self, promise: &MemoryPromise) -> BTreeMap<u32, u64> {
        promise.bytes().keys().filter_map(|&gpu| Some((gpu, self.discovery.used_bytes(gpu)?))).collect()
    }
}

/// Whether a group of `config` may run on a GPU.
pub(crate) fn needs_placing(config: &ModelConfig) -> bool {
    config.instance_groups.iter().any(|group| matches!(group.kind, InstanceKind::Gpu | InstanceKind::Auto))
}

/// Why models of `backend` cannot use a GPU; `None` when they can.
pub(crate) fn absence(
    gpus: Option<&GpuDevices>,
    backend: &str,
    executes_on_gpus: impl FnOnce() -> bool,
) -> Option<String> {
    let Some(gpus) = gpus else {
        return Some("GPUs are off: start the server with --cuda, which is experimental".to_owned());
    };
    gpus.discovery.why_none().or_else(|| {
        (!executes_on_gpus())
            .then(|| format!("backend `{backend}` does not execute on GPUs here; `hanok doctor` says why"))
    })
}

fn wish(group: &hanok_model_config::InstanceGroup) -> GroupWish {
    let kind = match group.kind {
        InstanceKind::Auto => WishKind::Auto,
        InstanceKind::Gpu => WishKind::Gpu,
        InstanceKind::Cpu | InstanceKind::Model => WishKind::Cpu,
    };
    GroupWish { name: group.name.clone(), kind, count: group.count, gpus: group.gpus.clone() }
}

fn refusal(config: &ModelConfig, error: &PlacementError) -> ServingError {
    let code = match error {
        PlacementError::NoGpu { .. } => ErrorCode::Unavailable,
        PlacementError::NoSuchGpu { .. } => ErrorCode::InvalidArgument,
        PlacementError::NoRoom { .. } => ErrorCode::ResourceExhausted,
    };
    ServingError::new(code, format!("model '{}': {error}", config.name))
}

/// Bytes of a version's files: its weights, in whatever files they lie.
fn weights_bytes(directory: &Path) -> u64 {
    fn sum(directory: &Path, depth: u32) -> u64 {
        let Ok(entries) = fs::read_dir(directory) else { return 0 };
        let of = |entry: fs::DirEntry| match entry.metadata() {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(metadata) if metadata.is_dir() && depth > 0 => sum(&entry.path(), depth - 1),
            _ => 0,
        };
        entries.flatten().map(of).sum()
    }
    sum(directory, 1)
}

/// What an instance takes: its copy of the weights, what a full batch needs, and the engine itself. A dimension of any size
/// counts as one: such models are measured, not known before.
fn estimate(config: &ModelConfig, weights: u64) -> MemoryEstimate {
    let rows = u64::from(config.max_batch_size.max(1));
    let inputs = config.inputs.iter().map(|input| (input.model_dims(), input.data_type));
    let outputs = config.outputs.iter().map(|output| (output.model_dims(), output.data_type));
    let tensors = inputs.chain(outputs).map(|(dims, data_type)| row_bytes(dims, data_type));
    let batch = tensors.fold(0_u64, u64::saturating_add).saturating_mul(rows);
    let bytes = weights.saturating_add(batch.saturating_mul(INTERMEDIATE_FACTOR)).saturating_add(ENGINE_BYTES);
    MemoryEstimate { per_instance_bytes: bytes }
}

fn row_bytes(dims: &Shape, data_type: DataType) -> u64 {
    let elements = dims.iter().map(|&dimension| u64::try_from(dimension).unwrap_or(1).max(1));
    let size = data_type.element_size().map_or(8, |size| size as u64);
    elements.fold(size, u64::saturating_mul)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use hanok_devices::{ComputeCapability, DeviceError, DeviceKind};
    use hanok_model_config::{CompletionFacts, load_config};

    use super::*;

    const GIB: u64 = 1 << 30;

    fn gpus(memory: &[u64]) -> GpuDevices {
        let none = DeviceError::Unavailable { what: "a stand-in", reason: "there is none".to_owned() };
        let device = |(ordinal, &memory_bytes): (u32, &u64)| Device {
            ordinal,
            uuid: format!("GPU-{ordinal}"),
            name: "described".to_owned(),
            kind: DeviceKind::Gpu,
            memory_bytes,
            free_bytes: None,
            capability: ComputeCapability { major: 9, minor: 0 },
        };
        let devices = (0..).zip(memory).map(device).collect();
        let discovery = Discovery { driver: Err(none.clone()), nvml: Err(none), devices, failures: Vec::new() };
        GpuDevices::new(discovery, &BTreeMap::new())
    }

    fn config(groups: &str) -> ModelConfig {
        let text = format!(
            "backend: 'b' max_batch_size: 8 instance_group [ {groups} ]
             input {{ name: 'x' data_type: TYPE_FP32 dims: [ 3, 224, 224 ] }} output {{ name: 'y' data_type: TYPE_FP32 dims: 1000 }}"
        );
        let facts = CompletionFacts { gpu_available: true, ..CompletionFacts::new("m") };
        load_config(&text, &facts, None).unwrap().config
    }

    #[test]
    fn places_are_told_in_both_forms_of_the_configuration() {
        let gpus = gpus(&[2 * GIB, 2 * GIB]);
        let folder = tempfile::tempdir().unwrap();
        let wished = config("{ count: 2 }, { kind: KIND_GPU gpus: 1 }, { kind: KIND_CPU }");
        assert!(needs_placing(&wished));
        let (placed, promise) = gpus.place(&wished, folder.path()).unwrap();
        let groups: Vec<_> = placed.instance_groups.iter().map(|group| (group.kind, group.gpus.clone())).collect();
        assert_eq!(
            groups,
            [(InstanceKind::Gpu, vec![0, 1]), (InstanceKind::Gpu, vec![1]), (InstanceKind::Cpu, vec![])]
        );
        assert_eq!(placed.wire.instance_group[0].kind(), Kind::Gpu);
        assert_eq!(placed.wire.instance_group[0].gpus, [0, 1]);
        assert_eq!(gpus.promised_bytes(1), 3 * (gpus.promised_bytes(0) / 2));
        drop(promise);
        assert_eq!(gpus.promised_bytes(1), 0);
    }

    #[test]
    fn weights_without_room_are_refused_or_go_to_the_processors() {
        let gpus = gpus(&[GIB]);
        let folder = tempfile::tempdir().unwrap();
        std::fs::File::create(folder.path().join("model.onnx")).unwrap().set_len(GIB).unwrap();
        let error = gpus.place(&config("{ kind: KIND_GPU }"), folder.path()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::ResourceExhausted);
        assert!(error.message().starts_with("model 'm': instance group `m_0` needs `"), "{error}");
        let (placed, promise) = gpus.place(&config("{ kind: KIND_AUTO }"), folder.path()).unwrap();
        assert_eq!(placed.instance_groups[0].kind, InstanceKind::Cpu);
        assert!(promise.bytes().is_empty());
        let error = gpus.place(&config("{ kind: KIND_GPU gpus: 3 }"), folder.path()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
    }

    #[test]
    fn the_absence_of_gpus_has_a_remedy() {
        assert!(absence(None, "b", || true).unwrap().contains("--cuda"));
        let bare = absence(Some(&gpus(&[])), "b", || true).unwrap();
        assert_eq!(bare, "a stand-in is not available: there is none");
        assert!(absence(Some(&gpus(&[GIB])), "tract", || false).unwrap().contains("`tract`"));
        assert_eq!(absence(Some(&gpus(&[GIB])), "b", || true), None);
    }
}
