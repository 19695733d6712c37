//! Which features the rows in the file have, and in which places.
//!
//! Every set of features that a view ever had keeps a number; a stored row is kept with the number of its own. So a view
//! may gain and lose features without any row being rewritten; rows are brought into the layout in force as they are
//! loaded, and all rows in memory have that one.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::columns::Columns;
use crate::data_type::FeatureType;
use crate::declared::FeatureView;
use crate::error::FeatureError;
use crate::row::{RowRef, write_row_of};

/// Names and types of a set of features, in the order of their places.
pub(super) type Layout = Vec<(String, String)>;

/// A layout as it is kept in the file.
pub(super) fn to_text(layout: &Layout) -> String {
    json!(layout).to_string()
}

/// A kept layout; none for a text that is none.
pub(super) fn from_text(text: &str) -> Option<Layout> {
    let layout: Json = serde_json::from_str(text).ok()?;
    let pair = |json: &Json| Some((json.get(0)?.as_str()?.to_owned(), json.get(1)?.as_str()?.to_owned()));
    layout.as_array()?.iter().map(pair).collect()
}

/// Every layout of a view by number, and the one in force.
#[derive(Clone, Debug)]
pub(super) struct Layouts {
    types: Arc<[FeatureType]>,
    in_force: Layout,
    /// For each number: how many features, and for each feature in force its place there.
    known: Vec<(usize, Vec<Option<usize>>)>,
}

impl Layouts {
    /// The layout of a view as it is declared now; no rows are known yet.
    pub(super) fn of(view: &FeatureView) -> Self {
        let in_force =
            view.features.iter().map(|feature| (feature.name.clone(), feature.data_type.to_string())).collect();
        Self { types: view.types(), in_force, known: Vec::new() }
    }

    pub(super) const fn in_force(&self) -> &Layout {
        &self.in_force
    }

    /// Takes the layouts that the file knows, in the order of their numbers.
    ///
    /// # Errors
    /// `Unsupported` when a feature had another type before than it has now.
    pub(super) fn learn(&mut self, view: &str, layouts: &[Layout]) -> Result<(), FeatureError> {
        for (name, expected) in &self.in_force {
            let before = layouts.iter().flatten().find(|(one, data_type)| one == name && data_type != expected);
            if let Some((_, actual)) = before {
                return Err(FeatureError::Unsupported(format!(
                    "feature `{view}:{name}`: expected stored type `{expected}`, got `{actual}`; a feature of another \
                     type needs another name"
                )));
            }
        }
        let place = |layout: &Layout, name: &str| layout.iter().position(|(one, _)| one == name);
        self.known = layouts
            .iter()
            .map(|layout| (layout.len(), self.in_force.iter().map(|(name, _)| place(layout, name)).collect()))
            .collect();
        Ok(())
    }

    pub(super) fn knows(&self, number: usize) -> bool {
        number < self.known.len()
    }

    /// A stored row in the layout in force.
    ///
    /// # Errors
    /// `Internal` for a row that does not fit its layout.
    pub(super) fn bring_up(&self, number: usize, stored: &[u8]) -> Result<Box<[u8]>, FeatureError> {
        let damaged = || FeatureError::internal("a stored row is damaged", format!("its layout is `{number}`"));
        let (features, places) = self.known.get(number).ok_or_else(damaged)?;
        let row = RowRef::read(stored, *features)?;
        let mut columns = Columns::new(Arc::clone(&self.types), 1);
        for (column, place) in places.iter().enumerate() {
            if let Some(place) = place {
                row.copy_into(*place, &mut columns, column, 0)?;
            }
        }
        let mut encoded = Vec::with_capacity(stored.len());
        write_row_of(&columns, 0, row.event_micros(), &mut encoded);
        Ok(encoded.into_boxed_slice())
    }
}
