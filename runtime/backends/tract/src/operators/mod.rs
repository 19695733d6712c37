//! The operators that tract is given: its own, and ours in place of those that it has slow, partly or not at all.
//!
//! tract looks operators up by name without a domain; so does this register.

mod attributes;
mod category_mapper;
mod features;
mod tree_classifier;
mod tree_definition;
mod tree_definition_five;
mod tree_regressor;
mod tree_source;

use std::sync::LazyLock;

use tract_onnx::Onnx;
use tract_onnx::tract_core::ops::TypedOp;

/// tract's ONNX front end with our operators in it.
///
/// Facts in the file about tensors between nodes are not used: exporters write them for other shapes than the one
/// that a plan is made for, and tract refuses the clash.
pub(crate) fn front_end() -> &'static Onnx {
    static FRONT_END: LazyLock<Onnx> = LazyLock::new(|| {
        let mut onnx = tract_onnx::onnx().with_ignore_value_info(true);
        onnx.op_register.insert("CategoryMapper", category_mapper::build);
        onnx.op_register.insert("TreeEnsembleClassifier", tree_classifier::build);
        onnx.op_register.insert("TreeEnsembleRegressor", tree_regressor::build);
        onnx.op_register.insert("TreeEnsemble", tree_regressor::build_version_five);
        onnx
    });
    &FRONT_END
}

/// Identity and size in bytes of the trees that an operator of a plan holds; `None` for other operators.
pub(crate) fn tree_memory_bytes(operator: &dyn TypedOp) -> Option<(usize, u64)> {
    tree_regressor::memory(operator).or_else(|| tree_classifier::memory(operator))
}

#[cfg(test)]
mod golden_tests;
