//! A column as its file holds it: values that are there, one after another, and for each place whether one is.
//!
//! This is Parquet's own form (definition and repetition levels, Dremel: Melnik et al. 2010); a column of CSV is one
//! without levels.

use parquet::data_type::{ByteArray, Int96};

/// What values mean, where their physical type does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// True or false.
    Bool,
    /// Whole numbers with a sign.
    Int,
    /// Whole numbers without.
    Unsigned,
    /// Floats of either width.
    Float,
    /// UTF-8.
    Text,
    /// Bytes.
    Bytes,
    /// Instants; so many nanoseconds are one of the values.
    Instant(i64),
    /// Days since the Unix epoch.
    Day,
    /// Cells of a CSV file: text that means what its reader wants.
    Cell,
    /// What no feature, key or time can be.
    Other(String),
}

impl Kind {
    /// For messages.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Bool => "bool",
            Self::Int => "whole numbers",
            Self::Unsigned => "unsigned whole numbers",
            Self::Float => "floats",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Instant(_) => "instants",
            Self::Day => "days",
            Self::Cell => "text of a CSV file",
            Self::Other(name) => name,
        }
    }
}

/// Values that are there.
#[derive(Clone, Debug)]
pub(crate) enum Physical {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    /// Days and nanoseconds of the day, as Impala and old versions of Spark wrote instants.
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
}

/// A column of some rows.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) kind: Kind,
    pub(crate) values: Physical,
    /// Empty where every value is there.
    pub(crate) definition: Vec<i16>,
    /// Empty where values are no lists.
    pub(crate) repetition: Vec<i16>,
    /// The level of a value that is there.
    pub(crate) most_defined: i16,
    /// The level from which on an element of a list is there; 0 where values are no lists.
    pub(crate) in_list: i16,
    pub(crate) rows: usize,
}

impl Leaf {
    /// A column of which every value is there.
    pub(crate) const fn full(kind: Kind, values: Physical, rows: usize) -> Self {
        Self { kind, values, definition: Vec::new(), repetition: Vec::new(), most_defined: 0, in_list: 0, rows }
    }

    /// Whether its values are lists.
    pub(crate) const fn is_list(&self) -> bool {
        self.in_list > 0
    }

    /// Calls with each row of a column that is no list, and the place of its value where one is there.
    pub(crate) fn each<E>(&self, mut visit: impl FnMut(usize, Option<usize>) -> Result<(), E>) -> Result<(), E> {
        if self.definition.is_empty() {
            return (0..self.rows).try_for_each(|row| visit(row, Some(row)));
        }
        let mut next = 0;
        for (row, level) in self.definition.iter().enumerate() {
            let there = *level == self.most_defined;
            visit(row, there.then_some(next))?;
            next += usize::from(there);
        }
        Ok(())
    }
}
