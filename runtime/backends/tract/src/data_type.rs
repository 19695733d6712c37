//! The protocol's element types and tract's.

use hanok_tensor::DataType;
use tract_onnx::prelude::DatumType;

/// tract's type for `data_type`; `None` for the one that it lacks, [`DataType::Bf16`].
pub(crate) const fn datum_type(data_type: DataType) -> Option<DatumType> {
    Some(match data_type {
        DataType::Bool => DatumType::Bool,
        DataType::Uint8 => DatumType::U8,
        DataType::Uint16 => DatumType::U16,
        DataType::Uint32 => DatumType::U32,
        DataType::Uint64 => DatumType::U64,
        DataType::Int8 => DatumType::I8,
        DataType::Int16 => DatumType::I16,
        DataType::Int32 => DatumType::I32,
        DataType::Int64 => DatumType::I64,
        DataType::Fp16 => DatumType::F16,
        DataType::Fp32 => DatumType::F32,
        DataType::Fp64 => DatumType::F64,
        DataType::Bytes => DatumType::String,
        DataType::Bf16 => return None,
    })
}

/// The protocol's type for a value of tract; `None` for one that has none.
pub(crate) fn data_type(datum_type: DatumType) -> Option<DataType> {
    match datum_type.unquantized() {
        // A symbolic dimension is an integer to everybody else.
        DatumType::TDim => Some(DataType::Int64),
        datum => DataType::ALL.into_iter().find(|&data_type| self::datum_type(data_type) == Some(datum)),
    }
}

#[cfg(test)]
mod tests {
    use super::{DataType, data_type, datum_type};

    #[test]
    fn every_type_but_one_goes_there_and_back() {
        for expected in DataType::ALL {
            match datum_type(expected) {
                Some(datum) => assert_eq!(data_type(datum), Some(expected)),
                None => assert_eq!(expected, DataType::Bf16),
            }
        }
    }
}
