//! How much of an infer body is JSON: the `Inference-Header-Content-Length` header (W-09, W-40, W-41, W-48).

use hanok_backend::ServingError;

/// Name of the header, in lower case.
pub const INFERENCE_HEADER_CONTENT_LENGTH: &str = "inference-header-content-length";

/// What an infer body consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLayout {
    /// So many bytes of JSON, then binary tensors.
    Json {
        /// Length of the JSON in bytes; above 0, at most the body's.
        length: usize,
    },
    /// One input's bytes and nothing else.
    Raw,
}

/// Decides the layout from the header's values (none, or one) and the length of the body after decompression.
///
/// # Errors
/// `InvalidArgument` when the header is given twice, is not a decimal number, or exceeds the body.
pub fn body_layout<'v>(
    header_values: impl IntoIterator<Item = &'v [u8]>,
    body_length: usize,
) -> Result<BodyLayout, ServingError> {
    let mut values = header_values.into_iter();
    let length = match (values.next(), values.next()) {
        (None, _) => body_length,
        (Some(value), None) => parse_length(value, body_length)?,
        (Some(_), Some(_)) => {
            return Err(ServingError::invalid("header 'Inference-Header-Content-Length' is given more than once"));
        }
    };
    Ok(if length == 0 { BodyLayout::Raw } else { BodyLayout::Json { length } })
}

fn parse_length(value: &[u8], body_length: usize) -> Result<usize, ServingError> {
    let shown = || String::from_utf8_lossy(&value[..value.len().min(32)]).into_owned();
    let digits = value.trim_ascii();
    if digits.is_empty() || !digits.strip_prefix(b"-").unwrap_or(digits).iter().all(u8::is_ascii_digit) {
        return Err(ServingError::invalid(format!(
            "Unable to parse Inference-Header-Content-Length, got: {}",
            shown()
        )));
    }
    let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<usize>().ok());
    number.filter(|&length| length <= body_length).ok_or_else(|| {
        ServingError::invalid(format!("inference header size should be in range (0, {body_length}), got: {}", shown()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use hanok_backend::ErrorCode;

    use super::*;

    #[test]
    fn w40_length_splits_the_body() {
        assert_eq!(body_layout([&b"17"[..]], 20), Ok(BodyLayout::Json { length: 17 }));
        assert_eq!(body_layout([&b"20"[..]], 20), Ok(BodyLayout::Json { length: 20 }));
        assert_eq!(body_layout([], 20), Ok(BodyLayout::Json { length: 20 }));
    }

    #[test]
    fn w41_bad_lengths_are_refused() {
        for value in ["21", "-1", "abc", "", "99999999999", "99999999999999999999999", "+5", "1e1", "0x10", "-"] {
            let error = body_layout([value.as_bytes()], 20).unwrap_err();
            assert_eq!(error.triton_code(), ErrorCode::InvalidArgument, "{value}");
        }
        assert!(body_layout([&b"5"[..], b"5"], 20).is_err());
    }

    #[test]
    fn w09_w48_raw_bodies() {
        assert_eq!(body_layout([&b"0"[..]], 20), Ok(BodyLayout::Raw));
        assert_eq!(body_layout([], 0), Ok(BodyLayout::Raw));
    }
}
