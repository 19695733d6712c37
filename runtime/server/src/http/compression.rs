//! gzip and deflate in both directions (W-50 to W-53).
//!
//! Inflating stops at the size limit, so a bomb costs no more than an honest body. Which coding a reply gets is a pure
//! function of the `Accept-Encoding` header.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use hanok_backend::ServingError;

use super::request_body::too_large;

/// A content coding that is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    /// The zlib wrapper (RFC 1950), as HTTP means it.
    Deflate,
}

impl Coding {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        match name {
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => Some(Self::Gzip),
            name if name.eq_ignore_ascii_case("deflate") => Some(Self::Deflate),
            _ => None,
        }
    }
}

/// How a request's body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestCoding {
    Identity,
    Coded(Coding),
    /// 501 with `Accept-Encoding` (W-50).
    Unsupported,
}

/// Reads the `Content-Encoding` header.
pub(crate) fn request_coding(header: Option<&[u8]>) -> RequestCoding {
    match header.map(<[u8]>::trim_ascii) {
        None | Some(b"") => RequestCoding::Identity,
        Some(value) if value.eq_ignore_ascii_case(b"identity") => RequestCoding::Identity,
        Some(value) => std::str::from_utf8(value)
            .ok()
            .and_then(Coding::from_name)
            .map_or(RequestCoding::Unsupported, RequestCoding::Coded),
    }
}

/// Chooses the coding of a reply: the offered one with the highest weight, gzip first among equals; none at weight 0.
pub(crate) fn reply_coding(accept: &str) -> Option<Coding> {
    let mut best: Option<(Coding, f32)> = None;
    for item in accept.split(',') {
        let mut parts = item.split(';');
        let name = parts.next().unwrap_or_default().trim();
        let weight = parts
            .filter_map(|parameter| parameter.trim().strip_prefix("q="))
            .next()
            .map_or(1.0, |weight| weight.trim().parse().unwrap_or(0.0));
        let coding = if name == "*" { Some(Coding::Gzip) } else { Coding::from_name(name) };
        if let Some(coding) = coding
            && weight > 0.0
            && best.is_none_or(|(chosen, highest)| {
                weight > highest || (weight >= highest && chosen == Coding::Deflate && coding == Coding::Gzip)
            })
        {
            best = Some((coding, weight));
        }
    }
    best.map(|(coding, _)| coding)
}

/// Inflates a body to at most `limit` bytes.
pub(crate) fn inflate(body: &[u8], coding: Coding, limit: usize) -> Result<Bytes, ServingError> {
    let mut inflated = Vec::new();
    let bounded = limit as u64 + 1;
    let result = match coding {
        Coding::Gzip => MultiGzDecoder::new(body).take(bounded).read_to_end(&mut inflated),
        Coding::Deflate => ZlibDecoder::new(body).take(bounded).read_to_end(&mut inflated),
    };
    if inflated.len() > limit {
        return Err(too_large(limit));
    }
    match result {
        Ok(_) => Ok(Bytes::from(inflated)),
        Err(error) => Err(ServingError::invalid(format!("request body is not valid {}", coding.name()))
            .with_operator_detail(error.to_string())),
    }
}

/// Deflates the parts of a reply into one buffer.
pub(crate) fn deflate(parts: &[Bytes], coding: Coding) -> std::io::Result<Bytes> {
    // Fast compression: replies are made once and read once.
    let level = Compression::fast();
    let deflated = match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            parts.iter().try_for_each(|part| encoder.write_all(part))?;
            encoder.finish()?
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            parts.iter().try_for_each(|part| encoder.write_all(part))?;
            encoder.finish()?
        }
    };
    Ok(Bytes::from(deflated))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn w51_weights_decide() {
        assert_eq!(reply_coding("gzip;q=.5, deflate;q=.9"), Some(Coding::Deflate));
        assert_eq!(reply_coding("deflate, gzip"), Some(Coding::Gzip));
        assert_eq!(reply_coding("br, zstd"), None);
        assert_eq!(reply_coding("gzip;q=0"), None);
        assert_eq!(reply_coding("identity"), None);
        assert_eq!(reply_coding("*"), Some(Coding::Gzip));
        assert_eq!(reply_coding(""), None);
    }

    #[test]
    fn w50_unknown_codings_are_refused() {
        assert_eq!(request_coding(None), RequestCoding::Identity);
        assert_eq!(request_coding(Some(b"GZIP")), RequestCoding::Coded(Coding::Gzip));
        assert_eq!(request_coding(Some(b"br")), RequestCoding::Unsupported);
        assert_eq!(request_coding(Some(b"gzip, gzip")), RequestCoding::Unsupported);
        assert_eq!(request_coding(Some(b"\xff")), RequestCoding::Unsupported);
    }

    #[test]
    fn bodies_round_trip_up_to_the_limit() {
        for coding in [Coding::Gzip, Coding::Deflate] {
            let packed = deflate(&[Bytes::from(vec![b'x'; 600]), Bytes::from(vec![b'y'; 400])], coding).unwrap();
            assert_eq!(inflate(&packed, coding, 1000).unwrap().len(), 1000);
            assert!(inflate(&packed, coding, 999).unwrap_err().message().contains("--http-max-input-size"));
            assert!(inflate(&packed[..packed.len() / 2], coding, 1000).is_err());
            assert!(inflate(b"not packed", coding, 1000).is_err());
        }
    }
}
