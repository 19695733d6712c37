//! The v2 protocol over gRPC: generated messages, and their conversion from and to the neutral values.
//!
//! Connections, streams and metadata belong to the server.

mod documents;
mod infer_request;
mod infer_response;
mod parameter_map;
mod repository_request;
mod typed_contents;
mod version;
pub mod wire;

pub use documents::{model_metadata_message, repository_index_message, server_metadata_message, statistics_message};
pub use infer_request::{GrpcLimits, parse_infer_request};
pub use infer_response::{infer_response_message, stream_error, stream_response, to_status};
pub use repository_request::{parse_load_request, parse_unload_request};
pub use version::{parse_health_service, parse_version};
pub use wire::FILE_DESCRIPTOR_SET;
