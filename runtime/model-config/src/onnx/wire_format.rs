//! Protobuf's wire format over a byte slice, without copying.
//!
//! Knows nothing of ONNX. A field's bytes are a slice of the input, so that skipping a 100 MB weight costs nothing and
//! touches no page of it. Source: protobuf.dev, "Encoding".

use crate::ConfigError;

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: FieldValue<'a>,
}

/// Content of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldValue<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Fixed-width numbers, of which none matters here.
    Fixed,
}

impl<'a> FieldValue<'a> {
    /// The bytes of an embedded message.
    pub(super) fn bytes(self) -> Result<&'a [u8], ConfigError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(damaged("a message field holds a number")),
        }
    }

    /// The text of a string field.
    pub(super) fn text(self) -> Result<&'a str, ConfigError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| damaged("a string is not valid UTF-8"))
    }

    /// The number of an integer or enum field.
    pub(super) fn number(self) -> Result<i64, ConfigError> {
        match self {
            // Negative numbers travel as their 64-bit two's complement.
            Self::Varint(value) => Ok(value.cast_signed()),
            _ => Err(damaged("an integer field holds bytes")),
        }
    }
}

/// The error of a file that is not what it claims to be.
pub(super) fn damaged(message: impl Into<String>) -> ConfigError {
    ConfigError::Onnx(message.into())
}

/// Iterates over the fields of the message in `bytes`; ends at the first error.
pub(super) fn fields(bytes: &[u8]) -> impl Iterator<Item = Result<Field<'_>, ConfigError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next_field(&mut rest);
        if field.is_err() {
            rest = &[];
        }
        Some(field)
    })
}

fn next_field<'a>(rest: &mut &'a [u8]) -> Result<Field<'a>, ConfigError> {
    let tag = varint(rest)?;
    let (number, wire_type) = (tag >> 3, tag & 7);
    if number == 0 || number >= 1 << 29 {
        return Err(damaged(format!("field number `{number}` does not exist")));
    }
    let value = match wire_type {
        0 => FieldValue::Varint(varint(rest)?),
        1 => take(rest, 8).map(|_| FieldValue::Fixed)?,
        2 => {
            let length = varint(rest)?;
            let length = usize::try_from(length).map_err(|_| damaged("a length exceeds the address space"))?;
            FieldValue::Bytes(take(rest, length)?)
        }
        5 => take(rest, 4).map(|_| FieldValue::Fixed)?,
        other => return Err(damaged(format!("wire type `{other}` does not exist"))),
    };
    Ok(Field { number, value })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], ConfigError> {
    let (taken, remainder) = rest.split_at_checked(length).ok_or_else(|| {
        damaged(format!("the file is truncated: a field of `{length}` bytes has `{}` left", rest.len()))
    })?;
    *rest = remainder;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, ConfigError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        if shift == 63 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(damaged("a number is longer than 64 bits"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Field<'_>>, ConfigError> {
        fields(bytes).collect()
    }

    #[test]
    fn fields_of_every_wire_type() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'a', b'b', 0x1d, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0, 0, 0, 0];
        let expected = [
            Field { number: 1, value: FieldValue::Varint(150) },
            Field { number: 2, value: FieldValue::Bytes(b"ab") },
            Field { number: 3, value: FieldValue::Fixed },
            Field { number: 4, value: FieldValue::Fixed },
        ];
        assert_eq!(all(&bytes).unwrap(), expected);
        let negative = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(all(&negative).unwrap()[0].value.number(), Ok(-1));
    }

    #[test]
    fn damage_is_an_error() {
        for bytes in [
            &[0x08][..],
            &[0x12, 5, 1],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            &[0x0b],
            &[0x0f],
            &[0x00, 0x00],
            &[0x1d, 0],
        ] {
            assert!(all(bytes).is_err(), "{bytes:?}");
        }
    }
}
