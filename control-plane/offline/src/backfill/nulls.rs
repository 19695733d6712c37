//! How often features are null, over all days of a period: those that were read and those that are there already.

use hanok_features::FeatureView;

use crate::error::OfflineError;
use crate::parquet_file::ParquetTable;

/// Rows, and for each feature of a view how many of them are null.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Nulls {
    pub(super) rows: u64,
    pub(super) nulls: Vec<u64>,
}

impl Nulls {
    /// Those of a day that is kept: as its file tells, or counted where it does not.
    pub(super) fn kept(table: &ParquetTable, view: &FeatureView) -> Result<Self, OfflineError> {
        let mut found = Self { rows: 0, nulls: vec![0; view.features.len()] };
        found.rows = (0..table.groups()).map(|group| table.rows(group) as u64).sum();
        for (feature, nulls) in view.features.iter().zip(&mut found.nulls) {
            let leaf = table.leaf(&feature.name)?;
            for group in 0..table.groups() {
                // Statistics count an empty list among the nulls.
                let told = table.nulls(group, leaf).filter(|_| !feature.data_type.list);
                *nulls += match told {
                    Some(told) => told,
                    None => table.read(group, leaf)?.definition.iter().filter(|level| **level == 0).count() as u64,
                };
            }
        }
        Ok(found)
    }

    /// Adds others of the same view.
    pub(super) fn add(&mut self, rows: u64, nulls: &[u64]) {
        self.rows += rows;
        self.nulls.resize(self.nulls.len().max(nulls.len()), 0);
        self.nulls.iter_mut().zip(nulls).for_each(|(sum, nulls)| *sum += nulls);
    }

    /// Refuses a feature that is null more often than a share of the rows.
    ///
    /// # Errors
    /// `InvalidArgument` with the first such feature.
    pub(super) fn check(&self, view: &FeatureView, maximum: f64) -> Result<(), OfflineError> {
        for (feature, nulls) in view.features.iter().zip(&self.nulls) {
            let rows = self.rows;
            #[allow(clippy::cast_precision_loss, reason = "a rate")]
            let rate = *nulls as f64 / rows.max(1) as f64;
            if rate > maximum {
                let reason =
                    format!("expected at most `{maximum}` of its values to be null, got `{rate:.3}` of `{rows}`");
                return Err(OfflineError::invalid(format!("feature `{}:{}`", view.name, feature.name), reason));
            }
        }
        Ok(())
    }
}
