//! Which providers a model asks for, and how. Pure.

use std::collections::BTreeMap;

use hanok_backend::ServingError;
use hanok_model_config::ModelConfig;
use hanok_model_config::wire::model_optimization_policy::cuda::GraphSpec;
use hanok_tensor::DataType;

use super::{Options, cuda_options, tensorrt_options};

/// Parameter that says what may compute where a provider is missing.
pub(super) const FALLBACK: &str = "gpu_fallback";

/// Most batch sizes for which CUDA graphs are kept: each holds its own buffers and its own copy of the launches.
const MOST_GRAPHS: usize = 16;

/// What may compute where a provider cannot be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// Nothing: the model does not load.
    #[default]
    None,
    /// CUDA in the place of TensorRT.
    Cuda,
    /// CUDA in the place of TensorRT, and the processors in the place of CUDA.
    Cpu,
}

/// The providers of a model's sessions on GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProviderPlan {
    pub(crate) cuda: Options,
    /// `None` when the model does not ask for TensorRT.
    pub(crate) tensorrt: Option<Options>,
    /// Batch sizes to which batches are padded and for which a CUDA graph is kept; ascending, empty without graphs.
    pub(crate) graph_buckets: Vec<u32>,
    pub(crate) fallback: Fallback,
}

/// What `config` asks for; `settings` are the backend's.
pub(crate) fn plan(config: &ModelConfig, settings: &BTreeMap<String, String>) -> Result<ProviderPlan, ServingError> {
    let optimization = config.wire.optimization.as_ref();
    let accelerators = optimization
        .and_then(|optimization| optimization.execution_accelerators.as_ref())
        .map_or(&[][..], |accelerators| &accelerators.gpu_execution_accelerator);
    let (mut cuda, mut tensorrt) = (None, None);
    for accelerator in accelerators {
        let place = match accelerator.name.as_str() {
            "cuda" => &mut cuda,
            "tensorrt" => &mut tensorrt,
            other => {
                return Err(ServingError::invalid(format!(
                    "gpu_execution_accelerator `{}` is not offered by backend `onnxruntime`; `cuda` and `tensorrt` are",
                    other.escape_debug()
                )));
            }
        };
        if place.replace(&accelerator.parameters).is_some() {
            return Err(ServingError::invalid(format!(
                "gpu_execution_accelerator `{}` is given twice",
                accelerator.name
            )));
        }
    }
    let mut cuda = cuda_options::options(cuda, &config.parameters, settings)?;
    let tensorrt = tensorrt.map(|parameters| tensorrt_options::options(parameters, settings)).transpose()?;
    let graphs = optimization.and_then(|optimization| optimization.cuda.as_ref()).filter(|cuda| cuda.graphs);
    let graph_buckets = match graphs {
        None => Vec::new(),
        Some(graphs) => {
            if tensorrt.is_some() {
                return Err(ServingError::invalid(format!(
                    "`optimization.cuda.graphs` of model `{}`: graphs are not kept with the accelerator `tensorrt`",
                    config.name
                )));
            }
            cuda.push(("enable_cuda_graph".to_owned(), "1".to_owned()));
            buckets(config, &graphs.graph_spec)?
        }
    };
    Ok(ProviderPlan { cuda, tensorrt, graph_buckets, fallback: fallback(&config.parameters)? })
}

fn fallback(parameters: &BTreeMap<String, String>) -> Result<Fallback, ServingError> {
    match parameters.get(FALLBACK).map(String::as_str) {
        None | Some("none") => Ok(Fallback::None),
        Some("cuda") => Ok(Fallback::Cuda),
        Some("cpu") => Ok(Fallback::Cpu),
        Some(other) => Err(ServingError::invalid(format!(
            "parameter `{FALLBACK}` must be one of `none`, `cuda`, `cpu`, got `{}`",
            other.escape_debug()
        ))),
    }
}

/// Batch sizes with a graph: those that `graph_spec` names, or the powers of two up to the largest batch, and that one.
fn buckets(config: &ModelConfig, named: &[GraphSpec]) -> Result<Vec<u32>, ServingError> {
    let refused = |reason: String| {
        ServingError::invalid(format!("`optimization.cuda.graphs` of model `{}`: {reason}", config.name))
    };
    let inputs = config.inputs.iter().map(|input| (&input.name, input.model_dims()));
    let mut tensors = inputs.chain(config.outputs.iter().map(|output| (&output.name, output.model_dims())));
    if let Some((name, dims)) = tensors.find(|(_, dims)| dims.iter().any(|&dimension| dimension < 0)) {
        return Err(refused(format!("every dimension must be known, `{name}` has `{dims}`")));
    }
    let types = config.inputs.iter().map(|input| input.data_type);
    if types.chain(config.outputs.iter().map(|output| output.data_type)).any(|data_type| data_type == DataType::Bytes) {
        return Err(refused("strings are not computed on a GPU".to_owned()));
    }
    let largest = config.max_batch_size.max(1);
    let mut buckets = Vec::new();
    for GraphSpec { batch_size, input: shapes, .. } in named {
        // Triton writes the batch size 1 as 0 where a model does not batch.
        let size = u32::try_from(*batch_size).unwrap_or(0).max(1);
        for (name, shape) in shapes {
            let known = config.inputs.iter().find(|input| input.name == *name).map(|input| &input.dims);
            if known.is_none_or(|dims| **dims != shape.dim) {
                let known = known.map_or("is none".to_owned(), |dims| format!("has `{dims}`"));
                return Err(refused(format!(
                    "`graph_spec` gives `{:?}` for the input `{name}`, which {known}",
                    shape.dim
                )));
            }
        }
        if size > largest {
            return Err(refused(format!("a graph for batches of `{size}` is beyond the largest of `{largest}`")));
        }
        buckets.push(size);
    }
    if buckets.is_empty() {
        buckets.extend((0..32).map(|power| 1_u32 << power).take_while(|&size| size < largest));
    }
    buckets.push(largest);
    buckets.sort_unstable();
    buckets.dedup();
    if buckets.len() > MOST_GRAPHS {
        return Err(refused(format!("at most `{MOST_GRAPHS}` batch sizes are kept, got `{}`", buckets.len())));
    }
    Ok(buckets)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use hanok_model_config::{CompletionFacts, load_config};
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn config(extra: &str, largest: u32) -> ModelConfig {
        let text = format!(
            "backend: 'onnxruntime' max_batch_size: {largest}
             input {{ name: 'x' data_type: TYPE_FP32 dims: 4 }} output {{ name: 'y' data_type: TYPE_FP32 dims: 4 }} {extra}"
        );
        load_config(&text, &CompletionFacts::new("m"), None).unwrap().config
    }

    fn planned(extra: &str) -> Result<ProviderPlan, String> {
        let settings = BTreeMap::from([("cache-directory".to_owned(), "/cache".to_owned())]);
        plan(&config(extra, 8), &settings).map_err(|error| error.message().to_owned())
    }

    fn tensorrt(parameters: &str) -> Result<Options, String> {
        let extra = format!(
            "optimization {{ execution_accelerators {{ gpu_execution_accelerator {{ name: 'tensorrt' {parameters} }} }} }}"
        );
        planned(&extra).map(|plan| plan.tensorrt.unwrap())
    }

    fn pairs(options: &Options) -> Vec<(&str, &str)> {
        options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn parameters_in_tritons_form_reach_the_provider() {
        let text = "parameters { key: 'gpu_mem_limit' value { string_value: '1073741824' } }
                    parameters { key: 'cudnn_conv_algo_search' value { string_value: '0' } }
                    parameters { key: 'gpu_fallback' value { string_value: 'cpu' } }
                    optimization { execution_accelerators { gpu_execution_accelerator {
                      name: 'cuda' parameters { key: 'use_tf32' value: '0' } } } }";
        let plan = planned(text).unwrap();
        assert_eq!(
            pairs(&plan.cuda),
            [
                ("arena_extend_strategy", "kSameAsRequested"),
                ("cudnn_conv_algo_search", "EXHAUSTIVE"),
                ("gpu_mem_limit", "1073741824"),
                ("use_tf32", "0")
            ]
        );
        assert_eq!((plan.tensorrt, plan.fallback, plan.graph_buckets), (None, Fallback::Cpu, vec![]));
    }

    #[test]
    fn tensorrt_takes_tritons_settings() {
        let options = tensorrt(
            "parameters { key: 'precision_mode' value: 'FP16' } parameters { key: 'max_workspace_size_bytes' value: '1000' }
             parameters { key: 'trt_engine_cache_enable' value: 'true' } parameters { key: 'trt_engine_cache_path' value: 'a/b' }
             parameters { key: 'trt_timing_cache_enable' value: '1' }",
        );
        assert_eq!(
            pairs(&options.unwrap()),
            [
                ("trt_max_workspace_size", "1000"),
                ("trt_fp16_enable", "1"),
                ("trt_engine_cache_enable", "1"),
                ("trt_engine_cache_path", "/cache/a/b"),
                ("trt_timing_cache_enable", "1"),
                ("trt_timing_cache_path", "/cache/tensorrt"),
            ]
        );
    }

    #[test]
    fn what_is_unknown_or_wrong_is_refused_by_name() {
        let text = tensorrt("parameters { key: 'precision' value: 'FP16' }").unwrap_err();
        assert!(text.starts_with(
            "gpu_execution_accelerator `tensorrt` has no parameter `precision`; it takes `precision_mode`"
        ));
        assert_eq!(
            tensorrt("parameters { key: 'precision_mode' value: 'FP8' }").unwrap_err(),
            "parameter `precision_mode` must be one of `FP32`, `FP16`, `BF16`, `INT8`, got `FP8`"
        );
        for outside in ["/etc", "../x", "a/../../b", ""] {
            let text =
                tensorrt(&format!("parameters {{ key: 'trt_engine_cache_path' value: '{outside}' }}")).unwrap_err();
            assert!(text.starts_with("a cache's folder must be a relative path without `..`"), "{outside}: {text}");
        }
        let openvino = "optimization { execution_accelerators { gpu_execution_accelerator { name: 'openvino' } } }";
        assert_eq!(
            planned(openvino).unwrap_err(),
            "gpu_execution_accelerator `openvino` is not offered by backend `onnxruntime`; `cuda` and `tensorrt` are"
        );
        let limit = "parameters { key: 'gpu_mem_limit' value { string_value: '1G' } }";
        assert_eq!(planned(limit).unwrap_err(), "parameter `gpu_mem_limit` must be a whole number, got `1G`");
        let cached = config(
            "optimization { execution_accelerators { gpu_execution_accelerator {
             name: 'tensorrt' parameters { key: 'trt_engine_cache_enable' value: '1' } } } }",
            8,
        );
        let text = plan(&cached, &BTreeMap::new()).unwrap_err().message().to_owned();
        assert!(text.ends_with("--backend-config=onnxruntime,cache-directory=DIR"), "{text}");
    }

    #[test]
    fn graphs_and_tensorrt_are_refused_together() {
        let accelerated = "execution_accelerators { gpu_execution_accelerator { name: 'tensorrt' } }";
        let text = planned(&format!("optimization {{ cuda {{ graphs: true }} {accelerated} }}")).unwrap_err();
        assert!(text.ends_with("graphs are not kept with the accelerator `tensorrt`"), "{text}");
        let text = tensorrt("parameters { key: 'trt_cuda_graph_enable' value: '1' }").unwrap_err();
        assert!(text.contains("has no parameter `trt_cuda_graph_enable`"), "{text}");
    }

    #[test]
    fn a_precision_that_cuda_does_not_have_is_refused_with_the_remedy() {
        let of_cuda = "optimization { execution_accelerators { gpu_execution_accelerator {
                       name: 'cuda' parameters { key: 'precision_mode' value: 'FP16' } } } }";
        let of_nobody = "parameters { key: 'precision_mode' value { string_value: 'FP16' } }";
        for text in [of_cuda, of_nobody] {
            let text = planned(text).unwrap_err();
            assert!(text.starts_with("the CUDA provider computes in the types of the model file"), "{text}");
            assert!(text.contains("gpu_execution_accelerator `tensorrt` with `precision_mode` `FP16`"), "{text}");
        }
    }

    #[test]
    fn the_shapes_of_a_graph_are_those_of_the_inputs() {
        let spec = |shape: &str| {
            planned(&format!("optimization {{ cuda {{ graphs: true graph_spec {{ batch_size: 2 input {shape} }} }} }}"))
                .map(|plan| plan.graph_buckets)
        };
        assert_eq!(spec("{ key: 'x' value { dim: 4 } }"), Ok(vec![2, 8]));
        let other = spec("{ key: 'x' value { dim: [ 2, 4 ] } }").unwrap_err();
        assert!(other.ends_with("`graph_spec` gives `[2, 4]` for the input `x`, which has `[4]`"), "{other}");
        let none = spec("{ key: 'z' value { dim: 4 } }").unwrap_err();
        assert!(none.ends_with("for the input `z`, which is none"), "{none}");
    }

    #[test]
    fn graphs_are_kept_for_few_batch_sizes() {
        let all = planned("optimization { cuda { graphs: true } }").unwrap();
        assert_eq!(all.graph_buckets, [1, 2, 4, 8]);
        assert!(all.cuda.contains(&("enable_cuda_graph".to_owned(), "1".to_owned())));
        let some = planned("optimization { cuda { graphs: true graph_spec { batch_size: 3 } } }").unwrap();
        assert_eq!(some.graph_buckets, [3, 8]);
        let beyond = planned("optimization { cuda { graphs: true graph_spec { batch_size: 9 } } }").unwrap_err();
        assert!(beyond.ends_with("a graph for batches of `9` is beyond the largest of `8`"), "{beyond}");
    }

    proptest! {
        #[test]
        fn every_batch_has_a_bucket(largest in 1_u32..5000, rows in 1_u32..5000) {
            let plan = plan(&config("optimization { cuda { graphs: true } }", largest), &BTreeMap::new()).unwrap();
            prop_assert!(plan.graph_buckets.is_sorted() && plan.graph_buckets.len() <= MOST_GRAPHS);
            let bucket = plan.graph_buckets.iter().find(|&&bucket| bucket >= rows);
            prop_assert!(bucket.is_some() == (rows <= largest));
            prop_assert!(bucket.is_none_or(|&bucket| bucket < rows * 2));
        }
    }
}
