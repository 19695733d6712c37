//! What a person declares: entities, online stores, feature views and feature services, read strictly, checked whole.
//!
//! Every problem is told at once, with its line, its path, what was expected, and the nearest right name. What holds
//! together is a [`FeatureSet`]; nothing half-checked leaves this module.

mod documents;
mod fallback;
mod located;
mod model_check;
mod problem;
mod read_resources;
mod read_stores;
mod reading;
mod resolving;
mod resources;
mod set;
mod suggestion;

pub use documents::{API_VERSION, LARGEST_DECLARATION_BYTES, MOST_DOCUMENTS, read_features};
pub use fallback::Fallback;
pub use model_check::ModelInput;
pub use problem::Problem;
pub use resources::{
    CacheSettings, Entity, Feature, FeatureService, FeatureView, HttpDialect, HttpStoreDeclaration, ServiceFeature,
    Source, StoreDeclaration, StoreKind,
};
pub use set::FeatureSet;

pub(crate) use suggestion::nearest;

#[cfg(test)]
mod tests;
