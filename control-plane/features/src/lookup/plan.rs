//! A service, resolved once against its views: what is read of which view, and where each value goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::request::{KeyColumn, ResolveRequest};
use crate::byte_column::ByteColumn;
use crate::data_type::FeatureType;
use crate::declared::{Fallback, FeatureService, FeatureSet, FeatureView, nearest};
use crate::error::FeatureError;
use crate::store::ViewRead;
use crate::value::Value;

/// Most rows of a request.
const REQUEST_ROWS: usize = 1 << 16;
/// Most values of a request.
const REQUEST_VALUES: usize = 1 << 22;

/// A view of the service.
#[derive(Debug)]
pub(super) struct PlannedView {
    pub(super) view: Arc<FeatureView>,
    /// Places of its features that the service uses, each once.
    pub(super) places: Arc<[usize]>,
    /// Their types.
    types: Arc<[FeatureType]>,
    /// How old they may be.
    pub(super) ages: Vec<Option<Duration>>,
    /// Columns of the service that it fills: one feature may fill several.
    pub(super) columns: Vec<usize>,
    /// The place of each of these columns in the view.
    pub(super) sources: Vec<usize>,
    /// Whether its rows are kept after they were read.
    pub(super) remembered: bool,
    /// Number of its store in the lookup.
    pub(super) store: usize,
}

/// A column of the service.
#[derive(Debug)]
pub(super) struct PlannedColumn {
    /// Number of its view, and which of that view's places.
    pub(super) from: (usize, usize),
    pub(super) maximum_age: Option<Duration>,
    pub(super) fallback: Fallback,
}

/// A service, ready to be looked up.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) service: Arc<FeatureService>,
    pub(super) types: Arc<[FeatureType]>,
    pub(super) views: Vec<PlannedView>,
    pub(super) columns: Vec<PlannedColumn>,
    /// Names of the stores by number.
    pub(super) stores: Vec<String>,
}

/// What of a column the client gives.
#[derive(Clone, Copy, Debug)]
pub(super) enum GivenColumn<'r> {
    /// Nothing.
    Nothing,
    /// Values, by row.
    Values(&'r [Option<Value>]),
    /// Everything, and the caller has it.
    FilledIn,
}

impl<'r> GivenColumn<'r> {
    /// The value of a row.
    pub(super) fn value(self, row: usize) -> Option<&'r Value> {
        match self {
            Self::Values(values) => values.get(row)?.as_ref(),
            Self::Nothing | Self::FilledIn => None,
        }
    }

    pub(super) const fn is_nothing(self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// What a request's client gives, by column.
pub(super) type Given<'r> = Vec<GivenColumn<'r>>;

impl Plan {
    pub(super) fn new(set: &FeatureSet, name: &str) -> Result<Self, FeatureError> {
        let service = Arc::clone(set.service(name)?);
        let mut plan = Self {
            types: Arc::from([]),
            views: Vec::new(),
            columns: Vec::new(),
            stores: Vec::new(),
            service: Arc::clone(&service),
        };
        let mut places: Vec<Vec<usize>> = Vec::new();
        let mut types = Vec::new();
        for (column, served) in service.features.iter().enumerate() {
            let view = set.view(&served.view)?;
            let place = view.place(&served.feature).ok_or_else(|| FeatureError::NotFound {
                what: "feature",
                name: served.reference(),
                nearest: nearest(&served.feature, view.features.iter().map(|feature| feature.name.as_str())),
            })?;
            let feature = &view.features[place];
            let number = plan.views.iter().position(|one| one.view.name == view.name).unwrap_or_else(|| {
                let store = number_of(&mut plan.stores, &view.store);
                let view = Arc::clone(view);
                plan.views.push(PlannedView {
                    view,
                    places: Arc::from([]),
                    types: Arc::from([]),
                    ages: Vec::new(),
                    columns: Vec::new(),
                    sources: Vec::new(),
                    remembered: service.cache.is_some_and(|cache| !cache.maximum_age.is_zero()),
                    store,
                });
                places.push(Vec::new());
                plan.views.len() - 1
            });
            let planned = &mut plan.views[number];
            // Stores are asked for a feature once, whatever it fills.
            let asked = places[number].iter().position(|one| *one == place).unwrap_or_else(|| {
                places[number].push(place);
                planned.ages.push(feature.maximum_age);
                places[number].len() - 1
            });
            planned.columns.push(column);
            planned.sources.push(place);
            planned.remembered |= matches!(feature.fallback, Fallback::LastKnown(_));
            plan.columns.push(PlannedColumn {
                from: (number, asked),
                maximum_age: feature.maximum_age,
                fallback: feature.fallback.clone(),
            });
            types.push(feature.data_type);
        }
        for (view, places) in plan.views.iter_mut().zip(places) {
            view.types = places.iter().map(|place| view.view.features[*place].data_type).collect();
            view.places = places.into();
        }
        plan.types = types.into();
        Ok(plan)
    }

    /// Whether rows of any view are kept after they were read.
    pub(super) fn remembers(&self) -> bool {
        self.views.iter().any(|view| view.remembered)
    }

    /// Checks the form of a request, and orders what the client gives by column.
    pub(super) fn check<'r>(&self, request: &'r ResolveRequest) -> Result<Given<'r>, FeatureError> {
        let most = REQUEST_ROWS.min(REQUEST_VALUES / self.columns.len().max(1));
        if !(1..=most).contains(&request.rows) {
            let reason = format!("expected `1` to `{most}`, got `{}`", request.rows);
            return Err(FeatureError::invalid("rows", reason));
        }
        let count = |what: String, actual: usize| {
            let reason = format!("expected `{}` values, got `{actual}`", request.rows);
            if actual == request.rows { Ok(()) } else { Err(FeatureError::invalid(what, reason)) }
        };
        let known = || self.views.iter().flat_map(|view| view.view.keys.names()).map(|(name, _)| name.as_str());
        for (name, column) in &request.keys {
            if !known().any(|one| one == name) {
                return Err(FeatureError::not_found("key", name, known()));
            }
            count(format!("key `{name}`"), column.len())?;
        }
        let inputs = || self.service.features.iter().map(|feature| feature.input.as_str());
        let mut given: Given<'r> = vec![GivenColumn::Nothing; self.columns.len()];
        for (name, values) in &request.overrides {
            let Some(column) = inputs().position(|input| input == name) else {
                return Err(FeatureError::not_found("input", name, inputs()));
            };
            count(format!("input `{name}`"), values.len())?;
            let wanted = self.types[column];
            if let Some(wrong) = values.iter().flatten().map(Value::feature_type).find(|one| *one != wanted) {
                let reason = format!("expected values of type `{wanted}`, got `{wrong}`");
                return Err(FeatureError::invalid(format!("input `{name}`"), reason));
            }
            given[column] = GivenColumn::Values(values);
        }
        for place in &request.filled_in {
            if let Some(column) = given.get_mut(*place) {
                *column = GivenColumn::FilledIn;
            }
        }
        Ok(given)
    }
}

fn number_of(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|one| one == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

impl PlannedView {
    /// Whether the client gives every value of a row.
    pub(super) fn is_given(&self, given: &Given<'_>, row: usize) -> bool {
        let has = |column: &usize| match given[*column] {
            GivenColumn::Nothing => false,
            GivenColumn::Values(values) => values[row].is_some(),
            GivenColumn::FilledIn => true,
        };
        self.columns.iter().all(has)
    }

    /// The request's columns of the join keys, in the order of the layout.
    pub(super) fn key_columns<'r>(
        &self,
        keys: &'r BTreeMap<String, KeyColumn>,
    ) -> Result<Vec<&'r KeyColumn>, FeatureError> {
        let column = |(name, key_type): &(String, crate::entity_key::KeyType)| {
            keys.get(name).ok_or_else(|| {
                let reason =
                    format!("expected values of type `{}` for view `{}`, got none", key_type.as_str(), self.view.name);
                FeatureError::invalid(format!("key `{name}`"), reason)
            })
        };
        self.view.keys.names().iter().map(column).collect()
    }

    /// A read of no keys yet.
    pub(super) fn empty_read(&self) -> ViewRead {
        ViewRead {
            view: Arc::clone(&self.view),
            places: Arc::clone(&self.places),
            types: Arc::clone(&self.types),
            keys: ByteColumn::default(),
        }
    }
}
