//! Declarations that hold together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Entity, FeatureService, FeatureView, StoreDeclaration};
use crate::error::FeatureError;

/// Entities, stores, views and services, each by its name; every reference among them resolves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeatureSet {
    pub(super) entities: BTreeMap<String, Entity>,
    pub(super) stores: BTreeMap<String, StoreDeclaration>,
    pub(super) views: BTreeMap<String, Arc<FeatureView>>,
    pub(super) services: BTreeMap<String, Arc<FeatureService>>,
}

impl FeatureSet {
    /// Entities by name.
    #[must_use]
    pub const fn entities(&self) -> &BTreeMap<String, Entity> {
        &self.entities
    }

    /// Online stores by name.
    #[must_use]
    pub const fn stores(&self) -> &BTreeMap<String, StoreDeclaration> {
        &self.stores
    }

    /// Feature views by name.
    #[must_use]
    pub const fn views(&self) -> &BTreeMap<String, Arc<FeatureView>> {
        &self.views
    }

    /// Feature services by name.
    #[must_use]
    pub const fn services(&self) -> &BTreeMap<String, Arc<FeatureService>> {
        &self.services
    }

    /// A view.
    ///
    /// # Errors
    /// `NotFound`, with the nearest name.
    pub fn view(&self, name: &str) -> Result<&Arc<FeatureView>, FeatureError> {
        self.views.get(name).ok_or_else(|| missing("feature view", name, self.views.keys()))
    }

    /// A service.
    ///
    /// # Errors
    /// `NotFound`, with the nearest name.
    pub fn service(&self, name: &str) -> Result<&Arc<FeatureService>, FeatureError> {
        self.services.get(name).ok_or_else(|| missing("feature service", name, self.services.keys()))
    }
}

fn missing<'a>(what: &'static str, name: &str, known: impl Iterator<Item = &'a String>) -> FeatureError {
    FeatureError::not_found(what, name, known.map(String::as_str))
}
