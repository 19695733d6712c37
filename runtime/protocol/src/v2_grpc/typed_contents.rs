//! Typed tensor contents to tensor bytes (W-86).

use bytes::Bytes;
use hanok_backend::ServingError;
use hanok_tensor::DataType;

use super::wire::inference::InferTensorContents;

/// The bytes of a tensor whose elements came typed.
pub(super) fn tensor_bytes(
    contents: &InferTensorContents,
    data_type: DataType,
    input: &str,
    model: &str,
) -> Result<Bytes, ServingError> {
    let fields = [
        (contents.bool_contents.len(), "BOOL"),
        (contents.int_contents.len(), "INT32"),
        (contents.int64_contents.len(), "INT64"),
        (contents.uint_contents.len(), "UINT32"),
        (contents.uint64_contents.len(), "UINT64"),
        (contents.fp32_contents.len(), "FP32"),
        (contents.fp64_contents.len(), "FP64"),
        (contents.bytes_contents.len(), "BYTES"),
    ];
    let own = match data_type {
        DataType::Bool => 0,
        DataType::Int8 | DataType::Int16 | DataType::Int32 => 1,
        DataType::Int64 => 2,
        DataType::Uint8 | DataType::Uint16 | DataType::Uint32 => 3,
        DataType::Uint64 => 4,
        DataType::Fp32 => 5,
        DataType::Fp64 => 6,
        DataType::Bytes => 7,
        DataType::Fp16 | DataType::Bf16 => {
            return Err(ServingError::invalid(format!(
                "{data_type} data of input tensor '{input}' for model '{model}' must be given in raw_input_contents"
            )));
        }
    };
    for (index, (length, name)) in fields.iter().enumerate() {
        if index != own && *length > 0 {
            return Err(ServingError::invalid(format!(
                "unexpected explicit tensor data for input tensor '{input}' for model '{model}' of type '{name}', \
                 expected datatype '{data_type}'"
            )));
        }
    }
    let range = || {
        ServingError::invalid(format!(
            "explicit tensor data for input tensor '{input}' for model '{model}' is out of range for {data_type}"
        ))
    };
    match data_type {
        DataType::Bool => Ok(collect(&contents.bool_contents, |value| [u8::from(value)])),
        DataType::Int8 => {
            narrow(&contents.int_contents, |value| i8::try_from(value).ok().map(i8::to_le_bytes)).ok_or_else(range)
        }
        DataType::Int16 => {
            narrow(&contents.int_contents, |value| i16::try_from(value).ok().map(i16::to_le_bytes)).ok_or_else(range)
        }
        DataType::Int32 => Ok(collect(&contents.int_contents, i32::to_le_bytes)),
        DataType::Int64 => Ok(collect(&contents.int64_contents, i64::to_le_bytes)),
        DataType::Uint8 => {
            narrow(&contents.uint_contents, |value| u8::try_from(value).ok().map(u8::to_le_bytes)).ok_or_else(range)
        }
        DataType::Uint16 => {
            narrow(&contents.uint_contents, |value| u16::try_from(value).ok().map(u16::to_le_bytes)).ok_or_else(range)
        }
        DataType::Uint32 => Ok(collect(&contents.uint_contents, u32::to_le_bytes)),
        DataType::Uint64 => Ok(collect(&contents.uint64_contents, u64::to_le_bytes)),
        DataType::Fp32 => Ok(collect(&contents.fp32_contents, f32::to_le_bytes)),
        DataType::Fp64 => Ok(collect(&contents.fp64_contents, f64::to_le_bytes)),
        DataType::Bytes => strings(&contents.bytes_contents).ok_or_else(range),
        DataType::Fp16 | DataType::Bf16 => Err(range()),
    }
}

fn collect<T: Copy, const SIZE: usize>(values: &[T], bytes_of: impl Fn(T) -> [u8; SIZE]) -> Bytes {
    let mut data = vec![0; values.len() * SIZE];
    let (slots, _) = data.as_chunks_mut::<SIZE>();
    for (slot, &value) in slots.iter_mut().zip(values) {
        *slot = bytes_of(value);
    }
    data.into()
}

fn narrow<T: Copy, const SIZE: usize>(values: &[T], bytes_of: impl Fn(T) -> Option<[u8; SIZE]>) -> Option<Bytes> {
    let mut data = vec![0; values.len() * SIZE];
    let (slots, _) = data.as_chunks_mut::<SIZE>();
    for (slot, &value) in slots.iter_mut().zip(values) {
        *slot = bytes_of(value)?;
    }
    Some(data.into())
}

fn strings(values: &[Bytes]) -> Option<Bytes> {
    let mut data = Vec::with_capacity(values.iter().map(|value| value.len() + 4).sum());
    for value in values {
        data.extend_from_slice(&u32::try_from(value.len()).ok()?.to_le_bytes());
        data.extend_from_slice(value);
    }
    Some(data.into())
}
