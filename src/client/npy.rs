//! Reads NumPy's `.npy` files (format versions 1 to 3).
//!
//! Source: the format's description in NumPy's `numpy.lib.format`. Not a pickle reader: object arrays are refused.
//! Fortran order is refused with the remedy. The invariant: what is returned holds as many elements as its shape says.

use bytes::Bytes;
use hanok_tensor::{DataType, Shape};

use super::tensor_value::push_element;

/// An array read from a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NpyArray {
    /// Element type.
    pub(crate) data_type: DataType,
    /// Dimensions.
    pub(crate) shape: Shape,
    /// Elements in the protocol's binary encoding.
    pub(crate) data: Bytes,
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads a whole file; the error says what is wrong with it and, where there is one, the remedy.
pub(crate) fn read_npy(file: &[u8]) -> Result<NpyArray, String> {
    let body = file.strip_prefix(MAGIC).ok_or("not a .npy file: it does not begin with the magic of NumPy")?;
    let (header, payload) = match body {
        [1, _, low, high, rest @ ..] => split(rest, usize::from(u16::from_le_bytes([*low, *high])))?,
        [2 | 3, _, a, b, c, d, rest @ ..] => split(rest, u32::from_le_bytes([*a, *b, *c, *d]) as usize)?,
        _ => return Err("expected .npy format version 1, 2 or 3".to_owned()),
    };
    let header = std::str::from_utf8(header).map_err(|_| "the .npy header is not text")?;
    let descr = after(header, "'descr':")?;
    let Some(descr) = descr.strip_prefix('\'').and_then(|text| text.split('\'').next()) else {
        return Err("structured arrays are not supported: save one plain array per file".to_owned());
    };
    let dimensions = after(header, "'shape':")?.trim_start_matches('(').split(')').next().unwrap_or("");
    let shape = dimensions
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(|text| text.parse::<i64>().map_err(|_| format!("the .npy header has the dimension `{text}`")))
        .collect::<Result<Shape, String>>()?;
    if after(header, "'fortran_order':")?.starts_with("True") && shape.rank() > 1 {
        return Err("the array is in Fortran order: save numpy.ascontiguousarray(array) instead".to_owned());
    }
    elements(descr, shape, payload)
}

fn split(rest: &[u8], length: usize) -> Result<(&[u8], &[u8]), String> {
    rest.split_at_checked(length).ok_or_else(|| "the .npy file ends within its header".to_owned())
}

fn after<'a>(header: &'a str, key: &str) -> Result<&'a str, String> {
    header.split_once(key).map(|(_, rest)| rest.trim_start()).ok_or_else(|| format!("the .npy header lacks {key}"))
}

fn elements(descr: &str, shape: Shape, payload: &[u8]) -> Result<NpyArray, String> {
    let count = shape.element_count().map_err(|error| error.to_string())?;
    let unknown =
        || format!("arrays of dtype `{descr}` are not supported: convert with array.astype, for example to 'float32'");
    let mut characters = descr.chars();
    let order = characters.next().ok_or_else(unknown)?;
    let code = characters.as_str();
    let data_type = match code {
        "b1" => DataType::Bool,
        "u1" => DataType::Uint8,
        "u2" => DataType::Uint16,
        "u4" => DataType::Uint32,
        "u8" => DataType::Uint64,
        "i1" => DataType::Int8,
        "i2" => DataType::Int16,
        "i4" => DataType::Int32,
        "i8" => DataType::Int64,
        "f2" => DataType::Fp16,
        "f4" => DataType::Fp32,
        "f8" => DataType::Fp64,
        _ if code.starts_with(['S', 'U']) => DataType::Bytes,
        _ => return Err(unknown()),
    };
    let width = match data_type.element_size() {
        Some(size) => size,
        None => code[1..].parse::<usize>().map_err(|_| unknown())? * if code.starts_with('U') { 4 } else { 1 },
    };
    let expected = count.checked_mul(width).ok_or("the array is too large")?;
    let Some(payload) = payload.get(..expected) else {
        return Err(format!("expected {expected} bytes of elements, actual {}", payload.len()));
    };
    let data = match data_type {
        DataType::Bytes => texts(payload, width, count, code.starts_with('U'), order == '>')?,
        _ if order == '>' && width > 1 => {
            payload.chunks_exact(width).flat_map(|element| element.iter().rev().copied()).collect()
        }
        _ => payload.to_vec(),
    };
    Ok(NpyArray { data_type, shape, data: data.into() })
}

/// Fixed-width texts, padded with zeros, as `BYTES` elements.
fn texts(payload: &[u8], width: usize, count: usize, wide: bool, big_endian: bool) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(payload.len() + 4 * count);
    for index in 0..count {
        let element = &payload[index * width..(index + 1) * width];
        if !wide {
            let end = element.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            push_element(&element[..end], &mut out);
            continue;
        }
        let mut text = String::new();
        for raw in element.as_chunks::<4>().0 {
            let number = if big_endian { u32::from_be_bytes(*raw) } else { u32::from_le_bytes(*raw) };
            text.push(char::from_u32(number).ok_or_else(|| format!("element {index} is not text"))?);
        }
        push_element(text.trim_end_matches('\0').as_bytes(), &mut out);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn file(header: &str, payload: &[u8]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend([1, 0]);
        out.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        out.extend(header.as_bytes());
        out.extend(payload);
        out
    }

    #[test]
    fn reads_what_numpy_wrote() {
        // numpy.save of numpy.array([[1.5, -2]], dtype='<f4'), NumPy 2.3, byte for byte.
        let mut saved = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }".to_vec();
        saved.resize(127, b' ');
        saved.push(b'\n');
        saved.extend(b"\x00\x00\xc0?\x00\x00\x00\xc0");
        let array = read_npy(&saved).unwrap();
        assert_eq!((array.data_type, array.shape.to_vec()), (DataType::Fp32, vec![1, 2]));
        assert_eq!(&array.data[..], [1.5_f32.to_le_bytes(), (-2_f32).to_le_bytes()].concat());
    }

    #[test]
    fn big_endian_texts_and_scalars() {
        let array = read_npy(&file("{'descr': '>i2', 'fortran_order': False, 'shape': (), }", &[1, 2])).unwrap();
        assert_eq!((array.shape.rank(), &array.data[..]), (0, &[2_u8, 1][..]));
        let array = read_npy(&file("{'descr': '|S3', 'fortran_order': False, 'shape': (2,), }", b"abcd\0\0")).unwrap();
        assert_eq!(&array.data[..], b"\x03\0\0\0abc\x01\0\0\0d");
        let array =
            read_npy(&file("{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }", b"\xac\x20\0\0")).unwrap();
        assert_eq!(&array.data[..], "\u{3}\0\0\0€".as_bytes());
    }

    #[test]
    fn refusals_name_the_remedy() {
        let refused = |header: &str| read_npy(&file(header, &[0; 8])).unwrap_err();
        assert!(refused("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }").contains("ascontiguousarray"));
        assert!(refused("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }").contains("astype"));
        assert!(refused("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }").contains("expected 16 bytes"));
        assert!(refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }").contains("plain array"));
        assert!(read_npy(b"PK").is_err());
        assert!(read_npy(b"\x93NUMPY\x01\x00\xff\xff{").is_err());
    }
}
