//! Element types between the wire form and ours.

use hanok_tensor::DataType;

use crate::wire;

/// The data type that a wire number stands for; `None` for `TYPE_INVALID` and unknown numbers.
pub(crate) fn from_wire(number: i32) -> Option<DataType> {
    DataType::from_config_name(wire::DataType::try_from(number).ok()?.as_str_name())
}

/// The wire number of a data type.
pub(crate) fn to_wire(data_type: DataType) -> i32 {
    wire::DataType::from_str_name(data_type.config_name()).unwrap_or_default().into()
}

/// The spelling of a wire number, for messages.
pub(crate) fn spelling(number: i32) -> &'static str {
    wire::DataType::try_from(number).unwrap_or_default().as_str_name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_data_type_has_a_number() {
        for data_type in DataType::ALL {
            assert_eq!(from_wire(to_wire(data_type)), Some(data_type));
            assert_eq!(spelling(to_wire(data_type)), data_type.config_name());
        }
        assert_eq!(from_wire(0), None);
        assert_eq!(from_wire(99), None);
    }
}
