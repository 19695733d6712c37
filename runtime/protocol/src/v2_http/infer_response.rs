//! An infer reply over HTTP: JSON, and the binary tensors that follow it (W-36, W-46).
//!
//! JSON is written straight into one buffer. Small binary tensors are copied behind it, so that a small reply is one
//! piece; larger ones stay views of the backend's memory.

use bytes::Bytes;
use hanok_backend::{ParameterValue, ServingError};
use smallvec::SmallVec;

use super::json_elements::{double, estimated_length, integer, write_elements};
use super::json_text::write_string;
use crate::{InferReply, ReplyOutput};

/// Binary tensors up to this size are copied behind the JSON.
const COPY_LIMIT: usize = 4096;

/// A reply's body: `head`, then `parts`, one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseBody {
    /// JSON, and perhaps small binary tensors.
    pub head: Bytes,
    /// Length of the JSON in bytes, for the header `Inference-Header-Content-Length`; `None` when no output is binary.
    pub header_length: Option<usize>,
    /// The other binary tensors.
    pub parts: SmallVec<[Bytes; 4]>,
}

impl ResponseBody {
    /// Length of the whole body in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.head.len() + self.parts.iter().map(Bytes::len).sum::<usize>()
    }

    /// Media type of the body (W-05).
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        if self.header_length.is_some() { "application/octet-stream" } else { "application/json" }
    }
}

/// Writes a reply.
///
/// # Errors
/// `InvalidArgument` when an output that is wanted as JSON cannot be JSON (W-38), `Internal` when a BYTES output is
/// not encoded as such.
pub fn write_infer_response(reply: &InferReply<'_>) -> Result<ResponseBody, ServingError> {
    let mut out = Vec::with_capacity(capacity(reply));
    out.push(b'{');
    if !reply.id.is_empty() {
        out.extend_from_slice(b"\"id\":");
        write_string(&mut out, reply.id);
        out.push(b',');
    }
    out.extend_from_slice(b"\"model_name\":");
    write_string(&mut out, reply.model_name);
    out.extend_from_slice(b",\"model_version\":\"");
    integer(&mut out, reply.model_version);
    out.push(b'"');
    write_parameters(&mut out, reply);
    out.extend_from_slice(b",\"outputs\":[");
    let mut any_binary = false;
    for (index, output) in reply.outputs.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b",{\"name\":" } else { b"{\"name\":" });
        write_string(&mut out, output.name);
        out.extend_from_slice(b",\"datatype\":\"");
        out.extend_from_slice(output.data_type.name().as_bytes());
        out.extend_from_slice(b"\",\"shape\":[");
        for (position, &dimension) in output.shape.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            integer(&mut out, dimension);
        }
        if output.placed {
            // As in Triton: where it is, the client knows.
            out.extend_from_slice(b"]}");
        } else if output.binary {
            any_binary = true;
            out.extend_from_slice(b"],\"parameters\":{\"binary_data_size\":");
            integer(&mut out, output.data.len());
            out.extend_from_slice(b"}}");
        } else {
            out.extend_from_slice(b"],\"data\":");
            write_elements(&mut out, output)?;
            out.push(b'}');
        }
    }
    out.extend_from_slice(b"]}");
    let header_length = any_binary.then_some(out.len());
    let mut parts: SmallVec<[Bytes; 4]> = SmallVec::new();
    for output in reply.outputs.iter().filter(|output| output.binary) {
        if parts.is_empty() && output.data.len() <= COPY_LIMIT {
            out.extend_from_slice(&output.data);
        } else {
            parts.push(output.data.clone());
        }
    }
    Ok(ResponseBody { head: Bytes::from(out), header_length, parts })
}

fn capacity(reply: &InferReply<'_>) -> usize {
    let outputs: usize = reply
        .outputs
        .iter()
        .map(|output| {
            let data = match output {
                ReplyOutput { placed: true, .. } => 0,
                ReplyOutput { binary: true, data, .. } => data.len().min(COPY_LIMIT),
                _ => estimated_length(output),
            };
            96 + output.name.len() + 12 * output.shape.rank() + data
        })
        .sum();
    64 + reply.id.len() + reply.model_name.len() + 64 * reply.parameters.len() + outputs
}

fn write_parameters(out: &mut Vec<u8>, reply: &InferReply<'_>) {
    if reply.parameters.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"parameters\":{");
    for (index, (name, value)) in reply.parameters.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        match value {
            ParameterValue::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            ParameterValue::Int(value) => integer(out, *value),
            ParameterValue::Uint(value) => integer(out, *value),
            ParameterValue::Double(value) => double(out, *value),
            ParameterValue::String(value) => write_string(out, value),
        }
    }
    out.push(b'}');
}

#[cfg(test)]
#[path = "infer_response_tests.rs"]
mod tests;
