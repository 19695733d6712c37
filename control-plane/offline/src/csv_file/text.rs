//! Cells as text: what is written can be read back by the same names and types, to the last bit.

use hanok_features::ElementType;
use parquet::data_type::ByteArray;

use crate::error::OfflineError;
use crate::table::{Column, Kind, Leaf, NO_ROW, Physical, Values};

/// Appends the cell of a column at a row; nothing where it is null.
pub(crate) fn cell_text(column: &Column, row: u32, out: &mut Vec<u8>) {
    let place = row as usize;
    if row == NO_ROW || !column.present[place] {
        return;
    }
    if !column.data_type.list {
        return value_text(column, place, false, out);
    }
    out.push(b'[');
    for (index, element) in column.elements(place).enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        value_text(column, element, true, out);
    }
    out.push(b']');
}

fn value_text(column: &Column, at: usize, json: bool, out: &mut Vec<u8>) {
    use std::io::Write as _;
    let element = column.data_type.element;
    let written = match &column.values {
        Values::Bool(values) => write!(out, "{}", values[at]),
        Values::Int32(values) => write!(out, "{}", values[at]),
        Values::Int64(values) if element == ElementType::Timestamp => {
            let text = instant_text(i128::from(values[at]) * 1000);
            if json { write!(out, "\"{text}\"") } else { write!(out, "{text}") }
        }
        Values::Int64(values) => write!(out, "{}", values[at]),
        Values::Float32(values) if json && !values[at].is_finite() => write!(out, "\"{}\"", values[at]),
        Values::Float64(values) if json && !values[at].is_finite() => write!(out, "\"{}\"", values[at]),
        Values::Float32(values) => write!(out, "{:?}", values[at]),
        Values::Float64(values) => write!(out, "{:?}", values[at]),
        Values::Bytes(values) if !json => out.write_all(values[at].data()),
        Values::Bytes(values) if element == ElementType::String => {
            write!(out, "{}", serde_json::Value::from(String::from_utf8_lossy(values[at].data())))
        }
        Values::Bytes(values) => {
            let text: String = values[at].data().iter().map(|byte| format!("{byte:02x}")).collect();
            write!(out, "\"{text}\"")
        }
    };
    // Memory takes what is written to it.
    drop(written);
}

fn instant_text(nanos: i128) -> String {
    jiff::Timestamp::from_nanosecond(nanos).map_or_else(|_| nanos.to_string(), |instant| instant.to_string())
}

/// A column of a Parquet file as text, row by row.
pub(crate) fn leaf_texts(leaf: &Leaf, place: &dyn Fn(usize) -> String) -> Result<Vec<ByteArray>, OfflineError> {
    if leaf.is_list() {
        return Err(OfflineError::Unsupported { place: place(0), reason: no_text("lists") });
    }
    let mut texts = Vec::with_capacity(leaf.rows);
    leaf.each(|row, at| {
        let text = at.map_or_else(|| Ok(ByteArray::from(Vec::new())), |at| leaf_text(leaf, at));
        texts.push(text.map_err(|reason| OfflineError::Unsupported { place: place(row), reason })?);
        Ok::<(), OfflineError>(())
    })?;
    Ok(texts)
}

fn leaf_text(leaf: &Leaf, at: usize) -> Result<ByteArray, String> {
    let text = match (&leaf.values, &leaf.kind) {
        (Physical::Bytes(values), Kind::Text | Kind::Bytes | Kind::Cell) => return Ok(values[at].clone()),
        (Physical::Bool(values), _) => values[at].to_string(),
        (Physical::Int32(values), Kind::Int) => values[at].to_string(),
        (Physical::Int32(values), Kind::Unsigned) => values[at].cast_unsigned().to_string(),
        (Physical::Int32(values), Kind::Day) => instant_text(i128::from(values[at]) * 86_400_000_000_000),
        (Physical::Int64(values), Kind::Int) => values[at].to_string(),
        (Physical::Int64(values), Kind::Unsigned) => values[at].cast_unsigned().to_string(),
        (Physical::Int64(values), Kind::Instant(unit)) => instant_text(i128::from(values[at]) * i128::from(*unit)),
        (Physical::Int96(values), _) => instant_text(values[at].to_nanos().into()),
        (Physical::Float(values), _) => format!("{:?}", values[at]),
        (Physical::Double(values), _) => format!("{:?}", values[at]),
        (_, kind) => return Err(no_text(kind.name())),
    };
    Ok(text.into_bytes().into())
}

fn no_text(what: &str) -> String {
    format!("expected a column that has a text in CSV, got {what}; write `.parquet`")
}
