//! Fills the inputs of one request: keys out of its tensors, one look-up, values into tensors.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hanok_backend::{ErrorCode, InferenceRequest, InputTensor, ParameterValue, Parameters, ServingError};
use hanok_features::{
    Column, ErrorCode as FeatureCode, FeatureError, InputForm, Lookup, Origin, ResolveRequest, Resolved, ValueRef,
};
use hanok_model_config::ModelConfig;
use hanok_repository::{FeatureStep, FillFuture, FilledRequest};
use hanok_tensor::Shape;
use serde_json::{Map, Value as Json, json};

use super::key_tensor::key_column;
use super::plan::{FilledInput, InputOrigin, StepPlan};
use super::served_log::Offers;

/// Name of the request parameter that asks to be told of the features, and of the response parameter that tells.
const TOLD: &str = "hanok_features";

/// The step in front of one model.
#[derive(Debug)]
pub(super) struct LookupStep {
    plan: StepPlan,
    lookup: Arc<Lookup>,
    /// What the model's inputs take, by feature of the service.
    forms: Arc<[Option<InputForm>]>,
    /// Where what was served is noted, if it is.
    log: Option<Offers>,
}

impl LookupStep {
    pub(super) fn new(plan: StepPlan, lookup: Arc<Lookup>, log: Option<Offers>) -> Self {
        let mut forms = vec![None; lookup.service().features.len()];
        for filled in filled(&plan) {
            forms[filled.feature] = Some(filled.form);
        }
        Self { plan, lookup, forms: forms.into(), log }
    }

    async fn resolve(&self, mut request: InferenceRequest) -> Result<FilledRequest, ServingError> {
        let mut asked = ResolveRequest::new(usize::try_from(request.rows).unwrap_or(usize::MAX));
        asked.forms = Arc::clone(&self.forms);
        asked.deadline = request.deadline.map(|deadline| look_up_by(Instant::now(), deadline).into());
        for key in &self.plan.keys {
            if let Some(tensor) = request.inputs.get(key.sent).and_then(Option::as_ref) {
                asked.keys.insert(key.name.clone(), key_column(&tensor.data, key.data_type)?);
            }
        }
        let is_sent = |filled: &FilledInput| matches!(request.inputs.get(filled.sent), Some(Some(_)));
        asked.filled_in = filled(&self.plan).filter(|filled| is_sent(filled)).map(|filled| filled.feature).collect();
        let resolved = self.lookup.resolve(&asked).await.map_err(|error| serving_error(&error))?;
        let told = if takes_told(&mut request.parameters) { told(&resolved) } else { Parameters::new() };
        request.inputs = self.inputs(&mut request.inputs, &resolved)?.into();
        if let Some(log) = &self.log {
            log.offer(&request.id, asked, resolved);
        }
        Ok(FilledRequest { request, told })
    }

    /// The model's inputs: tensors of the client moved, those of features written one after another into one buffer.
    fn inputs(
        &self,
        sent: &mut [Option<InputTensor>],
        resolved: &Resolved,
    ) -> Result<Vec<Option<InputTensor>>, ServingError> {
        let mut buffer = Vec::with_capacity(self.plan.origins.len() * resolved.rows() * size_of::<f32>());
        let mut written: Vec<(usize, Shape, std::ops::Range<usize>)> = Vec::with_capacity(self.plan.origins.len());
        let mut inputs = Vec::with_capacity(self.plan.origins.len());
        for (place, origin) in self.plan.origins.iter().enumerate() {
            let (InputOrigin::Sent(from) | InputOrigin::Feature(FilledInput { sent: from, .. })) = origin;
            let given = sent.get_mut(*from).and_then(Option::take);
            if let (None, InputOrigin::Feature(filled)) = (&given, origin)
                && let Some(column) = resolved.column(filled.feature)
            {
                let start = buffer.len();
                let (shape, elements) = self.shape(filled, &column)?;
                column
                    .write_tensor(filled.format, elements, &mut buffer)
                    .map_err(|error| self.unfit(filled, &error))?;
                written.push((place, shape, start..buffer.len()));
            }
            inputs.push(given);
        }
        let buffer = Bytes::from(buffer);
        for (place, shape, range) in written {
            inputs[place] = Some(InputTensor { shape, data: buffer.slice(range) });
        }
        Ok(inputs)
    }

    /// The whole shape of a filled input, and the elements of one row.
    fn shape(&self, filled: &FilledInput, column: &Column<'_>) -> Result<(Shape, usize), ServingError> {
        let fixed: i64 = filled.dims.iter().filter(|dimension| **dimension >= 0).product();
        let length = |row: usize| match column.value(row) {
            Some(ValueRef::List(list)) => i64::try_from(list.len()).ok(),
            _ => None,
        };
        let mut elements = fixed;
        if filled.dims.iter().any(|dimension| *dimension < 0) {
            // The first list says how long every list is; where there is none, a row is as short as it may be.
            let mut lengths = (0..column.len()).filter_map(|row| Some((row, length(row)?)));
            let first = lengths.next();
            elements = first.map_or(fixed, |(_, elements)| elements);
            if let (Some(first), Some(other)) = (first, lengths.find(|(_, other)| *other != elements)) {
                return Err(self.of_two_lengths(filled, first, other));
            }
            if fixed == 0 || elements % fixed != 0 {
                let reason = format!("expected lists of a multiple of `{fixed}` elements, got `{elements}`");
                return Err(self.unfit(filled, &FeatureError::invalid("tensor", reason)));
            }
        }
        let rows = i64::try_from(column.len()).unwrap_or(i64::MAX);
        let whole =
            filled.dims.iter().map(|dimension| if *dimension < 0 { elements / fixed.max(1) } else { *dimension });
        let shape = self.plan.client.batches().then_some(rows).into_iter().chain(whole).collect();
        Ok((shape, usize::try_from(elements).unwrap_or_default()))
    }

    /// Rows of one request whose lists differ in length, where one tensor cannot hold both: the client may ask for them apart.
    fn of_two_lengths(&self, filled: &FilledInput, first: (usize, i64), other: (usize, i64)) -> ServingError {
        let feature = &self.lookup.service().features[filled.feature];
        ServingError::invalid(format!(
            "feature `{}` for input '{}': expected lists of one length in a request, got `{}` elements in row `{}` and `{}` in \
             row `{}`; send rows with lists of different lengths in requests of their own",
            feature.reference(),
            feature.input,
            first.1,
            first.0,
            other.1,
            other.0
        ))
    }

    /// Stored values that do not make the tensor that the model wants: nothing that the client could mend.
    fn unfit(&self, filled: &FilledInput, error: &FeatureError) -> ServingError {
        let feature = &self.lookup.service().features[filled.feature];
        ServingError::unsupported(format!("feature `{}` for input '{}': {error}", feature.reference(), feature.input))
    }
}

fn filled(plan: &StepPlan) -> impl Iterator<Item = &FilledInput> {
    plan.origins.iter().filter_map(|origin| match origin {
        InputOrigin::Sent(_) => None,
        InputOrigin::Feature(filled) => Some(filled),
    })
}

/// When a look-up must end so that what it falls back to is still of use: a quarter of the time that is left is the
/// model's.
fn look_up_by(now: Instant, deadline: Instant) -> Instant {
    now + deadline.saturating_duration_since(now) / 4 * 3
}

impl FeatureStep for LookupStep {
    fn client_config(&self) -> &ModelConfig {
        &self.plan.client
    }

    fn sent_inputs(&self) -> usize {
        self.plan.sent_inputs
    }

    fn fill(&self, request: InferenceRequest) -> FillFuture<'_> {
        Box::pin(self.resolve(request))
    }
}

/// Takes the parameter by which clients ask to be told, and says whether they do.
fn takes_told(parameters: &mut Parameters) -> bool {
    let Some(at) = parameters.iter().position(|(name, _)| **name == *TOLD) else { return false };
    matches!(parameters.remove(at).1, ParameterValue::Bool(true))
}

/// What a client is told: for each input that a feature fills, rows by origin, and the age of the oldest value.
fn told(resolved: &Resolved) -> Parameters {
    let inputs: Map<String, Json> = resolved
        .report()
        .into_iter()
        .map(|feature| {
            let origins = Origin::ALL.iter().zip(feature.origins).filter(|(_, rows)| *rows > 0);
            let from: Map<String, Json> =
                origins.map(|(origin, rows)| (origin.as_str().to_owned(), rows.into())).collect();
            let mut told = json!({ "from": from });
            if let Some(oldest) = feature.oldest {
                told["oldest_seconds"] = oldest.as_secs_f64().into();
            }
            (feature.input, told)
        })
        .collect();
    vec![(TOLD.into(), ParameterValue::String(Json::Object(inputs).to_string().into()))]
}

/// A look-up's failure as the server tells it.
pub(super) fn serving_error(error: &FeatureError) -> ServingError {
    let code = match error.code() {
        FeatureCode::InvalidArgument => ErrorCode::InvalidArgument,
        FeatureCode::NotFound => ErrorCode::NotFound,
        FeatureCode::ResourceExhausted => ErrorCode::ResourceExhausted,
        FeatureCode::Unavailable => ErrorCode::Unavailable,
        FeatureCode::DeadlineExceeded => ErrorCode::DeadlineExceeded,
        FeatureCode::Unsupported => ErrorCode::Unsupported,
        FeatureCode::Internal => ErrorCode::Internal,
    };
    let told = ServingError::new(code, error.to_string());
    match error.operator_detail() {
        Some(detail) => told.with_operator_detail(detail),
        None => told,
    }
}
