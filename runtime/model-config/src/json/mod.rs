//! The JSON form of a configuration: the answer to a configuration request, and the override of a load request.
//!
//! Protobuf's JSON mapping with Triton's choices (W-18): proto field names, every primitive field present, 64-bit
//! integers as numbers. What is written can be read back.

mod read;
mod write;

pub use read::parse_json;
pub use write::to_json;
