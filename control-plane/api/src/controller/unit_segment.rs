//! The unit of analysis and the segment of a request in the one text that the store keeps with it.
//!
//! Labels come back from the store with the request they are about; without its unit, many labels of one sticky key would
//! be counted as if they were independent. Form: `unit=HEX` , `unit=HEX;SEGMENT` or `SEGMENT`.

use hanok_routing::LONGEST_SEGMENT;

// The whole fits a name of the store.
const _: () = assert!(LONGEST_SEGMENT + "unit=0123456789abcdef;".len() <= 256);

/// The text for a request; none when there is nothing to say.
pub(super) fn encode(sticky_key_hash: u64, segment: Option<&str>) -> Option<String> {
    let segment = segment.map(str::trim).filter(|segment| !segment.is_empty() && segment.len() <= LONGEST_SEGMENT);
    match (sticky_key_hash, segment) {
        (0, None) => None,
        (0, Some(segment)) => Some(segment.to_owned()),
        (hash, None) => Some(format!("unit={hash:016x}")),
        (hash, Some(segment)) => Some(format!("unit={hash:016x};{segment}")),
    }
}

/// Unit and segment of a text.
pub(super) fn decode(text: Option<&str>) -> (Option<u64>, Option<String>) {
    let Some(text) = text else { return (None, None) };
    let Some(rest) = text.strip_prefix("unit=") else { return (None, Some(text.to_owned())) };
    let (hash, segment) = rest.split_once(';').map_or((rest, None), |(hash, segment)| (hash, Some(segment)));
    match u64::from_str_radix(hash, 16) {
        Ok(unit) => (Some(unit), segment.map(str::to_owned)),
        Err(_) => (None, Some(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::{decode, encode};

    proptest! {
        #[test]
        fn both_come_back(hash: u64, segment in prop::option::of("[a-z;]{1,20}")) {
            let text = encode(hash, segment.as_deref());
            prop_assert!(text.as_ref().is_none_or(|text| text.len() <= 256));
            prop_assert_eq!(decode(text.as_deref()), ((hash != 0).then_some(hash), segment));
        }
    }
}
