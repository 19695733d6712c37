//! Columns as the content of tensors.
//!
//! Not the tensor library: bytes are appended, little-endian, to a buffer that the caller owns.

use crate::columns::Column;
use crate::data_type::{ElementType, FeatureType};
use crate::error::FeatureError;
use crate::value::{Value, ValueRef, push_sized};

/// What a tensor holds; the names are those of the v2 protocols' data types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorFormat {
    /// One byte.
    Bool,
    /// 32-bit signed.
    Int32,
    /// 64-bit signed.
    Int64,
    /// binary32.
    Fp32,
    /// binary64.
    Fp64,
    /// Four bytes of length before each text or byte string.
    Bytes,
}

impl TensorFormat {
    /// As model configurations call it, without `TYPE_`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }

    /// Whether values of `data_type` can be written so: numbers into a format at least as wide, or into floats; lists
    /// only where the format is that of their elements.
    #[must_use]
    pub const fn takes(self, data_type: FeatureType) -> bool {
        use ElementType as E;
        if data_type.list {
            return match self {
                Self::Bool => matches!(data_type.element, E::Bool),
                Self::Int32 => matches!(data_type.element, E::Int32),
                Self::Int64 => matches!(data_type.element, E::Int64 | E::Timestamp),
                Self::Fp32 => matches!(data_type.element, E::Float32),
                Self::Fp64 => matches!(data_type.element, E::Float64),
                Self::Bytes => matches!(data_type.element, E::String | E::Bytes),
            };
        }
        match self {
            Self::Bool => matches!(data_type.element, E::Bool),
            Self::Int32 => matches!(data_type.element, E::Bool | E::Int32),
            Self::Int64 => matches!(data_type.element, E::Bool | E::Int32 | E::Int64 | E::Timestamp),
            Self::Fp32 | Self::Fp64 => {
                matches!(data_type.element, E::Bool | E::Int32 | E::Int64 | E::Float32 | E::Float64)
            }
            Self::Bytes => matches!(data_type.element, E::String | E::Bytes),
        }
    }

    /// Whether a missing value can be told apart in it.
    #[must_use]
    pub const fn has_nan(self) -> bool {
        matches!(self, Self::Fp32 | Self::Fp64)
    }
}

/// How many elements an input takes of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Elements {
    Exactly(usize),
    MultipleOf(usize),
}

/// What an input of a model takes of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputForm {
    format: TensorFormat,
    elements: Elements,
}

impl InputForm {
    /// The form of an input with these dimensions of one row, of which -1 is any; none where several are any.
    #[must_use]
    pub fn new(format: TensorFormat, dims: &[i64]) -> Option<Self> {
        let fixed = dims.iter().filter(|dimension| **dimension >= 0).product::<i64>();
        let fixed = usize::try_from(fixed).ok()?;
        let elements = match dims.iter().filter(|dimension| **dimension < 0).count() {
            0 => Elements::Exactly(fixed),
            1 => Elements::MultipleOf(fixed),
            _ => return None,
        };
        Some(Self { format, elements })
    }

    /// Whether lists of more than one length fit, so that those of one request must have the same.
    #[must_use]
    pub(crate) const fn takes_any_length(self) -> bool {
        matches!(self.elements, Elements::MultipleOf(_))
    }

    /// Whether it may refuse values of a type that its format takes.
    #[must_use]
    pub(crate) const fn may_refuse(self, data_type: FeatureType) -> bool {
        data_type.list
            || (matches!(self.format, TensorFormat::Fp32) && matches!(data_type.element, ElementType::Float64))
    }

    /// Why a value of a type that the format takes does not fit; none where it does.
    #[must_use]
    pub(crate) fn refusal(self, value: ValueRef<'_>) -> Option<String> {
        match value {
            ValueRef::List(list) => self.refuses_length(list.len()),
            ValueRef::Float64(value) => self.refuses_float(value),
            _ => None,
        }
    }

    /// The same of an owned value.
    #[must_use]
    pub(crate) fn refusal_of(self, value: &Value) -> Option<String> {
        match value {
            Value::List(_, elements) => self.refuses_length(elements.len()),
            Value::Float64(value) => self.refuses_float(*value),
            _ => None,
        }
    }

    fn refuses_length(self, actual: usize) -> Option<String> {
        let (fits, expected) = match self.elements {
            Elements::Exactly(count) => (actual == count, format!("`{count}`")),
            Elements::MultipleOf(count) => {
                (count > 0 && actual.is_multiple_of(count), format!("a multiple of `{count}`"))
            }
        };
        (!fits).then(|| format!("expected a list of {expected} elements, got `{actual}`"))
    }

    fn refuses_float(self, value: f64) -> Option<String> {
        let refused = self.format == TensorFormat::Fp32 && is_too_large(value);
        refused.then(|| format!("expected a number that `FP32` holds, got `{value:e}`"))
    }
}

/// Whether a number would be infinite as a binary32.
#[allow(clippy::cast_possible_truncation, reason = "that is the question")]
const fn is_too_large(value: f64) -> bool {
    value.is_finite() && !(value as f32).is_finite()
}

impl Column<'_> {
    /// Appends the column as the content of a tensor `[rows, elements]`, row by row; `elements` is 1 but for lists, which
    /// all must have that length. A missing value is `elements` NaN in `FP32` and `FP64`.
    ///
    /// # Errors
    /// `InvalidArgument` when the format does not take the type, a list has another length, a number is too large, or a value is missing and the
    /// format has no NaN.
    pub fn write_tensor(&self, format: TensorFormat, elements: usize, out: &mut Vec<u8>) -> Result<(), FeatureError> {
        let refuse = |reason: String| FeatureError::invalid("tensor", reason);
        if !format.takes(self.data_type()) {
            let reason = format!("expected a type that fits `{}`, got `{}`", format.as_str(), self.data_type());
            return Err(refuse(reason));
        }
        for row in 0..self.len() {
            match self.value(row) {
                Some(ValueRef::List(list)) => {
                    let actual = list.len();
                    if actual != elements {
                        let reason = format!("expected lists of `{elements}` elements, got `{actual}` in row `{row}`");
                        return Err(refuse(reason));
                    }
                    out.extend_from_slice(list.packed);
                }
                Some(ValueRef::Float64(value)) if format == TensorFormat::Fp32 && is_too_large(value) => {
                    return Err(refuse(format!("expected a number that `FP32` holds, got `{value:e}` in row `{row}`")));
                }
                Some(value) => write_element(value, format, out),
                None if format == TensorFormat::Fp32 => {
                    (0..elements).for_each(|_| out.extend_from_slice(&f32::NAN.to_le_bytes()));
                }
                None if format == TensorFormat::Fp64 => {
                    (0..elements).for_each(|_| out.extend_from_slice(&f64::NAN.to_le_bytes()));
                }
                None => {
                    let reason = format!("expected a value for `{}` in row `{row}`, got none", format.as_str());
                    return Err(refuse(reason));
                }
            }
        }
        Ok(())
    }
}

fn write_element(value: ValueRef<'_>, format: TensorFormat, out: &mut Vec<u8>) {
    match format {
        TensorFormat::Bytes => match value {
            ValueRef::String(text) => push_sized(out, text.as_bytes()),
            ValueRef::Bytes(bytes) => push_sized(out, bytes),
            _ => {}
        },
        TensorFormat::Fp32 => out.extend_from_slice(&as_f32(value).to_le_bytes()),
        TensorFormat::Fp64 => out.extend_from_slice(&as_f64(value).to_le_bytes()),
        TensorFormat::Int64 => out.extend_from_slice(&as_i64(value).to_le_bytes()),
        TensorFormat::Int32 => {
            let narrow = i32::try_from(as_i64(value)).unwrap_or_default();
            out.extend_from_slice(&narrow.to_le_bytes());
        }
        TensorFormat::Bool => out.push(u8::from(matches!(value, ValueRef::Bool(true)))),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a model that takes floats takes the nearest one")]
fn as_f64(value: ValueRef<'_>) -> f64 {
    match value {
        ValueRef::Float32(value) => f64::from(value),
        ValueRef::Float64(value) => value,
        other => as_i64(other) as f64,
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a model that takes floats takes the nearest one"
)]
fn as_f32(value: ValueRef<'_>) -> f32 {
    match value {
        ValueRef::Float32(value) => value,
        ValueRef::Float64(value) => value as f32,
        other => as_i64(other) as f32,
    }
}

fn as_i64(value: ValueRef<'_>) -> i64 {
    match value {
        ValueRef::Bool(value) => i64::from(value),
        ValueRef::Int32(value) => i64::from(value),
        ValueRef::Int64(value) | ValueRef::Timestamp(value) => value,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::sync::Arc;

    use super::{InputForm, TensorFormat};
    use crate::columns::Columns;
    use crate::data_type::{ElementType, FeatureType};
    use crate::error::FeatureError;
    use crate::value::Value;

    fn columns(types: &[FeatureType], rows: usize) -> Columns {
        Columns::new(Arc::from(types), rows)
    }

    fn written(
        columns: &Columns,
        column: usize,
        format: TensorFormat,
        elements: usize,
    ) -> Result<Vec<u8>, FeatureError> {
        let mut out = Vec::new();
        columns.column(column).unwrap().write_tensor(format, elements, &mut out).map(|()| out)
    }

    #[test]
    fn tensors_have_nan_where_a_number_is_missing_and_refuse_otherwise() {
        let types = [ElementType::Int64, ElementType::String].map(FeatureType::scalar);
        let mut columns = columns(&types, 2);
        columns.set_value(0, 1, &Value::Int64(7), None).unwrap();
        columns.set_value(1, 0, &Value::String("ab".to_owned()), None).unwrap();
        let out = written(&columns, 0, TensorFormat::Fp32, 1).unwrap();
        assert!(f32::from_le_bytes(out[..4].try_into().unwrap()).is_nan());
        assert_eq!(out[4..], 7.0_f32.to_le_bytes());
        assert!(written(&columns, 0, TensorFormat::Int64, 1).is_err());
        assert!(written(&columns, 0, TensorFormat::Bytes, 1).is_err());
        assert!(written(&columns, 1, TensorFormat::Bytes, 1).is_err());
        columns.set_value(1, 1, &Value::String("c".to_owned()), None).unwrap();
        assert_eq!(written(&columns, 1, TensorFormat::Bytes, 1).unwrap(), b"\x02\0\0\0ab\x01\0\0\0c");
    }

    #[test]
    fn a_number_that_is_too_large_for_the_tensor_is_not_written_as_infinity() {
        let mut columns = columns(&[FeatureType::scalar(ElementType::Float64)], 1);
        columns.set_value(0, 0, &Value::Float64(1e300), None).unwrap();
        assert!(written(&columns, 0, TensorFormat::Fp32, 1).is_err());
        assert!(written(&columns, 0, TensorFormat::Fp64, 1).is_ok());
        columns.set_value(0, 0, &Value::Float64(f64::NEG_INFINITY), None).unwrap();
        assert_eq!(written(&columns, 0, TensorFormat::Fp32, 1).unwrap(), f32::NEG_INFINITY.to_le_bytes());
    }

    #[test]
    fn a_form_says_what_fits_a_row() {
        let form = |format, dims: &[i64]| InputForm::new(format, dims).unwrap();
        let list = |count| Value::List(ElementType::Float32, vec![Value::Float32(1.0); count]);
        for (dims, fits, wrong) in [(&[2_i64][..], 2, 3), (&[-1, 2], 4, 3), (&[-1], 7, usize::MAX), (&[2, 3], 6, 0)] {
            let form = form(TensorFormat::Fp32, dims);
            assert_eq!(form.refusal_of(&list(fits)), None, "{dims:?}");
            assert!(wrong == usize::MAX || form.refusal_of(&list(wrong)).is_some(), "{dims:?}");
        }
        assert_eq!(InputForm::new(TensorFormat::Fp32, &[-1, -1]), None);
        let fp32 = form(TensorFormat::Fp32, &[1]);
        assert!(fp32.refusal_of(&Value::Float64(1e300)).is_some());
        assert_eq!(fp32.refusal_of(&Value::Float64(f64::INFINITY)), None);
        assert!(fp32.may_refuse(FeatureType::scalar(ElementType::Float64)));
        assert!(!fp32.may_refuse(FeatureType::scalar(ElementType::Float32)));
    }

    #[test]
    fn lists_of_one_length_are_rows_of_a_tensor() {
        let element = ElementType::Float32;
        let mut columns = columns(&[FeatureType::list(element)], 2);
        let list = |values: &[f32]| Value::List(element, values.iter().copied().map(Value::Float32).collect());
        columns.set_value(0, 0, &list(&[1.0, 2.0]), None).unwrap();
        let out = written(&columns, 0, TensorFormat::Fp32, 2).unwrap();
        assert_eq!(out[..8], [1.0_f32.to_le_bytes(), 2.0_f32.to_le_bytes()].concat());
        assert_eq!(out.len(), 16);
        assert!(f32::from_le_bytes(out[12..].try_into().unwrap()).is_nan());
        assert!(written(&columns, 0, TensorFormat::Fp64, 2).is_err());
        columns.set_value(0, 1, &list(&[1.0]), None).unwrap();
        let error = written(&columns, 0, TensorFormat::Fp32, 2).unwrap_err();
        assert_eq!(error.to_string(), "tensor: expected lists of `2` elements, got `1` in row `1`");
    }
}
