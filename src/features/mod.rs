//! Features by entity key in this process: where the declared services of `hanok-features` meet the runtime's contract for
//! inputs that come from features.

mod declarations;
mod key_tensor;
mod metrics;
mod plan;
mod services;
mod step;

#[cfg(test)]
mod tests;

pub(crate) use declarations::{open_stores, read_declarations, told_to_operator};
pub(crate) use services::FeatureServices;
