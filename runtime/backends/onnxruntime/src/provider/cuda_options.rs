//! Settings of the CUDA provider, under the names that Triton's backend and the library give them.

use std::collections::BTreeMap;

use hanok_backend::ServingError;

use super::Options;
use super::choice::{Form, unknown};

const ARENA: Form = Form::OneOf(&[("0", "kNextPowerOfTwo"), ("1", "kSameAsRequested")]);
const SEARCH: Form = Form::OneOf(&[("0", "EXHAUSTIVE"), ("1", "HEURISTIC"), ("2", "DEFAULT")]);

/// Every setting, and what it takes.
const SETTINGS: [(&str, Form); 11] = [
    ("arena_extend_strategy", ARENA),
    ("cudnn_conv1d_pad_to_nc1d", Form::Switch),
    ("cudnn_conv_algo_search", SEARCH),
    ("cudnn_conv_use_max_workspace", Form::Switch),
    ("enable_cudnn", Form::Switch),
    ("enable_skip_layer_norm_strict_mode", Form::Switch),
    ("fuse_conv_bias", Form::Switch),
    ("gpu_mem_limit", Form::Number),
    ("prefer_nhwc", Form::Switch),
    ("use_ep_level_unified_stream", Form::Switch),
    ("use_tf32", Form::Switch),
];

/// What differs from the library's own defaults, and why: a GPU is shared by several models, whose arenas must not double; an
/// exhaustive search for convolutions starts again for every batch size, and takes seconds each time.
const DEFAULTS: [(&str, &str); 2] =
    [("arena_extend_strategy", "kSameAsRequested"), ("cudnn_conv_algo_search", "HEURISTIC")];

/// A setting of TensorRT that would change what a model answers: never passed over in silence.
const PRECISION: &str = "precision_mode";

/// Whether `name` is a setting of this provider.
pub(crate) fn is_cuda_parameter(name: &str) -> bool {
    SETTINGS.iter().any(|(known, _)| *known == name)
}

/// The options: `accelerator` (of `gpu_execution_accelerator`, where every name must be known) wins over `parameters` and
/// these over `settings`, which hold other things as well.
pub(super) fn options(
    accelerator: Option<&BTreeMap<String, String>>,
    parameters: &BTreeMap<String, String>,
    settings: &BTreeMap<String, String>,
) -> Result<Options, ServingError> {
    let asked = accelerator.is_some_and(|accelerator| accelerator.contains_key(PRECISION));
    if asked || parameters.contains_key(PRECISION) {
        return Err(ServingError::unsupported(format!(
            "the CUDA provider computes in the types of the model file and takes no `{PRECISION}`: give the file in half \
             precision, or use gpu_execution_accelerator `tensorrt` with `{PRECISION}` `FP16`, which leaves the tensors as \
             they are"
        )));
    }
    if let Some(name) = accelerator.into_iter().flat_map(BTreeMap::keys).find(|name| !is_cuda_parameter(name)) {
        return Err(unknown("gpu_execution_accelerator `cuda`", name, SETTINGS.iter().map(|(name, _)| *name)));
    }
    let no_folder = |_: &str| Err(ServingError::internal("the CUDA provider has no setting that is a folder"));
    let mut options = Options::new();
    for (name, form) in SETTINGS {
        let given = accelerator.and_then(|accelerator| accelerator.get(name));
        let given = given.or_else(|| parameters.get(name)).or_else(|| settings.get(name));
        let default = DEFAULTS.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let value = given.map(|text| form.read(name, text, &no_folder)).transpose()?.or(default);
        options.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(options)
}
