//! The flags of `hanok serve` that are about GPUs.

use clap::{ArgAction, Args, ValueEnum};
use hanok_devices::{PoolSizes, parse_load_limit};

use super::value::boolean;

/// Whether GPUs are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CudaMode {
    /// Never; no driver is opened
    Off,
    /// Where there are any
    Auto,
    /// Always: the server does not start without one
    Required,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "GPUs (experimental)")]
pub(crate) struct GpuFlags {
    /// Execute models on NVIDIA GPUs; experimental, no release was confirmed on one yet. `--cuda` alone means auto
    #[arg(long, value_name = "MODE", num_args = 0..=1, default_value = "off", default_missing_value = "auto")]
    pub(crate) cuda: CudaMode,
    /// Most bytes that the server's own pool takes of a GPU, as DEVICE:BYTES; may be given several times [default: 536870912]
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = pool_size)]
    pub(crate) cuda_memory_pool_byte_size: Vec<(u32, u64)>,
    /// Most bytes of memory that are pinned for copies to and from GPUs [default: 268435456]
    #[arg(long, value_name = "BYTES")]
    pub(crate) pinned_memory_pool_byte_size: Option<u64>,
    /// Part of a GPU's memory, from 0 to 1, beyond which no model is loaded on it, as DEVICE:FRACTION; may be given several times
    #[arg(long, value_name = "DEVICE:FRACTION", value_parser = parse_load_limit)]
    pub(crate) model_load_gpu_limit: Vec<(u32, f64)>,
    /// Tell utilisation, memory, power and energy of GPUs on the metrics port
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value = "true", default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    pub(crate) allow_gpu_metrics: bool,
}

fn pool_size(text: &str) -> Result<(u32, u64), String> {
    PoolSizes::parse_device(text).map_err(|error| error.to_string())
}

impl GpuFlags {
    /// Flags that were given and mean something only where GPUs are used.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let given = [
            ("cuda-memory-pool-byte-size", !self.cuda_memory_pool_byte_size.is_empty()),
            ("pinned-memory-pool-byte-size", self.pinned_memory_pool_byte_size.is_some()),
            ("model-load-gpu-limit", !self.model_load_gpu_limit.is_empty()),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }

    /// Limits of the pools.
    pub(crate) fn pool_sizes(&self) -> PoolSizes {
        PoolSizes {
            pinned_bytes: self.pinned_memory_pool_byte_size.unwrap_or(PoolSizes::DEFAULT_PINNED_BYTES),
            device_bytes: self.cuda_memory_pool_byte_size.iter().copied().collect(),
        }
    }
}
