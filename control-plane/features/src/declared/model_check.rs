//! Whether a feature service fits the model whose inputs it fills.

use super::suggestion::nearest;
use super::{Fallback, FeatureService, FeatureSet, Problem};
use crate::tensor_format::{InputForm, TensorFormat};

/// An input of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInput {
    /// Its name.
    pub name: String,
    /// What its tensor holds; none for a data type that no feature has.
    pub format: Option<TensorFormat>,
    /// Elements in a row of the batch, where the model says; -1 for any.
    pub dims: Vec<i64>,
}

impl FeatureSet {
    /// Checks a service against the inputs of the model that uses it: every feature has an input, and its type fits.
    /// Inputs that no feature fills are left to the client.
    #[must_use]
    pub fn check_model(&self, service: &FeatureService, inputs: &[ModelInput]) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (index, served) in service.features.iter().enumerate() {
            let mut add = |message: String| {
                problems.push(Problem {
                    document: None,
                    line: None,
                    resource: Some(format!("FeatureService/{}", service.name)),
                    path: format!("spec.features[{index}]"),
                    message,
                });
            };
            let Some(input) = inputs.iter().find(|input| input.name == served.input) else {
                let near = nearest(&served.input, inputs.iter().map(|input| input.name.as_str()));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                add(format!("expected the name of an input of the model, got `{}`{hint}", served.input));
                continue;
            };
            let feature = self.views.get(&served.view).and_then(|view| {
                let place = view.place(&served.feature)?;
                view.features.get(place)
            });
            let Some(feature) = feature else { continue };
            match input.format {
                Some(format) if format.takes(feature.data_type) => {
                    if feature.fallback == Fallback::Missing && !format.has_nan() {
                        let message = format!(
                            "expected `FP32` or `FP64` for input `{}` with fallback `missing`, got `{}`",
                            input.name,
                            format.as_str()
                        );
                        add(message);
                    }
                }
                Some(format) => add(format!(
                    "expected a feature that fits `{}` of input `{}`, got `{}`",
                    format.as_str(),
                    input.name,
                    feature.data_type
                )),
                None => add(format!("expected an input that a feature can fill, `{}` has another type", input.name)),
            }
            // A dimension of any size is one.
            let elements: i64 = input.dims.iter().filter(|dimension| **dimension >= 0).product();
            if !feature.data_type.list && elements != 1 {
                add(format!("expected an input of one element a row, `{}` has `{elements}`", input.name));
            }
            let default = match &feature.fallback {
                Fallback::Default(default) | Fallback::LastKnown(Some(default)) => Some(default),
                Fallback::LastKnown(None) | Fallback::Missing | Fallback::Fail => None,
            };
            let form = input.format.and_then(|format| InputForm::new(format, &input.dims));
            if let Some(why) = form.zip(default).and_then(|(form, default)| form.refusal_of(default)) {
                add(format!("the default does not fit input `{}`: {why}", input.name));
            }
        }
        problems
    }
}
