//! One forest of a graph, laid out at most once per precision, however many plans are made of the graph.

use std::sync::{Arc, OnceLock};

use tract_onnx::tract_hir::internal::{DatumType, TractResult};

use crate::tree_ensemble::{EnsembleDefinition, InvalidEnsemble};

/// A definition, and the layouts made of it so far; `S` is the layout in single precision, `D` in double.
#[derive(Debug)]
pub(super) struct TreeSource<S, D> {
    definition: EnsembleDefinition,
    base_values: Vec<f64>,
    single: OnceLock<Arc<S>>,
    double: OnceLock<Arc<D>>,
}

/// A layout in the precision that an input asks for.
#[derive(Debug)]
pub(super) enum Trees<S, D> {
    /// Single precision: every input type but double.
    Single(Arc<S>),
    /// Double precision.
    Double(Arc<D>),
}

impl<S, D> Clone for Trees<S, D> {
    fn clone(&self) -> Self {
        match self {
            Self::Single(trees) => Self::Single(Arc::clone(trees)),
            Self::Double(trees) => Self::Double(Arc::clone(trees)),
        }
    }
}

impl<S, D> PartialEq for Trees<S, D> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Single(one), Self::Single(other)) => Arc::ptr_eq(one, other),
            (Self::Double(one), Self::Double(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl<S, D> Eq for Trees<S, D> {}

impl<S, D> TreeSource<S, D> {
    /// A forest that is not laid out yet.
    pub(super) const fn new(definition: EnsembleDefinition, base_values: Vec<f64>) -> Self {
        Self { definition, base_values, single: OnceLock::new(), double: OnceLock::new() }
    }

    /// The forest for inputs of type `data_type`.
    pub(super) fn trees(
        &self,
        data_type: DatumType,
        single: impl Fn(&EnsembleDefinition, &[f64]) -> Result<S, InvalidEnsemble>,
        double: impl Fn(&EnsembleDefinition, &[f64]) -> Result<D, InvalidEnsemble>,
    ) -> TractResult<Trees<S, D>> {
        if data_type == DatumType::F64 {
            return self.once(&self.double, double).map(Trees::Double);
        }
        self.once(&self.single, single).map(Trees::Single)
    }

    fn once<L>(
        &self,
        cell: &OnceLock<Arc<L>>,
        lay_out: impl Fn(&EnsembleDefinition, &[f64]) -> Result<L, InvalidEnsemble>,
    ) -> TractResult<Arc<L>> {
        if let Some(layout) = cell.get() {
            return Ok(Arc::clone(layout));
        }
        let layout = Arc::new(lay_out(&self.definition, &self.base_values)?);
        Ok(Arc::clone(cell.get_or_init(|| layout)))
    }
}
