//! Features by entity key in this process: where the declared services of `hanok-features` meet the runtime's contract for
//! inputs that come from features.

mod declarations;
mod key_tensor;
mod metrics;
mod plan;
mod served_log;
mod services;
mod step;
mod told;

#[cfg(test)]
mod tests;

pub(crate) use declarations::{open_regular, open_some_stores, read_declarations, unreadable};
pub(crate) use served_log::{SEGMENTS_OF_LOG, segments};
pub(crate) use services::FeatureServices;
pub(crate) use told::{mistake, told_to_operator};
