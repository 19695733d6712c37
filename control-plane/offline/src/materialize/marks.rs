//! What is remembered beside the declarations of how far each view was materialised: one small file a view, replaced whole.
//!
//! Not what the next run goes by: that is the mark in the store itself, which goes with its rows. By the note it is known that
//! a store had a mark, and has lost it.

use std::io::Write as _;
use std::sync::Arc;

use hanok_features::FeatureView;
use serde_json::{Value as Json, json};

use crate::error::OfflineError;
use crate::period::{instant_text, nanos_of_instant};
use crate::storage::{RandomRead, Storage};

/// Where notes stand, from the folder of the declarations.
const FOLDER: &str = ".hanok/materialized";

/// Notes of views.
#[derive(Clone, Debug)]
pub struct Marks {
    storage: Arc<dyn Storage>,
}

impl Marks {
    /// Those of a storage.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }

    fn name(view: &FeatureView) -> String {
        // Names of views and stores hold no dots and no separators of paths.
        format!("{FOLDER}/{}.{}.json", view.name, view.store)
    }

    /// Until when a view was materialised from here into its store, in nanoseconds since the epoch; none where it never was.
    ///
    /// # Errors
    /// `Damaged` for a note that is none, and what the disk says. Whoever goes on as if there were none cannot tell what was
    /// lost, but leaves out nothing.
    pub fn until(&self, view: &FeatureView) -> Result<Option<i64>, OfflineError> {
        let name = Self::name(view);
        let file: Arc<dyn RandomRead> = match self.storage.open(&name) {
            Ok(file) => file,
            Err(OfflineError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = usize::try_from(file.length()).unwrap_or(usize::MAX).min(1 << 16);
        let bytes = file.read(0, length).map_err(|error| OfflineError::from_storage(&name, &error))?;
        let json: Option<Json> = serde_json::from_slice(&bytes).ok();
        let until = json.as_ref().and_then(|json| json["until"].as_str()).and_then(nanos_of_instant);
        let damaged = || OfflineError::damaged(&name, "expected `until` with an instant; the next run writes it anew");
        until.map(Some).ok_or_else(damaged)
    }

    /// Notes that a view was materialised until then. Durable when it returns.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails.
    pub fn set(&self, view: &FeatureView, until: i64) -> Result<(), OfflineError> {
        let name = Self::name(view);
        let mut file = self.storage.create(&name)?;
        let mark = json!({ "view": view.name, "store": view.store, "until": instant_text(until) });
        let written = writeln!(file, "{mark}").and_then(|()| file.finish());
        written.map_err(|error| OfflineError::from_storage(&name, &error))
    }
}
