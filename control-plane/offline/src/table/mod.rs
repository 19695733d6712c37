//! Columns of tables, in two forms: as a file holds them ([`Leaf`]), and as cells of a declared type ([`Column`]).

mod cell;
mod column;
mod instants;
mod leaf;

pub(crate) use column::{Column, Values};
pub(crate) use instants::{instants, nanos_of_text};
pub(crate) use leaf::{Kind, Leaf, Physical};

/// In place of a row's number: none.
pub(crate) const NO_ROW: u32 = u32::MAX;
