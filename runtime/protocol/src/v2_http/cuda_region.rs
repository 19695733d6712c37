//! Documents of the CUDA shared memory routes (W-62): a region to register, and the regions that there are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanok_backend::ServingError;
use serde_json::{Value, json};

use super::infer_request::expected;

/// A region to make known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaRegionRequest {
    /// The handle of the driver for the memory, as bytes.
    pub raw_handle: Vec<u8>,
    /// Ordinal of the device.
    pub device_id: i64,
    /// Size in bytes.
    pub byte_size: u64,
}

/// A region that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaRegion {
    /// Its name.
    pub name: String,
    /// Ordinal of the device.
    pub device_id: u64,
    /// Size in bytes.
    pub byte_size: u64,
}

/// Parses the body of a register request: `raw_handle` with `b64`, `device_id`, `byte_size`.
///
/// # Errors
/// `InvalidArgument` that names the member; malformed JSON as Triton's INTERNAL.
pub fn parse_cuda_region(body: &[u8]) -> Result<CudaRegionRequest, ServingError> {
    let document: Value = serde_json::from_slice(body)
        .map_err(|error| ServingError::malformed(format!("failed to parse the request JSON buffer: {error}")))?;
    let text = document.pointer("/raw_handle/b64").and_then(Value::as_str);
    let text = text.ok_or_else(|| expected("raw_handle", "an object with the base64 text `b64`"))?;
    let raw_handle = STANDARD.decode(text).map_err(|_| expected("raw_handle", "base64 text"))?;
    let device_id = document.get("device_id").and_then(Value::as_i64);
    let byte_size = document.get("byte_size").and_then(Value::as_u64);
    Ok(CudaRegionRequest {
        raw_handle,
        device_id: device_id.ok_or_else(|| expected("device_id", "an integer"))?,
        byte_size: byte_size.ok_or_else(|| expected("byte_size", "an unsigned integer"))?,
    })
}

/// The reply that tells regions.
#[must_use]
pub fn cuda_regions_body(regions: &[CudaRegion]) -> String {
    let region = |region: &CudaRegion| json!({ "name": region.name, "device_id": region.device_id, "byte_size": region.byte_size });
    Value::from_iter(regions.iter().map(region)).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_region_is_read_as_tritons_client_writes_it() {
        let body = br#"{"raw_handle": {"b64": "AAEC"}, "device_id": 1, "byte_size": 64}"#;
        let region = parse_cuda_region(body).unwrap();
        assert_eq!(region, CudaRegionRequest { raw_handle: vec![0, 1, 2], device_id: 1, byte_size: 64 });
        for (wrong, name) in [
            (r#"{"device_id": 1, "byte_size": 64}"#, "raw_handle"),
            (r#"{"raw_handle": "AAEC", "device_id": 1, "byte_size": 64}"#, "raw_handle"),
            (r#"{"raw_handle": {"b64": "?"}, "device_id": 1, "byte_size": 64}"#, "raw_handle"),
            (r#"{"raw_handle": {"b64": ""}, "device_id": "1", "byte_size": 64}"#, "device_id"),
            (r#"{"raw_handle": {"b64": ""}, "device_id": 1, "byte_size": -1}"#, "byte_size"),
        ] {
            let error = parse_cuda_region(wrong.as_bytes()).unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
        assert!(parse_cuda_region(b"{").is_err());
    }

    #[test]
    fn regions_are_a_list() {
        let region = CudaRegion { name: "a".to_owned(), device_id: 0, byte_size: 4 };
        assert_eq!(cuda_regions_body(&[region]), r#"[{"name":"a","device_id":0,"byte_size":4}]"#);
        assert_eq!(cuda_regions_body(&[]), "[]");
    }
}
