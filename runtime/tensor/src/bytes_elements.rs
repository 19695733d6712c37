//! Elements of a `BYTES` tensor: each a 4-byte little-endian length and then that many bytes (W-45).
//!
//! Nothing is copied: elements are slices of the tensor.

use thiserror::Error;

/// What is wrong with the encoding of a `BYTES` tensor.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BytesElementError {
    /// Fewer than four bytes where a length is due.
    #[error("incomplete length of element `{index}`")]
    IncompleteLength {
        /// Position of the element, from 0.
        index: usize,
    },
    /// A length that reaches past the end of the tensor.
    #[error("element `{index}` has length `{length}`, only `{available}` bytes follow")]
    BeyondEnd {
        /// Position of the element, from 0.
        index: usize,
        /// Length that was read, in bytes.
        length: usize,
        /// Bytes left in the tensor.
        available: usize,
    },
}

/// Iterates over the elements of a `BYTES` tensor; ends after the first error.
#[derive(Clone, Debug)]
pub struct BytesElements<'a> {
    rest: &'a [u8],
    index: usize,
}

impl<'a> BytesElements<'a> {
    /// Iterates over `data`, the encoded tensor.
    #[must_use]
    pub const fn new(data: &'a [u8]) -> Self {
        Self { rest: data, index: 0 }
    }

    /// The bytes that have not been read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for BytesElements<'a> {
    type Item = Result<&'a [u8], BytesElementError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let index = self.index;
        let Some((length, rest)) = self.rest.split_first_chunk::<4>() else {
            self.rest = &[];
            return Some(Err(BytesElementError::IncompleteLength { index }));
        };
        let length = u32::from_le_bytes(*length) as usize;
        let Some((element, rest)) = rest.split_at_checked(length) else {
            self.rest = &[];
            return Some(Err(BytesElementError::BeyondEnd { index, length, available: rest.len() }));
        };
        self.rest = rest;
        self.index += 1;
        Some(Ok(element))
    }
}

/// Number of elements in an encoded `BYTES` tensor.
///
/// # Errors
/// [`BytesElementError`] for the first element that does not fit.
pub fn count_bytes_elements(data: &[u8]) -> Result<usize, BytesElementError> {
    BytesElements::new(data).try_fold(0, |count, element| element.map(|_| count + 1))
}

/// Appends one element to an encoded `BYTES` tensor. Elements above 4 GiB - 1 are cut to that size.
pub fn push_bytes_element(data: &mut Vec<u8>, element: &[u8]) {
    let length = u32::try_from(element.len()).unwrap_or(u32::MAX);
    data.extend_from_slice(&length.to_le_bytes());
    data.extend_from_slice(&element[..length as usize]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_round_trip() {
        let mut data = Vec::new();
        for element in [&b""[..], b"a", b"\xff\x00\xfe"] {
            push_bytes_element(&mut data, element);
        }
        let elements: Result<Vec<_>, _> = BytesElements::new(&data).collect();
        assert_eq!(elements, Ok(vec![&b""[..], b"a", b"\xff\x00\xfe"]));
        assert_eq!(count_bytes_elements(&data), Ok(3));
    }

    #[test]
    fn lengths_beyond_the_end_are_errors() {
        assert_eq!(count_bytes_elements(&[1, 0, 0]), Err(BytesElementError::IncompleteLength { index: 0 }));
        assert_eq!(
            count_bytes_elements(&[0xff, 0xff, 0xff, 0xff, 1]),
            Err(BytesElementError::BeyondEnd { index: 0, length: 0xffff_ffff, available: 1 })
        );
    }
}
