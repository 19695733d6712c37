//! The answer to a request: columns that tensors are written from, and where each value came from.

use std::sync::Arc;
use std::time::Duration;

use crate::columns::{Column, Columns};
use crate::declared::FeatureService;

/// Where a served value came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The store, asked for this request.
    #[default]
    Store,
    /// A row that was read before, within the cache's maximum age.
    Cache,
    /// The client.
    Override,
    /// The declared default.
    Default,
    /// A value older than declared, or remembered from before.
    LastKnown,
    /// Nowhere: it is passed on as missing.
    Missing,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Self; 6] =
        [Self::Store, Self::Cache, Self::Override, Self::Default, Self::LastKnown, Self::Missing];

    /// As response parameters and metrics call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Cache => "cache",
            Self::Override => "override",
            Self::Default => "default",
            Self::LastKnown => "last_known",
            Self::Missing => "missing",
        }
    }

    /// Its place in [`Origin::ALL`].
    #[must_use]
    pub const fn place(self) -> usize {
        self as usize
    }

    /// Whether the value is another than the one asked for.
    #[must_use]
    pub const fn is_fallback(self) -> bool {
        matches!(self, Self::Default | Self::LastKnown | Self::Missing)
    }
}

/// What a request's rows had of one feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureReport {
    /// The input that it fills.
    pub input: String,
    /// How many rows had it from where, in the order of [`Origin::ALL`].
    pub origins: [usize; 6],
    /// Age of the oldest value from a store or cache, where ages are known.
    pub oldest: Option<Duration>,
}

/// Features of all rows of a request, in the order of the service.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub(super) service: Arc<FeatureService>,
    pub(super) columns: Columns,
    pub(super) origins: Vec<Origin>,
    pub(super) now_micros: i64,
}

impl Resolved {
    /// How many rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.columns.rows()
    }

    /// The service whose features they are.
    #[must_use]
    pub const fn service(&self) -> &Arc<FeatureService> {
        &self.service
    }

    /// When it was asked, in microseconds since the epoch: ages count from there.
    #[must_use]
    pub const fn asked_at(&self) -> i64 {
        self.now_micros
    }

    /// The inputs with their columns, in the order of the service.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, Column<'_>)> {
        let named = self.service.features.iter().enumerate();
        named.filter_map(|(index, feature)| Some((feature.input.as_str(), self.columns.column(index)?)))
    }

    /// The column of the feature at a place in the service.
    #[must_use]
    pub fn column(&self, place: usize) -> Option<Column<'_>> {
        self.columns.column(place)
    }

    /// The column of an input.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<Column<'_>> {
        let index = self.service.features.iter().position(|feature| feature.input == name)?;
        self.columns.column(index)
    }

    /// Where the value of a column and row came from.
    #[must_use]
    pub fn origin(&self, column: usize, row: usize) -> Origin {
        self.origins.get(column * self.columns.rows() + row).copied().unwrap_or_default()
    }

    /// How old the value of a column and row is; zero where the store's clock is ahead.
    #[must_use]
    pub fn age(&self, column: usize, row: usize) -> Option<Duration> {
        let event = self.columns.column(column)?.event_micros(row)?;
        Some(Duration::from_micros(u64::try_from(self.now_micros.saturating_sub(event)).unwrap_or(0)))
    }

    /// Whether any value is another than the one asked for.
    #[must_use]
    pub fn fell_back(&self) -> bool {
        self.origins.iter().any(|origin| origin.is_fallback())
    }

    /// Ages and origins by feature.
    #[must_use]
    pub fn report(&self) -> Vec<FeatureReport> {
        let rows = self.rows();
        let one = |(index, input): (usize, &str)| {
            let mut origins = [0; 6];
            for row in 0..rows {
                origins[self.origin(index, row).place()] += 1;
            }
            let oldest = (0..rows).filter_map(|row| self.age(index, row)).max();
            FeatureReport { input: input.to_owned(), origins, oldest }
        };
        self.service.features.iter().map(|feature| feature.input.as_str()).enumerate().map(one).collect()
    }
}
