//! Types of graph inputs and outputs.

use hanok_tensor::DataType;

use super::wire_format::{damaged, fields};
use crate::{ConfigError, SignatureTensor};

/// Most dimensions that a tensor may have; ONNX itself names no limit, engines stop far earlier.
const MAXIMUM_RANK: usize = 64;

/// Reads a `ValueInfoProto`.
pub(super) fn value_info(bytes: &[u8]) -> Result<SignatureTensor, ConfigError> {
    let mut tensor = SignatureTensor { name: String::new(), data_type: None, dims: None };
    for field in fields(bytes) {
        let field = field?;
        match field.number {
            1 => field.value.text()?.clone_into(&mut tensor.name),
            2 => (tensor.data_type, tensor.dims) = type_proto(field.value.bytes()?)?,
            _ => {}
        }
    }
    Ok(tensor)
}

/// Reads a `TypeProto`; sequences, maps, optionals and sparse tensors have no data type of the protocol.
fn type_proto(bytes: &[u8]) -> Result<(Option<DataType>, Option<Vec<i64>>), ConfigError> {
    let mut found = (None, None);
    for field in fields(bytes) {
        let field = field?;
        if field.number != 1 {
            continue;
        }
        for field in fields(field.value.bytes()?) {
            let field = field?;
            match field.number {
                1 => found.0 = data_type(field.value.number()?),
                2 => found.1 = Some(shape(field.value.bytes()?)?),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Reads a `TensorShapeProto`; a dimension without a number, or with a negative one, is -1.
fn shape(bytes: &[u8]) -> Result<Vec<i64>, ConfigError> {
    let mut dims = Vec::new();
    for field in fields(bytes) {
        let field = field?;
        if field.number != 1 {
            continue;
        }
        if dims.len() == MAXIMUM_RANK {
            return Err(damaged(format!("a tensor has more than the maximum of `{MAXIMUM_RANK}` dimensions")));
        }
        let mut dimension = -1;
        for field in fields(field.value.bytes()?) {
            let field = field?;
            if field.number == 1 {
                dimension = field.value.number()?.max(-1);
            }
        }
        dims.push(dimension);
    }
    Ok(dims)
}

/// `TensorProto.DataType` as a type of the protocol.
const fn data_type(number: i64) -> Option<DataType> {
    Some(match number {
        1 => DataType::Fp32,
        2 => DataType::Uint8,
        3 => DataType::Int8,
        4 => DataType::Uint16,
        5 => DataType::Int16,
        6 => DataType::Int32,
        7 => DataType::Int64,
        8 => DataType::Bytes,
        9 => DataType::Bool,
        10 => DataType::Fp16,
        11 => DataType::Fp64,
        12 => DataType::Uint32,
        13 => DataType::Uint64,
        16 => DataType::Bf16,
        _ => return None,
    })
}
