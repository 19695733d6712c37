//! The GPUs of this process: whether they are used, what was found, what their metrics say.
//!
//! Off by default. Where they are asked for, what there is, or why there is none, is said once.

mod metrics;

use std::sync::Arc;

use hanok_backend_onnxruntime::OnnxRuntimeBackend;
use hanok_devices::{Discovery, DiscoverySettings, PinnedPool, PoolSizes, discover};
use hanok_repository::GpuDevices;

use crate::commands::error::CommandError;
use crate::settings::{CudaMode, GpuFlags};

pub(crate) use metrics::GpuMetrics;

/// GPUs in use, and the limits of the pools on them.
#[derive(Debug)]
pub(crate) struct GpuUse {
    pub(crate) gpus: Arc<GpuDevices>,
    pub(crate) pools: PoolSizes,
    /// What may be pinned for all of them together.
    pub(crate) pinned: Arc<PinnedPool>,
}

impl GpuUse {
    /// GPUs with pools of these sizes.
    pub(crate) fn new(gpus: Arc<GpuDevices>, pools: PoolSizes) -> Self {
        let pinned = PinnedPool::new(pools.pinned_bytes);
        Self { gpus, pools, pinned }
    }

    /// Lets a backend execute on them.
    pub(crate) fn give_to(&self, backend: &OnnxRuntimeBackend) {
        if let Ok(driver) = &self.gpus.discovery().driver {
            let ordinals = self.gpus.devices().iter().map(|device| device.ordinal);
            backend.use_gpus(driver, ordinals, &self.pools, &self.pinned);
        }
    }
}

/// Looks for GPUs if the flags ask for them.
///
/// # Errors
/// When they are required and there is none.
pub(crate) fn choose(flags: &GpuFlags) -> Result<Option<Arc<GpuDevices>>, CommandError> {
    if flags.cuda == CudaMode::Off {
        for flag in flags.given() {
            tracing::warn!(flag, "--{flag} has no effect: GPUs are off, --cuda switches them on");
        }
        return Ok(None);
    }
    let discovery = look();
    if let Some(reason) = discovery.why_none() {
        if flags.cuda == CudaMode::Required {
            return Err(CommandError::failed(format!("--cuda=required: {reason}")));
        }
        tracing::warn!("no GPU is used: {reason}");
    }
    for device in &discovery.devices {
        tracing::info!("GPU {device} is used, which is experimental");
    }
    for (ordinal, error) in &discovery.failures {
        tracing::warn!("GPU {ordinal} does not answer and is not used: {error}");
    }
    let limits = flags.model_load_gpu_limit.iter().copied().collect();
    Ok(Some(Arc::new(GpuDevices::new(discovery, &limits))))
}

/// What this machine has.
pub(crate) fn look() -> Discovery {
    discover(&DiscoverySettings::default())
}

/// The doctor's lines on driver, NVML and devices.
pub(crate) fn findings(discovery: &Discovery) -> Vec<String> {
    let mut lines = Vec::new();
    lines.push(match &discovery.driver {
        Ok(driver) => {
            let (major, minor) = driver.cuda_version();
            let version = discovery.nvml.as_ref().map(|nvml| nvml.driver_version()).unwrap_or_default();
            let version = if version.is_empty() { String::new() } else { format!("driver {version}, ") };
            format!("CUDA: {version}CUDA {major}.{minor}")
        }
        Err(error) => format!("CUDA: {error}"),
    });
    if let Err(error) = &discovery.nvml {
        lines.push(format!("NVML: {error}: metrics of GPUs, and what others use of them, are not told"));
    }
    lines.extend(discovery.devices.iter().map(|device| format!("GPU {device}")));
    lines.extend(discovery.failures.iter().map(|(ordinal, error)| format!("GPU {ordinal} does not answer: {error}")));
    lines.extend(discovery.parts_out_of_sight().into_iter().map(|part| {
        let name = if part.name.is_empty() { String::new() } else { format!(" ({})", part.name) };
        format!(
            "a part of a GPU{name} is not used by this process, which sees one: CUDA_VISIBLE_DEVICES={} addresses it",
            part.uuid
        )
    }));
    lines.push(match discovery.why_none() {
        Some(_) => "models execute on the processors".to_owned(),
        None => "models execute on GPUs when the server is started with --cuda, which is experimental".to_owned(),
    });
    lines
}
