//! The v2 protocol over HTTP: paths to routes, bodies to messages, replies to bodies.
//!
//! Headers, connections and compression belong to the server.

mod cuda_region;
mod documents;
mod header_length;
mod infer_input;
mod infer_output;
mod infer_request;
mod infer_response;
mod json_cursor;
mod json_elements;
mod json_number;
mod json_tensor;
mod json_text;
mod raw_request;
mod repository_request;
mod route;
mod shared_memory_range;
mod system_region;

pub use cuda_region::{CudaRegion, CudaRegionRequest, cuda_regions_body, parse_cuda_region};
pub use documents::{error_body, model_metadata_body, repository_index_body, server_metadata_body, statistics_body};
pub use header_length::{BodyLayout, INFERENCE_HEADER_CONTENT_LENGTH, body_layout};
pub use infer_request::{HttpLimits, json_too_large, parse_infer};
pub use infer_response::{ResponseBody, write_infer_response};
pub use raw_request::parse_raw;
pub use repository_request::{IndexRequest, LoadRequest, UnloadRequest, parse_index, parse_load, parse_unload};
pub use route::{Method, Route, RouteMatch, SharedMemoryAction, SharedMemoryKind, VersionSegment, route};
pub use system_region::{SystemRegion, SystemRegionRequest, parse_system_region, system_regions_body};
