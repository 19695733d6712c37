//! What a join is asked for, resolved against the declarations.

use std::sync::Arc;
use std::time::Duration;

use hanok_features::{FeatureService, FeatureSet, FeatureView};

use crate::error::OfflineError;

/// A feature that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedFeature {
    /// Name of its view.
    pub view: String,
    /// Its name.
    pub feature: String,
    /// The column that it becomes.
    pub column: String,
}

/// What a join puts beside the columns of the entities, in the order of its columns.
#[derive(Clone, Debug)]
pub struct JoinPlan {
    pub(crate) asked: Vec<AskedFeature>,
    pub(crate) views: Vec<ViewPlan>,
}

/// One view of a plan.
#[derive(Clone, Debug)]
pub(crate) struct ViewPlan {
    pub(crate) view: Arc<FeatureView>,
    /// Places of the features in the view.
    pub(crate) features: Vec<usize>,
    /// Places of their columns in the plan.
    pub(crate) columns: Vec<usize>,
}

impl JoinPlan {
    /// The features of a service, as the inputs of the model that it fills.
    ///
    /// # Errors
    /// `NotFound` for what is not declared.
    pub fn service(set: &FeatureSet, service: &FeatureService) -> Result<Self, OfflineError> {
        let asked = service.features.iter().map(|feature| AskedFeature {
            view: feature.view.clone(),
            feature: feature.feature.clone(),
            column: feature.input.clone(),
        });
        Self::new(set, asked.collect())
    }

    /// Features by `VIEW:FEATURE`, or `VIEW:*` for all of a view; columns are called as the features, with `full_names`
    /// `VIEW__FEATURE`.
    ///
    /// # Errors
    /// `InvalidArgument` for another form or a column twice, `NotFound` for what is not declared.
    pub fn features(set: &FeatureSet, references: &[String], full_names: bool) -> Result<Self, OfflineError> {
        let mut asked = Vec::new();
        for reference in references {
            let (view, feature) = reference.split_once(':').ok_or_else(|| {
                OfflineError::invalid("features", format!("expected `VIEW:FEATURE`, got `{reference}`"))
            })?;
            let declared = set.view(view)?;
            let names: Vec<&str> = match feature {
                "*" => declared.features.iter().map(|feature| feature.name.as_str()).collect(),
                one => vec![one],
            };
            asked.extend(names.into_iter().map(|name| AskedFeature {
                view: view.to_owned(),
                feature: name.to_owned(),
                column: if full_names { format!("{view}__{name}") } else { name.to_owned() },
            }));
        }
        Self::new(set, asked)
    }

    /// These features.
    ///
    /// # Errors
    /// `InvalidArgument` for a column twice or no feature at all, `NotFound` for what is not declared.
    pub fn new(set: &FeatureSet, asked: Vec<AskedFeature>) -> Result<Self, OfflineError> {
        if asked.is_empty() {
            return Err(OfflineError::invalid("features", "expected at least one, got none"));
        }
        let mut views: Vec<ViewPlan> = Vec::new();
        for (column, feature) in asked.iter().enumerate() {
            if let Some(other) = asked[..column].iter().find(|other| other.column == feature.column) {
                let reason = format!(
                    "expected columns that differ, `{}:{}` and `{}:{}` are both `{}`; ask for full names",
                    other.view, other.feature, feature.view, feature.feature, feature.column
                );
                return Err(OfflineError::invalid("features", reason));
            }
            let view = set.view(&feature.view)?;
            let place = view.place(&feature.feature).ok_or_else(|| {
                let known: Vec<&str> = view.features.iter().map(|one| one.name.as_str()).collect();
                let name = format!(
                    "`{}` does not exist in view `{}`: it has `{}`",
                    feature.feature,
                    view.name,
                    known.join("`, `")
                );
                OfflineError::NotFound { what: "feature", name }
            })?;
            let plan = match views.iter_mut().find(|plan| plan.view.name == view.name) {
                Some(plan) => plan,
                None => {
                    views.push(ViewPlan { view: Arc::clone(view), features: Vec::new(), columns: Vec::new() });
                    let last = views.len() - 1;
                    &mut views[last]
                }
            };
            plan.features.push(place);
            plan.columns.push(column);
        }
        Ok(Self { asked, views })
    }
}

/// An age in nanoseconds; none where it is longer than times can be apart.
pub(super) fn age_nanos(age: Duration) -> Option<i64> {
    i64::try_from(age.as_nanos()).ok()
}
