//! Training-serving skew: what was served beside what a training set would have at the same moment.
//!
//! A server's log of served features says what each request's rows got; the point-in-time join of the same keys at the same
//! times says what they should have got. What differs is late materialisation, another computation, or a lost value.

mod compared;
mod report;
mod served_log;

pub use compared::{SkewedFeature, stability_index};
pub use report::{SkewReport, skew};
