//! Settings of the TensorRT provider: Triton's names for the accelerator `tensorrt`, and the library's own.

use std::collections::BTreeMap;

use hanok_backend::ServingError;

use super::Options;
use super::choice::{Form, unknown};

/// Name in the configuration, name in the library, what it takes. `trt_cuda_graph_enable` is left out: the provider keeps one
/// graph for all batches, whatever their size and wherever their tensors lie.
const SETTINGS: [(&str, &str, Form); 25] = [
    ("max_workspace_size_bytes", "trt_max_workspace_size", Form::Number),
    ("int8_calibration_table_name", "trt_int8_calibration_table_name", Form::FileName),
    ("int8_use_native_calibration_table", "trt_int8_use_native_calibration_table", Form::Switch),
    ("trt_auxiliary_streams", "trt_auxiliary_streams", Form::Number),
    ("trt_bf16_enable", "trt_bf16_enable", Form::Switch),
    ("trt_build_heuristics_enable", "trt_build_heuristics_enable", Form::Switch),
    ("trt_builder_optimization_level", "trt_builder_optimization_level", Form::Number),
    ("trt_context_memory_sharing_enable", "trt_context_memory_sharing_enable", Form::Switch),
    ("trt_detailed_build_log", "trt_detailed_build_log", Form::Switch),
    ("trt_engine_cache_enable", "trt_engine_cache_enable", Form::Switch),
    ("trt_engine_cache_path", "trt_engine_cache_path", Form::Folder),
    ("trt_engine_cache_prefix", "trt_engine_cache_prefix", Form::FileName),
    ("trt_engine_hw_compatible", "trt_engine_hw_compatible", Form::Switch),
    ("trt_force_sequential_engine_build", "trt_force_sequential_engine_build", Form::Switch),
    ("trt_force_timing_cache", "trt_force_timing_cache", Form::Switch),
    ("trt_layer_norm_fp32_fallback", "trt_layer_norm_fp32_fallback", Form::Switch),
    ("trt_max_partition_iterations", "trt_max_partition_iterations", Form::Number),
    ("trt_max_workspace_size", "trt_max_workspace_size", Form::Number),
    ("trt_min_subgraph_size", "trt_min_subgraph_size", Form::Number),
    ("trt_profile_max_shapes", "trt_profile_max_shapes", Form::Text),
    ("trt_profile_min_shapes", "trt_profile_min_shapes", Form::Text),
    ("trt_profile_opt_shapes", "trt_profile_opt_shapes", Form::Text),
    ("trt_sparsity_enable", "trt_sparsity_enable", Form::Switch),
    ("trt_timing_cache_enable", "trt_timing_cache_enable", Form::Switch),
    ("trt_timing_cache_path", "trt_timing_cache_path", Form::Folder),
];

/// Triton's name for what TensorRT computes in.
const PRECISION: &str = "precision_mode";

/// The backend's setting that names the operator's folder for what providers keep.
pub(super) const CACHE_DIRECTORY: &str = "cache-directory";

/// The options for the accelerator's `parameters`.
///
/// Engines are built for minutes and kept where the operator says: a model's configuration may come over the network, so
/// that it names folders only below that one.
pub(super) fn options(
    parameters: &BTreeMap<String, String>,
    settings: &BTreeMap<String, String>,
) -> Result<Options, ServingError> {
    let folder = |text: &str| below_cache_directory(settings, text);
    let mut options = Options::new();
    for (name, text) in parameters {
        if name == PRECISION {
            options.extend(precision(text)?.map(|key| (key.to_owned(), "1".to_owned())));
            continue;
        }
        let Some((_, key, form)) = SETTINGS.iter().find(|(known, ..)| known == name) else {
            let names = std::iter::once(PRECISION).chain(SETTINGS.iter().map(|(name, ..)| *name));
            return Err(unknown("gpu_execution_accelerator `tensorrt`", name, names));
        };
        options.push(((*key).to_owned(), form.read(name, text, &folder)?));
    }
    for (enable, path) in
        [("trt_engine_cache_enable", "trt_engine_cache_path"), ("trt_timing_cache_enable", "trt_timing_cache_path")]
    {
        let value = |name: &str| options.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        if value(enable) == Some("1") && value(path).is_none() {
            options.push((path.to_owned(), folder("tensorrt")?));
        }
    }
    Ok(options)
}

fn precision(text: &str) -> Result<Option<&'static str>, ServingError> {
    match text.to_ascii_uppercase().as_str() {
        "FP32" => Ok(None),
        "FP16" => Ok(Some("trt_fp16_enable")),
        "BF16" => Ok(Some("trt_bf16_enable")),
        "INT8" => Ok(Some("trt_int8_enable")),
        _ => Err(ServingError::invalid(format!(
            "parameter `{PRECISION}` must be one of `FP32`, `FP16`, `BF16`, `INT8`, got `{}`",
            text.escape_debug()
        ))),
    }
}

fn below_cache_directory(settings: &BTreeMap<String, String>, text: &str) -> Result<String, ServingError> {
    let Some(root) = settings.get(CACHE_DIRECTORY) else {
        return Err(ServingError::invalid(format!(
            "caches of `tensorrt` need a folder of the operator's: start the server with \
             --backend-config=onnxruntime,{CACHE_DIRECTORY}=DIR"
        )));
    };
    let plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
    if text.is_empty() || text.contains('\0') || !std::path::Path::new(text).components().all(plain) {
        return Err(ServingError::invalid(format!(
            "a cache's folder must be a relative path without `..`, below the folder given as `{CACHE_DIRECTORY}`"
        )));
    }
    Ok(std::path::Path::new(root).join(text).to_string_lossy().into_owned())
}
