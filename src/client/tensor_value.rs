//! A named tensor as the client holds it, and its two textual faces: JSON in, JSON out.
//!
//! The bytes are always the protocol's binary encoding (little-endian, row-major; `BYTES` with length prefixes),
//! whatever the transport. The invariant: `data` is as long as data type and shape say.

use bytes::Bytes;
use half::{bf16, f16};
use hanok_tensor::{BytesElements, DataType, Shape};
use serde_json::Value;

/// A tensor with its name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TensorValue {
    /// Name in the model's contract.
    pub(crate) name: String,
    /// Element type.
    pub(crate) data_type: DataType,
    /// All dimensions.
    pub(crate) shape: Shape,
    /// Elements in the protocol's binary encoding.
    pub(crate) data: Bytes,
}

/// Reads the dimensions of nested JSON lists; a scalar has none. Text says which list is uneven.
pub(crate) fn json_shape(value: &Value) -> Result<Vec<i64>, String> {
    let Value::Array(items) = value else { return Ok(Vec::new()) };
    let mut shape = vec![i64::try_from(items.len()).unwrap_or(i64::MAX)];
    let Some(first) = items.first() else { return Ok(shape) };
    let inner = json_shape(first)?;
    for (index, item) in items.iter().enumerate().skip(1) {
        let other = json_shape(item)?;
        if other != inner {
            return Err(format!(
                "lists of uneven length: element 0 has shape {}, element {index} has {}",
                Shape::new(&inner),
                Shape::new(&other)
            ));
        }
    }
    shape.extend(inner);
    Ok(shape)
}

/// Appends the elements of a scalar or of (nested) lists in the protocol's binary encoding.
pub(crate) fn encode_json(value: &Value, data_type: DataType, out: &mut Vec<u8>) -> Result<(), String> {
    if let Value::Array(items) = value {
        return items.iter().try_for_each(|item| encode_json(item, data_type, out));
    }
    let wrong = || format!("expected {} elements, actual `{value}`", element_words(data_type));
    macro_rules! integer {
        ($kind:ty) => {{
            let number: $kind = match (value.as_i64(), value.as_u64()) {
                (Some(signed), _) => <$kind>::try_from(signed).ok(),
                (None, Some(unsigned)) => <$kind>::try_from(unsigned).ok(),
                (None, None) => None,
            }
            .ok_or_else(wrong)?;
            out.extend_from_slice(&number.to_le_bytes());
        }};
    }
    match data_type {
        DataType::Bool => out.push(match value {
            Value::Bool(flag) => u8::from(*flag),
            Value::Number(number) if number.as_u64() == Some(0) => 0,
            Value::Number(number) if number.as_u64() == Some(1) => 1,
            _ => return Err(wrong()),
        }),
        DataType::Uint8 => integer!(u8),
        DataType::Uint16 => integer!(u16),
        DataType::Uint32 => integer!(u32),
        DataType::Uint64 => integer!(u64),
        DataType::Int8 => integer!(i8),
        DataType::Int16 => integer!(i16),
        DataType::Int32 => integer!(i32),
        DataType::Int64 => integer!(i64),
        DataType::Fp16 => out.extend_from_slice(&f16::from_f64(float(value).ok_or_else(wrong)?).to_le_bytes()),
        DataType::Bf16 => out.extend_from_slice(&bf16::from_f64(float(value).ok_or_else(wrong)?).to_le_bytes()),
        #[allow(clippy::cast_possible_truncation, reason = "rounding to the tensor's precision is what is asked for")]
        DataType::Fp32 => out.extend_from_slice(&(float(value).ok_or_else(wrong)? as f32).to_le_bytes()),
        DataType::Fp64 => out.extend_from_slice(&float(value).ok_or_else(wrong)?.to_le_bytes()),
        DataType::Bytes => match value {
            Value::String(text) => push_element(text.as_bytes(), out),
            other => push_element(other.to_string().as_bytes(), out),
        },
    }
    Ok(())
}

/// Appends one `BYTES` element with its length.
pub(crate) fn push_element(element: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(element.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&element[..length as usize]);
}

/// Numbers, and the names that JSON has no number for.
fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Null => Some(f64::NAN),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

const fn element_words(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "BOOL (true or false)",
        DataType::Bytes => "BYTES (text)",
        DataType::Fp16 => "FP16",
        DataType::Bf16 => "BF16",
        DataType::Fp32 => "FP32",
        DataType::Fp64 => "FP64",
        DataType::Uint8 => "UINT8 (0 to 255)",
        DataType::Uint16 => "UINT16 (0 to 65535)",
        DataType::Uint32 => "UINT32 (0 to 4294967295)",
        DataType::Uint64 => "UINT64 (not negative)",
        DataType::Int8 => "INT8 (-128 to 127)",
        DataType::Int16 => "INT16 (-32768 to 32767)",
        DataType::Int32 => "INT32 (32-bit whole)",
        DataType::Int64 => "INT64 (64-bit whole)",
    }
}

impl TensorValue {
    /// The elements as a flat list of JSON values, at most `limit` of them. Not-a-number and infinities become texts;
    /// `BYTES` that are not UTF-8 keep what is readable.
    pub(crate) fn elements(&self, limit: usize) -> Vec<Value> {
        let data = &self.data[..];
        macro_rules! numbers {
            ($kind:ty, $size:literal) => {
                data.as_chunks::<$size>().0.iter().take(limit).map(|raw| <$kind>::from_le_bytes(*raw))
            };
        }
        match self.data_type {
            DataType::Bool => data.iter().take(limit).map(|&byte| Value::Bool(byte != 0)).collect(),
            DataType::Uint8 => data.iter().take(limit).map(|&byte| Value::from(byte)).collect(),
            DataType::Uint16 => numbers!(u16, 2).map(Value::from).collect(),
            DataType::Uint32 => numbers!(u32, 4).map(Value::from).collect(),
            DataType::Uint64 => numbers!(u64, 8).map(Value::from).collect(),
            DataType::Int8 => numbers!(i8, 1).map(Value::from).collect(),
            DataType::Int16 => numbers!(i16, 2).map(Value::from).collect(),
            DataType::Int32 => numbers!(i32, 4).map(Value::from).collect(),
            DataType::Int64 => numbers!(i64, 8).map(Value::from).collect(),
            DataType::Fp16 => numbers!(f16, 2).map(|number| short_float(number.to_f32())).collect(),
            DataType::Bf16 => numbers!(bf16, 2).map(|number| short_float(number.to_f32())).collect(),
            DataType::Fp32 => numbers!(f32, 4).map(short_float).collect(),
            DataType::Fp64 => numbers!(f64, 8).map(double).collect(),
            DataType::Bytes => BytesElements::new(data)
                .take(limit)
                .map_while(Result::ok)
                .map(|element| Value::String(String::from_utf8_lossy(element).into_owned()))
                .collect(),
        }
    }

    /// Number of elements that the shape gives.
    pub(crate) fn element_count(&self) -> usize {
        self.shape.element_count().unwrap_or(0)
    }
}

/// The shortest decimal that reads back as the same 32-bit number, so that 0.1 shows as 0.1.
fn short_float(number: f32) -> Value {
    let widened = number.to_string().parse::<f64>().unwrap_or_else(|_| f64::from(number));
    double(if number.is_finite() { widened } else { f64::from(number) })
}

fn double(number: f64) -> Value {
    match serde_json::Number::from_f64(number) {
        Some(finite) => Value::Number(finite),
        None if number.is_nan() => Value::from("NaN"),
        None if number > 0.0 => Value::from("Infinity"),
        None => Value::from("-Infinity"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn encoded(value: &Value, data_type: DataType) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        encode_json(value, data_type, &mut out).map(|()| out)
    }

    #[test]
    fn shapes_of_nested_lists() {
        assert_eq!(json_shape(&json!(3)).unwrap(), Vec::<i64>::new());
        assert_eq!(json_shape(&json!([[1, 2, 3], [4, 5, 6]])).unwrap(), [2, 3]);
        assert_eq!(json_shape(&json!([[], []])).unwrap(), [2, 0]);
        assert!(json_shape(&json!([[1], [2, 3]])).unwrap_err().contains("element 1 has [2]"));
        assert!(json_shape(&json!([1, [2]])).is_err());
    }

    #[test]
    fn ranges_are_kept() {
        assert_eq!(encoded(&json!([0, 255]), DataType::Uint8).unwrap(), [0, 255]);
        assert!(encoded(&json!(256), DataType::Uint8).unwrap_err().contains("UINT8 (0 to 255)"));
        assert!(encoded(&json!(-1), DataType::Uint64).is_err());
        assert!(encoded(&json!(1.5), DataType::Int32).is_err());
        assert_eq!(encoded(&json!(u64::MAX), DataType::Uint64).unwrap(), [255; 8]);
        assert_eq!(encoded(&json!([1.0]), DataType::Fp16).unwrap(), [0x00, 0x3c]);
        assert_eq!(encoded(&json!([1.0]), DataType::Bf16).unwrap(), [0x80, 0x3f]);
        assert_eq!(encoded(&json!(["ab", ""]), DataType::Bytes).unwrap(), b"\x02\0\0\0ab\0\0\0\0");
        assert_eq!(encoded(&json!([true, 0]), DataType::Bool).unwrap(), [1, 0]);
        assert_eq!(encoded(&json!("NaN"), DataType::Fp32).unwrap(), f32::NAN.to_le_bytes());
    }

    proptest! {
        #[test]
        fn floats_round_trip(numbers in proptest::collection::vec(any::<f32>(), 0..20)) {
            let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            let shape = Shape::new(&[i64::try_from(numbers.len()).unwrap()]);
            let tensor = TensorValue { name: String::new(), data_type: DataType::Fp32, shape, data: data.into() };
            let back = encoded(&Value::Array(tensor.elements(usize::MAX)), DataType::Fp32).unwrap();
            for (before, after) in numbers.iter().zip(back.as_chunks::<4>().0) {
                let after = f32::from_le_bytes(*after);
                prop_assert!(*before == after || (before.is_nan() && after.is_nan()));
            }
        }
    }
}
