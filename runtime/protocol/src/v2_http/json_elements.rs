//! A tensor's elements as a flat JSON array (W-36 to W-38).
//!
//! Floats are written in the shortest form that reads back to the same value of their own type; NaN and infinity
//! bare, as Triton's clients expect.

use hanok_backend::ServingError;
use hanok_tensor::{BytesElements, DataType};

use super::json_text::write_string;
use crate::ReplyOutput;

/// A guess, mostly an upper bound, of the length of [`write_elements`]'s text.
pub(super) fn estimated_length(output: &ReplyOutput<'_>) -> usize {
    let length = output.data.len();
    2 + match output.data_type {
        DataType::Bool => length * 6,
        DataType::Uint8 | DataType::Int8 => length * 5,
        DataType::Uint16 | DataType::Int16 | DataType::Fp16 | DataType::Bf16 => length * 7 / 2,
        DataType::Uint32 | DataType::Int32 | DataType::Fp32 => length * 3,
        DataType::Uint64 | DataType::Int64 | DataType::Fp64 => length * 5 / 2,
        DataType::Bytes => length + length / 4,
    }
}

/// Appends the elements of `output`, whose size has been checked, as a JSON array.
///
/// # Errors
/// `InvalidArgument` for FP16, BF16 and BYTES that are not UTF-8, which need binary output; `Internal` for BYTES
/// that are not encoded as such. What was written by then is to be thrown away.
pub(super) fn write_elements(out: &mut Vec<u8>, output: &ReplyOutput<'_>) -> Result<(), ServingError> {
    let data = &output.data[..];
    out.push(b'[');
    match output.data_type {
        DataType::Bool => each(out, data, |out, [byte]: [u8; 1]| {
            out.extend_from_slice(if byte == 0 { b"false" } else { b"true" });
        }),
        DataType::Uint8 => each(out, data, |out, bytes| integer(out, u8::from_le_bytes(bytes))),
        DataType::Uint16 => each(out, data, |out, bytes| integer(out, u16::from_le_bytes(bytes))),
        DataType::Uint32 => each(out, data, |out, bytes| integer(out, u32::from_le_bytes(bytes))),
        DataType::Uint64 => each(out, data, |out, bytes| integer(out, u64::from_le_bytes(bytes))),
        DataType::Int8 => each(out, data, |out, bytes| integer(out, i8::from_le_bytes(bytes))),
        DataType::Int16 => each(out, data, |out, bytes| integer(out, i16::from_le_bytes(bytes))),
        DataType::Int32 => each(out, data, |out, bytes| integer(out, i32::from_le_bytes(bytes))),
        DataType::Int64 => each(out, data, |out, bytes| integer(out, i64::from_le_bytes(bytes))),
        DataType::Fp32 => each(out, data, |out, bytes| {
            let value = f32::from_le_bytes(bytes);
            if value.is_finite() {
                out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
            } else {
                not_finite(out, f64::from(value));
            }
        }),
        DataType::Fp64 => each(out, data, |out, bytes| double(out, f64::from_le_bytes(bytes))),
        DataType::Bytes => strings(out, output)?,
        DataType::Fp16 | DataType::Bf16 => {
            return Err(ServingError::invalid(format!(
                "sending {} data via JSON is not supported. Please use the binary data format for output {}",
                output.data_type, output.name
            )));
        }
    }
    out.push(b']');
    Ok(())
}

/// Appends a double.
pub(super) fn double(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        not_finite(out, value);
    }
}

/// Appends an integer.
pub(super) fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cold]
fn not_finite(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    });
}

#[inline]
fn each<const SIZE: usize>(out: &mut Vec<u8>, data: &[u8], write: impl Fn(&mut Vec<u8>, [u8; SIZE])) {
    let (elements, _) = data.as_chunks::<SIZE>();
    let mut elements = elements.iter();
    if let Some(&first) = elements.next() {
        write(out, first);
    }
    for &element in elements {
        out.push(b',');
        write(out, element);
    }
}

fn strings(out: &mut Vec<u8>, output: &ReplyOutput<'_>) -> Result<(), ServingError> {
    let mut count = 0;
    for element in BytesElements::new(&output.data) {
        let element = element.map_err(|error| {
            ServingError::internal(format!("output tensor shape does not match size of output for '{}'", output.name))
                .with_operator_detail(error.to_string())
        })?;
        let text = std::str::from_utf8(element).map_err(|_| {
            ServingError::invalid(format!(
                "output '{}' holds bytes that are not UTF-8, which JSON cannot carry. Please use the binary data format \
                 for output {}",
                output.name, output.name
            ))
        })?;
        if count > 0 {
            out.push(b',');
        }
        write_string(out, text);
        count += 1;
    }
    if output.shape.element_count() != Ok(count) {
        return Err(ServingError::internal(format!(
            "output tensor shape does not match size of output for '{}'",
            output.name
        )));
    }
    Ok(())
}
