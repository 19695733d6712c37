//! The `data` member of an input: a JSON array, flat or nested, straight into tensor bytes (W-25 to W-28).
//!
//! Nesting carries no meaning, only the number of elements counts, as in Triton. The size is known from the shape
//! before anything is allocated, and checked against the limit and against the bytes that are left to read.

use bytes::Bytes;
use hanok_backend::ServingError;
use hanok_tensor::DataType;

use super::json_cursor::{JsonCursor, fault};
use super::json_number::{self, Integer, NotAnInteger};

/// What `data` must hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpectedData<'n> {
    /// Name of the input, for messages.
    pub(super) input: &'n str,
    pub(super) data_type: DataType,
    pub(super) element_count: usize,
    /// Bytes that this tensor may still take.
    pub(super) byte_budget: usize,
}

/// Reads the `data` at the cursor.
///
/// For BYTES the number of elements is left to the request's validation, where binary data is counted too.
pub(super) fn read_data(cursor: &mut JsonCursor<'_>, expected: ExpectedData<'_>) -> Result<Bytes, ServingError> {
    match expected.data_type {
        DataType::Bool => numbers::<Boolean>(cursor, expected),
        DataType::Uint8 => numbers::<u8>(cursor, expected),
        DataType::Uint16 => numbers::<u16>(cursor, expected),
        DataType::Uint32 => numbers::<u32>(cursor, expected),
        DataType::Uint64 => numbers::<u64>(cursor, expected),
        DataType::Int8 => numbers::<i8>(cursor, expected),
        DataType::Int16 => numbers::<i16>(cursor, expected),
        DataType::Int32 => numbers::<i32>(cursor, expected),
        DataType::Int64 => numbers::<i64>(cursor, expected),
        DataType::Fp32 => numbers::<f32>(cursor, expected),
        DataType::Fp64 => numbers::<f64>(cursor, expected),
        DataType::Bytes => strings(cursor, expected),
        DataType::Fp16 | DataType::Bf16 => Err(ServingError::invalid(format!(
            "receiving {} data via JSON is not supported. Please use the binary data format for input {}",
            expected.data_type, expected.input
        ))),
    }
}

/// Why an element cannot be read.
#[derive(Clone, Copy, Debug)]
enum ElementFault {
    /// It is of another JSON type.
    Type(&'static str),
    /// It does not fit the data type.
    Range,
}

/// An element type of fixed size.
trait Element: Copy {
    const SIZE: usize;

    /// Reads the element at `at`: its value and where it ends.
    fn read(bytes: &[u8], at: usize) -> Result<(Self, usize), ElementFault>;

    /// Writes the element to `slot`, which has [`Element::SIZE`] bytes.
    fn write(self, slot: &mut [u8]);
}

#[derive(Clone, Copy)]
struct Boolean(bool);

impl Element for Boolean {
    const SIZE: usize = 1;

    fn read(bytes: &[u8], at: usize) -> Result<(Self, usize), ElementFault> {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.starts_with(b"true") {
            Ok((Self(true), at + 4))
        } else if rest.starts_with(b"false") {
            Ok((Self(false), at + 5))
        } else {
            Err(ElementFault::Type("a boolean"))
        }
    }

    fn write(self, slot: &mut [u8]) {
        slot.copy_from_slice(&[u8::from(self.0)]);
    }
}

macro_rules! float_element {
    ($float:ty, $read:path) => {
        impl Element for $float {
            const SIZE: usize = size_of::<$float>();

            #[inline]
            fn read(bytes: &[u8], at: usize) -> Result<(Self, usize), ElementFault> {
                $read(bytes, at).ok_or(ElementFault::Type("a number"))
            }

            #[inline]
            fn write(self, slot: &mut [u8]) {
                slot.copy_from_slice(&self.to_le_bytes());
            }
        }
    };
}

float_element!(f32, json_number::single);
float_element!(f64, json_number::double);

macro_rules! integer_element {
    ($integer:ty, $what:literal, $value:expr) => {
        impl Element for $integer {
            const SIZE: usize = size_of::<$integer>();

            #[inline]
            fn read(bytes: &[u8], at: usize) -> Result<(Self, usize), ElementFault> {
                match json_number::integer(bytes, at) {
                    Ok((integer, end)) => {
                        let value: Result<Option<Self>, ElementFault> = $value(integer);
                        Ok((value?.ok_or(ElementFault::Range)?, end))
                    }
                    Err(NotAnInteger::NotANumber | NotAnInteger::Fraction) => Err(ElementFault::Type($what)),
                }
            }

            #[inline]
            fn write(self, slot: &mut [u8]) {
                slot.copy_from_slice(&self.to_le_bytes());
            }
        }
    };
    (unsigned $integer:ty) => {
        integer_element!($integer, "an unsigned integer", |integer: Integer| {
            if integer.negative && integer.magnitude != Some(0) {
                return Err(ElementFault::Type("an unsigned integer"));
            }
            Ok(integer.magnitude.and_then(|magnitude| Self::try_from(magnitude).ok()))
        });
    };
    (signed $integer:ty) => {
        integer_element!($integer, "an integer", |integer: Integer| {
            let Some(magnitude) = integer.magnitude else { return Ok(None) };
            let value =
                if integer.negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() };
            Ok(value.and_then(|value| Self::try_from(value).ok()))
        });
    };
}

integer_element!(unsigned u8);
integer_element!(unsigned u16);
integer_element!(unsigned u32);
integer_element!(unsigned u64);
integer_element!(signed i8);
integer_element!(signed i16);
integer_element!(signed i32);
integer_element!(signed i64);

/// Walks the arrays of `data`, calling `element` with the cursor at each element.
#[inline]
fn walk<'a>(
    cursor: &mut JsonCursor<'a>,
    mut element: impl FnMut(&mut JsonCursor<'a>) -> Result<(), ServingError>,
) -> Result<(), ServingError> {
    cursor.skip_whitespace();
    if cursor.peek() != b'[' {
        return Err(ServingError::malformed("Unable to parse 'data': expected an array"));
    }
    let mut depth = 0;
    loop {
        // A value is due.
        cursor.skip_whitespace();
        if cursor.peek() == b'[' {
            if depth >= cursor.max_depth() {
                return Err(cursor.too_deep());
            }
            depth += 1;
            cursor.advance();
            cursor.skip_whitespace();
            if cursor.peek() != b']' {
                continue;
            }
        } else {
            element(cursor)?;
        }
        // A value has ended, or an array that has none is about to.
        loop {
            match cursor.peek() {
                b',' => {
                    cursor.advance();
                    break;
                }
                b']' => {
                    cursor.advance();
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                b' ' | b'\t' | b'\n' | b'\r' => cursor.skip_whitespace(),
                _ => return Err(cursor.fail(fault::ARRAY_COMMA)),
            }
        }
    }
}

fn count_mismatch(expected: ExpectedData<'_>, found: &str) -> ServingError {
    ServingError::malformed("Unable to parse 'data': Shape does not match true shape of 'data' field")
        .with_operator_detail(format!(
            "input `{}` takes {} elements, got {found}",
            expected.input, expected.element_count
        ))
}

pub(super) fn over_budget(input: &str, needed: usize, budget: usize) -> ServingError {
    ServingError::invalid(format!(
        "tensor data of input '{input}' takes `{needed}` bytes, which exceeds the maximum allowed value of `{budget}` \
         bytes. Use --http-max-input-size to increase the limit"
    ))
}

fn numbers<E: Element>(cursor: &mut JsonCursor<'_>, expected: ExpectedData<'_>) -> Result<Bytes, ServingError> {
    let size = expected.element_count.saturating_mul(E::SIZE);
    if size > expected.byte_budget {
        return Err(over_budget(expected.input, size, expected.byte_budget));
    }
    // `1,2` is the tightest form: a count above this cannot be met, whatever follows.
    let most = (cursor.bytes().len() - cursor.position()).div_ceil(2);
    if expected.element_count > most {
        return Err(count_mismatch(expected, "fewer"));
    }
    let mut data = vec![0; size];
    let mut slots = data.chunks_exact_mut(E::SIZE);
    walk(cursor, |cursor| {
        let (value, end) =
            E::read(cursor.bytes(), cursor.position()).map_err(|fault| element_fault(cursor, expected, fault))?;
        cursor.set_position(end);
        match slots.next() {
            Some(slot) => {
                value.write(slot);
                Ok(())
            }
            None => Err(count_mismatch(expected, "more")),
        }
    })?;
    if slots.next().is_some() {
        return Err(count_mismatch(expected, "fewer"));
    }
    Ok(Bytes::from(data))
}

#[cold]
fn element_fault(cursor: &JsonCursor<'_>, expected: ExpectedData<'_>, fault: ElementFault) -> ServingError {
    match fault {
        ElementFault::Type(what) => {
            let known = matches!(cursor.peek(), b'"' | b'{' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9' | b'N' | b'I');
            if known {
                ServingError::malformed(format!("Unable to parse 'data': expected {what} at {}", cursor.position()))
            } else {
                cursor.fail(fault::INVALID_VALUE)
            }
        }
        ElementFault::Range => ServingError::invalid(format!(
            "Unable to parse 'data': element of input '{}' at {} is out of range for {}",
            expected.input,
            cursor.position(),
            expected.data_type
        )),
    }
}

fn strings(cursor: &mut JsonCursor<'_>, expected: ExpectedData<'_>) -> Result<Bytes, ServingError> {
    let least = expected.element_count.saturating_mul(4);
    if least > expected.byte_budget {
        return Err(over_budget(expected.input, least, expected.byte_budget));
    }
    let mut data = Vec::new();
    walk(cursor, |cursor| {
        if cursor.peek() != b'"' {
            return Err(element_fault(cursor, expected, ElementFault::Type("a string")));
        }
        let length_at = data.len();
        data.extend_from_slice(&[0; 4]);
        cursor.string_into(&mut data)?;
        if data.len() > expected.byte_budget {
            return Err(over_budget(expected.input, data.len(), expected.byte_budget));
        }
        let length = u32::try_from(data.len() - length_at - 4)
            .map_err(|_| over_budget(expected.input, data.len(), expected.byte_budget))?;
        if let Some(slot) = data.get_mut(length_at..length_at + 4) {
            slot.copy_from_slice(&length.to_le_bytes());
        }
        Ok(())
    })?;
    Ok(Bytes::from(data))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use hanok_backend::ErrorCode;
    use hanok_tensor::BytesElements;
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, data_type: DataType, element_count: usize) -> Result<Bytes, ServingError> {
        let mut cursor = JsonCursor::new(text.as_bytes(), 100);
        let data = read_data(&mut cursor, ExpectedData { input: "IN", data_type, element_count, byte_budget: 4096 })?;
        cursor.finish()?;
        Ok(data)
    }

    fn floats(data: &[u8]) -> Vec<f32> {
        data.chunks_exact(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap())).collect()
    }

    #[test]
    fn w25_flat_or_nested() {
        for text in ["[1,2,3,4]", "[[1,2],[3,4]]", " [ [ 1 , 2 ] ,\n[ 3,4]]", "[[[1],[2]],[[],[3,4]]]"] {
            assert_eq!(floats(&read(text, DataType::Fp32, 4).unwrap()), [1.0, 2.0, 3.0, 4.0], "{text}");
        }
        assert_eq!(&read("[true,false]", DataType::Bool, 2).unwrap()[..], [1, 0]);
        assert!(read("[1]", DataType::Bool, 1).is_err());
        let strings = read(r#"["a","",["\u00e9"]]"#, DataType::Bytes, 3).unwrap();
        let elements: Result<Vec<_>, _> = BytesElements::new(&strings).collect();
        assert_eq!(elements.unwrap(), [&b"a"[..], b"", "\u{e9}".as_bytes()]);
    }

    #[test]
    fn w26_half_precision_is_binary_only() {
        for data_type in [DataType::Fp16, DataType::Bf16] {
            let error = read("[1]", data_type, 1).unwrap_err();
            assert_eq!(error.triton_code(), ErrorCode::InvalidArgument);
            assert!(error.message().contains("Please use the binary data format"));
        }
    }

    #[test]
    fn w27_integers_keep_every_bit_and_never_wrap() {
        let whole = read("[18446744073709551615,0]", DataType::Uint64, 2).unwrap();
        assert_eq!(&whole[..8], u64::MAX.to_le_bytes());
        let signed = read("[-9223372036854775808,9223372036854775807]", DataType::Int64, 2).unwrap();
        assert_eq!(&signed[..8], i64::MIN.to_le_bytes());
        assert_eq!(&signed[8..], i64::MAX.to_le_bytes());
        for (text, data_type) in [
            ("[256]", DataType::Uint8),
            ("[65536]", DataType::Uint16),
            ("[4294967296]", DataType::Uint32),
            ("[18446744073709551616]", DataType::Uint64),
            ("[128]", DataType::Int8),
            ("[-129]", DataType::Int8),
            ("[32768]", DataType::Int16),
            ("[2147483648]", DataType::Int32),
            ("[9223372036854775808]", DataType::Int64),
            ("[-9223372036854775809]", DataType::Int64),
        ] {
            let error = read(text, data_type, 1).unwrap_err();
            assert_eq!(error.triton_code(), ErrorCode::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn w10_wrong_elements_and_counts_are_malformed() {
        for (text, data_type) in [
            ("[\"a\"]", DataType::Int32),
            ("[1.5]", DataType::Int32),
            ("[1.0]", DataType::Int32),
            ("[-1]", DataType::Uint8),
            ("[null]", DataType::Fp32),
            ("[{}]", DataType::Fp32),
            ("[\"1\"]", DataType::Fp32),
            ("[true]", DataType::Fp32),
            ("[1]", DataType::Bytes),
            ("1", DataType::Int32),
            ("[1,2]", DataType::Int32),
            ("[]", DataType::Int32),
            ("[1,]", DataType::Int32),
            ("[,1]", DataType::Int32),
            ("[1 1]", DataType::Int32),
            ("[1", DataType::Int32),
            ("[01]", DataType::Int32),
            ("[[1]", DataType::Int32),
        ] {
            let error = read(text, data_type, 1).unwrap_err();
            assert_eq!(error.triton_code(), ErrorCode::Internal, "{text}: {error}");
            assert_eq!(error.code(), ErrorCode::InvalidArgument, "{text}");
        }
        let error = read("[1,2,3]", DataType::Int32, 2).unwrap_err();
        assert_eq!(error.message(), "Unable to parse 'data': Shape does not match true shape of 'data' field");
    }

    #[test]
    fn w28_not_finite_floats() {
        let values = floats(&read("[NaN,Infinity,-Infinity,1e999,-0]", DataType::Fp32, 5).unwrap());
        assert!(values[0].is_nan());
        assert_eq!(&values[1..4], [f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY]);
        assert!(values[4] == 0.0 && values[4].is_sign_negative());
        assert!(read("[NaN]", DataType::Int32, 1).is_err());
    }

    #[test]
    fn w07_size_is_refused_before_allocation() {
        let error = read("[1]", DataType::Fp32, 1025).unwrap_err();
        assert_eq!(error.triton_code(), ErrorCode::InvalidArgument);
        assert!(error.message().contains("--http-max-input-size"));
        assert!(read("[1]", DataType::Fp64, usize::MAX).is_err());
        assert!(read("[\"\"]", DataType::Bytes, 1025).is_err());
        let long = format!("[\"{}\"]", "x".repeat(4096));
        assert_eq!(read(&long, DataType::Bytes, 1).unwrap_err().triton_code(), ErrorCode::InvalidArgument);
        // A count that the bytes left cannot hold is refused before the buffer is made.
        assert!(read("[1]", DataType::Uint8, 4000).is_err());
    }

    #[test]
    fn w08_nested_data_is_bounded() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(&nested(100), DataType::Int8, 1).is_ok());
        assert_eq!(read(&nested(101), DataType::Int8, 1).unwrap_err().triton_code(), ErrorCode::InvalidArgument);
        assert!(read(&"[".repeat(250_000), DataType::Int8, 1).is_err());
    }

    proptest! {
        #[test]
        fn floats_equal_the_standard_library_s(values in proptest::collection::vec(any::<f32>(), 1..60), space in " {0,2}") {
            let texts: Vec<String> = values.iter().map(|value| if value.is_finite() { format!("{value:e}") } else { "NaN".into() }).collect();
            let text = format!("[{}]", texts.join(&format!(",{space}")));
            let data = read(&text, DataType::Fp32, values.len()).unwrap();
            for (ours, theirs) in floats(&data).iter().zip(&values) {
                prop_assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && !theirs.is_finite()));
            }
        }

        #[test]
        fn integers_equal_serde_json_s(values in proptest::collection::vec(any::<i64>(), 1..60)) {
            let data = read(&serde_json::to_string(&values).unwrap(), DataType::Int64, values.len()).unwrap();
            let ours: Vec<i64> = data.chunks_exact(8).map(|chunk| i64::from_le_bytes(chunk.try_into().unwrap())).collect();
            prop_assert_eq!(ours, values);
        }

        #[test]
        fn strings_equal_serde_json_s(values in proptest::collection::vec(any::<String>(), 1..20)) {
            let data = read(&serde_json::to_string(&values).unwrap(), DataType::Bytes, values.len()).unwrap();
            let ours: Vec<String> = BytesElements::new(&data).map(|element| String::from_utf8(element.unwrap().to_vec()).unwrap()).collect();
            prop_assert_eq!(ours, values);
        }

        #[test]
        fn random_text_never_panics(text in r#"[\[\]",0-9.eE\- tfnNaI\\u]{0,40}"#, index in 0..DataType::ALL.len(), count in 0_usize..6) {
            let _parsed = read(&text, DataType::ALL[index], count);
        }
    }
}
