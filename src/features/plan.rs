//! A feature service against the inputs of one model, resolved once when the model is loaded: what clients send, what is
//! looked up, and where each input of the model comes from.
//!
//! Pure. The invariant: what does not fit is refused here, never when a request comes.

use hanok_backend::ServingError;
use hanok_features::{FeatureService, FeatureSet, InputForm, KeyType, ModelInput, TensorFormat};
use hanok_model_config::{InputSpec, ModelConfig};
use hanok_tensor::{DataType, Shape};

use super::key_tensor::{fits, wire_type};

/// A join key of the service.
#[derive(Clone, Debug)]
pub(super) struct SentKey {
    pub(super) name: String,
    /// Its place among the inputs that clients may send.
    pub(super) sent: usize,
    pub(super) data_type: DataType,
}

/// Where an input of the model comes from.
#[derive(Clone, Debug)]
pub(super) enum InputOrigin {
    /// From the client, at this place of its inputs.
    Sent(usize),
    /// From a feature, unless the client sends it.
    Feature(FilledInput),
}

/// An input that a feature fills.
#[derive(Clone, Debug)]
pub(super) struct FilledInput {
    /// Place of the feature in the service.
    pub(super) feature: usize,
    /// Place among the client's inputs of what overrides it.
    pub(super) sent: usize,
    pub(super) format: TensorFormat,
    /// Dimensions without the batch dimension; at most one is -1.
    pub(super) dims: Shape,
    /// What it takes of a row.
    pub(super) form: InputForm,
}

/// A service and a model, put together.
#[derive(Clone, Debug)]
pub(super) struct StepPlan {
    /// The model as clients see it.
    pub(super) client: ModelConfig,
    /// How many of its inputs clients send.
    pub(super) sent_inputs: usize,
    pub(super) keys: Vec<SentKey>,
    /// For each input of the model.
    pub(super) origins: Vec<InputOrigin>,
}

impl StepPlan {
    /// # Errors
    /// `InvalidArgument` for everything about the service that does not fit the model.
    pub(super) fn new(set: &FeatureSet, service: &FeatureService, model: &ModelConfig) -> Result<Self, ServingError> {
        let refuse = |reason: String| {
            let (service, model) = (&service.name, &model.name);
            ServingError::invalid(format!("feature service `{service}` does not fit model '{model}': {reason}"))
        };
        let inputs: Vec<ModelInput> = model.inputs.iter().map(model_input).collect();
        let problems = set.check_model(service, &inputs);
        if !problems.is_empty() {
            let told: Vec<String> =
                problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
            return Err(refuse(told.join("; ")));
        }
        let feature = |input: &str| service.features.iter().position(|feature| feature.input == input);
        let mut client: Vec<InputSpec> =
            model.inputs.iter().filter(|input| feature(&input.name).is_none()).cloned().collect();
        let mut keys = Vec::new();
        for (name, key_type) in join_keys(set, service).map_err(refuse)? {
            if feature(&name).is_some() {
                return Err(refuse(format!("`{name}` is a join key and an input that a feature fills")));
            }
            let sent = match client.iter().position(|input| input.name == name) {
                Some(sent) => sent,
                None => {
                    client.push(InputSpec::optional(name.clone(), wire_type(key_type), Shape::new(&[1])));
                    client.len() - 1
                }
            };
            let elements: i64 = client[sent].dims.iter().filter(|dimension| **dimension >= 0).product();
            if elements != 1 {
                return Err(refuse(format!(
                    "join key `{name}` has one value a row, and the input of that name `{elements}`"
                )));
            }
            let data_type = client[sent].data_type;
            if !fits(data_type, key_type) {
                let (key_type, data_type) = (key_type.as_str(), data_type.config_name());
                return Err(refuse(format!(
                    "join key `{name}` is `{key_type}`, and the input of that name `{data_type}`"
                )));
            }
            keys.push(SentKey { name, sent, data_type });
        }
        let sent_inputs = client.len();
        let mut origins = Vec::with_capacity(model.inputs.len());
        for (spec, input) in model.inputs.iter().zip(inputs) {
            let Some(feature) = feature(&spec.name) else {
                let sent = client.iter().position(|input| input.name == spec.name).unwrap_or_default();
                origins.push(InputOrigin::Sent(sent));
                continue;
            };
            let Some(format) = input.format else {
                return Err(refuse(format!("no feature can fill input `{}`", spec.name)));
            };
            let Some(form) = InputForm::new(format, &input.dims) else {
                return Err(refuse(format!("input `{}` has more than one dimension of any size", spec.name)));
            };
            origins.push(InputOrigin::Feature(FilledInput {
                feature,
                sent: client.len(),
                format,
                dims: spec.dims.clone(),
                form,
            }));
            let mut overriding = spec.clone();
            overriding.optional = true;
            client.push(overriding);
        }
        let mut seen = model.clone();
        seen.inputs = client;
        Ok(Self { client: seen, sent_inputs, keys, origins })
    }
}

/// The join keys of a service's views, each once, in the order of the service.
fn join_keys(set: &FeatureSet, service: &FeatureService) -> Result<Vec<(String, KeyType)>, String> {
    let mut keys: Vec<(String, KeyType)> = Vec::new();
    for feature in &service.features {
        let view = set.view(&feature.view).map_err(|error| error.to_string())?;
        for (name, key_type) in view.keys.names() {
            match keys.iter().find(|(known, _)| known == name) {
                None => keys.push((name.clone(), *key_type)),
                Some((_, known)) if known == key_type => {}
                Some((_, known)) => {
                    let (known, other) = (known.as_str(), key_type.as_str());
                    return Err(format!("join key `{name}` is `{known}` in one view and `{other}` in another"));
                }
            }
        }
    }
    Ok(keys)
}

fn model_input(spec: &InputSpec) -> ModelInput {
    let format = match spec.data_type {
        DataType::Bool => Some(TensorFormat::Bool),
        DataType::Int32 => Some(TensorFormat::Int32),
        DataType::Int64 => Some(TensorFormat::Int64),
        DataType::Fp32 => Some(TensorFormat::Fp32),
        DataType::Fp64 => Some(TensorFormat::Fp64),
        DataType::Bytes => Some(TensorFormat::Bytes),
        DataType::Uint8
        | DataType::Uint16
        | DataType::Uint32
        | DataType::Uint64
        | DataType::Int8
        | DataType::Int16
        | DataType::Fp16
        | DataType::Bf16 => None,
    };
    ModelInput { name: spec.name.clone(), format, dims: spec.dims.to_vec() }
}
