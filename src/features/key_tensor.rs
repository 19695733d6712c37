//! Join keys as tensors: which data type a key has on the wire, and a tensor as the keys of a request's rows.

use bytes::Bytes;
use hanok_backend::ServingError;
use hanok_features::{ByteColumn, KeyColumn, KeyType};
use hanok_tensor::{BytesElements, DataType};

/// The data type in which clients send a key that is no input of the model.
pub(super) const fn wire_type(key: KeyType) -> DataType {
    match key {
        KeyType::String | KeyType::Bytes => DataType::Bytes,
        KeyType::Int32 => DataType::Int32,
        KeyType::Int64 | KeyType::Timestamp => DataType::Int64,
    }
}

/// Whether tensors of a data type can be read as keys of a type.
pub(super) const fn fits(data_type: DataType, key: KeyType) -> bool {
    match key {
        KeyType::String | KeyType::Bytes => matches!(data_type, DataType::Bytes),
        KeyType::Int32 | KeyType::Int64 | KeyType::Timestamp => matches!(
            data_type,
            DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::Uint8
                | DataType::Uint16
                | DataType::Uint32
        ),
    }
}

/// A tensor's elements as keys, one a row.
///
/// # Errors
/// `InvalidArgument` for a BYTES tensor that is encoded wrongly.
pub(super) fn key_column(data: &Bytes, data_type: DataType) -> Result<KeyColumn, ServingError> {
    Ok(match data_type {
        DataType::Int8 => numbers(data, |bytes: [u8; 1]| i8::from_le_bytes(bytes).into()),
        DataType::Int16 => numbers(data, |bytes: [u8; 2]| i16::from_le_bytes(bytes).into()),
        DataType::Int32 => numbers(data, |bytes: [u8; 4]| i32::from_le_bytes(bytes).into()),
        DataType::Int64 => numbers(data, i64::from_le_bytes),
        DataType::Uint8 => numbers(data, |bytes: [u8; 1]| bytes[0].into()),
        DataType::Uint16 => numbers(data, |bytes: [u8; 2]| u16::from_le_bytes(bytes).into()),
        DataType::Uint32 => numbers(data, |bytes: [u8; 4]| u32::from_le_bytes(bytes).into()),
        _ => {
            let mut column = ByteColumn::default();
            for element in BytesElements::new(data) {
                column.push(element.map_err(|error| ServingError::invalid(error.to_string()))?);
            }
            KeyColumn::Bytes(column)
        }
    })
}

fn numbers<const WIDTH: usize>(data: &[u8], read: fn([u8; WIDTH]) -> i64) -> KeyColumn {
    KeyColumn::Int(data.as_chunks::<WIDTH>().0.iter().map(|bytes| read(*bytes)).collect())
}
