//! Documents of the system shared memory routes (W-59, W-60): a region to register, and the regions that there are.

use hanok_backend::ServingError;
use serde_json::{Value, json};

use super::infer_request::expected;

/// A region to make known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemRegionRequest {
    /// The POSIX key of the client's shared memory object.
    pub key: String,
    /// Where it begins within the object, in bytes.
    pub offset: u64,
    /// Size in bytes.
    pub byte_size: u64,
}

/// A region that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemRegion {
    /// Its name.
    pub name: String,
    /// The key of its object.
    pub key: String,
    /// Where it begins within the object, in bytes.
    pub offset: u64,
    /// Size in bytes.
    pub byte_size: u64,
}

/// Parses the body of a register request: `key`, `byte_size`, and `offset`, which may be left out.
///
/// # Errors
/// `InvalidArgument` that names the member; malformed JSON as Triton's INTERNAL.
pub fn parse_system_region(body: &[u8]) -> Result<SystemRegionRequest, ServingError> {
    let document: Value = serde_json::from_slice(body)
        .map_err(|error| ServingError::malformed(format!("failed to parse the request JSON buffer: {error}")))?;
    let key = document.get("key").and_then(Value::as_str).ok_or_else(|| expected("key", "text"))?;
    let offset = document.get("offset").map_or(Some(0), Value::as_u64);
    let byte_size = document.get("byte_size").and_then(Value::as_u64);
    Ok(SystemRegionRequest {
        key: key.to_owned(),
        offset: offset.ok_or_else(|| expected("offset", "an unsigned integer"))?,
        byte_size: byte_size.ok_or_else(|| expected("byte_size", "an unsigned integer"))?,
    })
}

/// The reply that tells regions.
#[must_use]
pub fn system_regions_body(regions: &[SystemRegion]) -> String {
    let region = |SystemRegion { name, key, offset, byte_size }: &SystemRegion| json!({ "name": name, "key": key, "offset": offset, "byte_size": byte_size });
    Value::from_iter(regions.iter().map(region)).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_region_is_read_as_tritons_client_writes_it() {
        let region = parse_system_region(br#"{"key": "/a", "offset": 8, "byte_size": 64}"#).unwrap();
        assert_eq!(region, SystemRegionRequest { key: "/a".to_owned(), offset: 8, byte_size: 64 });
        assert_eq!(parse_system_region(br#"{"key": "/a", "byte_size": 64}"#).unwrap().offset, 0);
        for (wrong, name) in [
            (r#"{"byte_size": 64}"#, "key"),
            (r#"{"key": 1, "byte_size": 64}"#, "key"),
            (r#"{"key": "/a"}"#, "byte_size"),
            (r#"{"key": "/a", "byte_size": -1}"#, "byte_size"),
            (r#"{"key": "/a", "byte_size": 1, "offset": "0"}"#, "offset"),
        ] {
            let error = parse_system_region(wrong.as_bytes()).unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
        assert!(parse_system_region(b"{").is_err());
    }

    #[test]
    fn regions_are_a_list() {
        let region = SystemRegion { name: "a".to_owned(), key: "/k".to_owned(), offset: 0, byte_size: 4 };
        assert_eq!(system_regions_body(&[region]), r#"[{"name":"a","key":"/k","offset":0,"byte_size":4}]"#);
        assert_eq!(system_regions_body(&[]), "[]");
    }
}
