//! Execution providers for GPUs: CUDA and TensorRT, from a model's configuration to a session's options.
//!
//! **Experimental: no GPU has confirmed them.** What is read from the configuration is decided purely ([`plan`]); handing
//! it to the library is [`append_cuda`] and [`append_tensorrt`]. Unknown settings are refused by name rather than passed
//! on: a provider ignores some and fails on others, later.

mod append;
mod availability;
mod choice;
mod cuda_options;
mod plan;
mod tensorrt_options;

pub(crate) use append::{Seat, append_cuda, append_tensorrt};
pub(crate) use availability::{Provider, is_built_with_cuda, unusable};
pub(crate) use cuda_options::is_cuda_parameter;
pub(crate) use plan::{Fallback, ProviderPlan, plan};

/// Parameters of the configuration that only mean something on GPUs.
pub(crate) fn is_parameter(name: &str) -> bool {
    is_cuda_parameter(name) || name == plan::FALLBACK
}

/// Options of a provider, in the library's names.
pub(crate) type Options = Vec<(String, String)>;
