//! What columns of Parquet files mean, and which columns features become.

use std::sync::Arc;

use hanok_features::{ElementType, FeatureType};
use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::errors::Result;
use parquet::schema::types::{ColumnDescriptor, Type, TypePtr};

use crate::table::Kind;

/// What the values of a column mean.
pub(super) fn kind(column: &ColumnDescriptor) -> Kind {
    let other = || Kind::Other(format!("a column of `{}`", told(column)));
    match column.logical_type_ref() {
        Some(LogicalType::String | LogicalType::Enum | LogicalType::Json) => return Kind::Text,
        Some(LogicalType::Date) => return Kind::Day,
        Some(LogicalType::Timestamp(stamp)) => {
            return Kind::Instant(match stamp.unit {
                TimeUnit::MILLIS => 1_000_000,
                TimeUnit::MICROS => 1_000,
                TimeUnit::NANOS => 1,
            });
        }
        Some(LogicalType::Integer(integer)) => return if integer.is_signed { Kind::Int } else { Kind::Unsigned },
        Some(LogicalType::Bson) => return Kind::Bytes,
        Some(_) => return other(),
        None => {}
    }
    match column.converted_type() {
        ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON => return Kind::Text,
        ConvertedType::DATE => return Kind::Day,
        ConvertedType::TIMESTAMP_MILLIS => return Kind::Instant(1_000_000),
        ConvertedType::TIMESTAMP_MICROS => return Kind::Instant(1_000),
        ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
            return Kind::Unsigned;
        }
        ConvertedType::NONE
        | ConvertedType::INT_8
        | ConvertedType::INT_16
        | ConvertedType::INT_32
        | ConvertedType::INT_64
        | ConvertedType::BSON => {}
        _ => return other(),
    }
    match column.physical_type() {
        PhysicalType::BOOLEAN => Kind::Bool,
        PhysicalType::INT32 | PhysicalType::INT64 => Kind::Int,
        PhysicalType::INT96 => Kind::Instant(1),
        PhysicalType::FLOAT | PhysicalType::DOUBLE => Kind::Float,
        PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY => Kind::Bytes,
    }
}

fn told(column: &ColumnDescriptor) -> String {
    match column.logical_type_ref() {
        Some(logical) => format!("{logical:?}").to_lowercase(),
        None => format!("{:?}", column.converted_type()).to_lowercase(),
    }
}

/// The definition level from which on an element of a list is there; 0 of a column that is no list.
pub(super) fn in_list(root: &Type, column: &ColumnDescriptor) -> i16 {
    let (mut group, mut level, mut found) = (root, 0, 0);
    for part in column.path().parts() {
        let Some(field) = group.get_fields().iter().find(|field| field.name() == part) else { break };
        match field.get_basic_info().repetition() {
            Repetition::OPTIONAL => level += 1,
            Repetition::REPEATED => {
                level += 1;
                found = level;
            }
            Repetition::REQUIRED => {}
        }
        group = field;
        if group.is_primitive() {
            break;
        }
    }
    found
}

/// A column of cells that may be null.
pub(crate) fn field(name: &str, element: ElementType, repetition: Repetition) -> Result<Type> {
    let (physical, logical) = match element {
        ElementType::Bool => (PhysicalType::BOOLEAN, None),
        ElementType::Int32 => (PhysicalType::INT32, None),
        ElementType::Int64 => (PhysicalType::INT64, None),
        ElementType::Float32 => (PhysicalType::FLOAT, None),
        ElementType::Float64 => (PhysicalType::DOUBLE, None),
        ElementType::String => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
        ElementType::Bytes => (PhysicalType::BYTE_ARRAY, None),
        ElementType::Timestamp => (PhysicalType::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
    };
    Type::primitive_type_builder(name, physical).with_repetition(repetition).with_logical_type(logical).build()
}

/// The column of a feature: its cells may be null; those of a list may be null and empty, their elements not null.
pub(crate) fn feature_field(name: &str, data_type: FeatureType) -> Result<TypePtr> {
    if !data_type.list {
        return field(name, data_type.element, Repetition::OPTIONAL).map(Arc::new);
    }
    let element = Arc::new(field("element", data_type.element, Repetition::REQUIRED)?);
    let repeated = Type::group_type_builder("list").with_repetition(Repetition::REPEATED).with_fields(vec![element]);
    let list = Type::group_type_builder(name)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(Some(LogicalType::List))
        .with_converted_type(ConvertedType::LIST)
        .with_fields(vec![Arc::new(repeated.build()?)]);
    list.build().map(Arc::new)
}
