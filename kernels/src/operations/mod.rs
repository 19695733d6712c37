//! One operation a file: its dimensions, its launch as a pure function of them, and the launcher.
//!
//! No launcher allocates device memory, waits, or looks at data: what depends on data (an index out of range, an empty
//! row) is settled inside the kernel, as each operation's documentation says.

pub(crate) mod cast;
pub(crate) mod embedding;
pub(crate) mod image;
pub(crate) mod layer_norm;
pub(crate) mod mean_pooling;
pub(crate) mod padding;
pub(crate) mod rows;
pub(crate) mod segments;
pub(crate) mod sketch;
pub(crate) mod softmax;
pub(crate) mod suppression;
pub(crate) mod top_k;
