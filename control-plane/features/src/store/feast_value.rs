//! Feast's value encoding: the protobuf message `feast.types.Value`, read without building it.
//!
//! Field numbers of the `oneof` (feast 0.67, `protos/feast/types/Value.proto`): bytes 1, string 2, int32 3, int64 4,
//! double 5, float 6, bool 7, timestamp in seconds 8; lists of the same 11 to 18; null 19. The rest (maps, sets, JSON,
//! structs, UUIDs) has no counterpart here and is refused by name of its number.

use crate::columns::Columns;
use crate::data_type::{ElementType, FeatureType};
use crate::error::FeatureError;
use crate::text_value::within_dates;
use crate::value::push_sized;

/// The field of a feature in Feast's Redis hashes: MurmurHash3 (x86, 32 bits, seed 0) of `view:feature`, little-endian.
#[must_use]
pub fn feast_field(view: &str, feature: &str) -> [u8; 4] {
    murmur3_32(format!("{view}:{feature}").as_bytes()).to_le_bytes()
}

/// The field of a view's event time in Feast's Redis hashes.
#[must_use]
pub(super) fn feast_timestamp_field(view: &str) -> String {
    format!("_ts:{view}")
}

/// Reads a protobuf `Timestamp` as microseconds since the Unix epoch; none for bytes that are no such message.
#[must_use]
pub(super) fn feast_time(message: &[u8]) -> Option<i64> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    let mut fields = Fields(message);
    while let Some(field) = fields.next().ok()? {
        match field {
            (1, Wire::Varint(value)) => seconds = value.cast_signed(),
            (2, Wire::Varint(value)) => nanos = value.cast_signed(),
            _ => {}
        }
    }
    within_dates(seconds.checked_mul(1_000_000)?.checked_add(nanos / 1000)?)
}

/// Puts a serialised `feast.types.Value` into a cell. Whole numbers and floats may be wider in the column than stored.
/// What cannot be read, or is of another type, makes the cell unusable.
///
/// # Errors
/// `ResourceExhausted` when the batch's arena is full.
pub(super) fn read_feast_value(
    message: &[u8],
    columns: &mut Columns,
    cell: (usize, usize),
    event_micros: Option<i64>,
) -> Result<(), FeatureError> {
    let Some(wanted) = columns.types().get(cell.0).copied() else { return Ok(()) };
    match decode(message, wanted) {
        Ok(Decoded::Null) => columns.set_null(cell.0, cell.1, event_micros),
        Ok(Decoded::Bits(bits)) => columns.set_bits(cell.0, cell.1, bits, event_micros),
        Ok(Decoded::Bytes(bytes)) => {
            return columns.set_variable(cell.0, cell.1, event_micros, |arena| arena.extend_from_slice(bytes));
        }
        Ok(Decoded::List(list)) => {
            let mut whole = Ok(());
            columns
                .set_variable(cell.0, cell.1, event_micros, |arena| whole = read_list(list, wanted.element, arena))?;
            if whole.is_err() {
                columns.set_unusable(cell.0, cell.1, || MALFORMED.to_owned());
            }
        }
        Err(Refusal::Malformed) => columns.set_unusable(cell.0, cell.1, || MALFORMED.to_owned()),
        Err(Refusal::Type(actual)) => {
            columns.set_unusable(cell.0, cell.1, || format!("expected stored type `{wanted}`, got `{actual}`"));
        }
        Err(Refusal::Field(field)) => columns.set_unusable(cell.0, cell.1, || {
            format!("expected stored type `{wanted}`, got field `{field}` of Feast's value")
        }),
    }
    Ok(())
}

/// The lowest 64-bit number, as it stands on the wire.
const NOT_A_TIME: u64 = 1 << 63;

const MALFORMED: &str = "expected a serialised value of Feast, got something else";

/// A message, taken apart as far as the column needs.
enum Decoded<'a> {
    Null,
    Bits(u64),
    /// Text or bytes.
    Bytes(&'a [u8]),
    /// The serialised list.
    List(&'a [u8]),
}

enum Refusal {
    Malformed,
    Type(FeatureType),
    Field(u32),
}

impl From<()> for Refusal {
    fn from((): ()) -> Self {
        Self::Malformed
    }
}

fn decode(message: &[u8], wanted: FeatureType) -> Result<Decoded<'_>, Refusal> {
    // The last member of the `oneof` counts; a message without one is a null.
    let mut last = None;
    let mut fields = Fields(message);
    while let Some(field) = fields.next()? {
        last = Some(field);
    }
    let Some((number, wire)) = last.filter(|(number, _)| *number != 19) else { return Ok(Decoded::Null) };
    let stored = match number {
        1..=8 => FeatureType::scalar(element_of(number)),
        11..=18 => FeatureType::list(element_of(number - 10)),
        other => return Err(Refusal::Field(other)),
    };
    if stored.is_variable() {
        let Wire::Bytes(bytes) = wire else { return Err(Refusal::Malformed) };
        if stored != wanted {
            return Err(Refusal::Type(stored));
        }
        if stored.list {
            return Ok(Decoded::List(bytes));
        }
        if stored.element == ElementType::String && std::str::from_utf8(bytes).is_err() {
            return Err(Refusal::Malformed);
        }
        return Ok(Decoded::Bytes(bytes));
    }
    // Feast writes Python's "not a time" where a timestamp is null.
    if let (8, Wire::Varint(NOT_A_TIME)) = (number, wire) {
        return Ok(Decoded::Null);
    }
    let number = Number::read(wire, stored.element).ok_or(Refusal::Malformed)?;
    if wanted.list {
        return Err(Refusal::Type(stored));
    }
    number.bits(wanted.element).map(Decoded::Bits).ok_or(Refusal::Type(stored))
}

/// Element type of the fields 1 to 8.
const fn element_of(number: u32) -> ElementType {
    match number {
        1 => ElementType::Bytes,
        2 => ElementType::String,
        3 => ElementType::Int32,
        4 => ElementType::Int64,
        5 => ElementType::Float64,
        6 => ElementType::Float32,
        7 => ElementType::Bool,
        _ => ElementType::Timestamp,
    }
}

/// A number as it was stored.
#[derive(Clone, Copy)]
enum Number {
    Bool(bool),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    /// In microseconds.
    Timestamp(i64),
}

impl Number {
    #[allow(clippy::cast_possible_truncation, reason = "protobuf carries 32-bit values in 64-bit varints")]
    fn read(wire: Wire<'_>, element: ElementType) -> Option<Self> {
        Some(match (element, wire) {
            (ElementType::Bool, Wire::Varint(value)) => Self::Bool(value != 0),
            (ElementType::Int32, Wire::Varint(value)) => Self::Int32(value.cast_signed() as i32),
            (ElementType::Int64, Wire::Varint(value)) => Self::Int64(value.cast_signed()),
            (ElementType::Timestamp, Wire::Varint(value)) => {
                Self::Timestamp(value.cast_signed().checked_mul(1_000_000)?)
            }
            (ElementType::Float32, Wire::Four(bits)) => Self::Float32(f32::from_bits(bits)),
            (ElementType::Float64, Wire::Eight(bits)) => Self::Float64(f64::from_bits(bits)),
            _ => return None,
        })
    }

    /// The slot of a column of type `wanted`, where that holds every value of the stored type.
    fn bits(self, wanted: ElementType) -> Option<u64> {
        Some(match (self, wanted) {
            (Self::Bool(value), ElementType::Bool) => u64::from(value),
            (Self::Int32(value), ElementType::Int32) => u64::from(value.cast_unsigned()),
            (Self::Int32(value), ElementType::Int64) => i64::from(value).cast_unsigned(),
            (Self::Int32(value), ElementType::Float64) => f64::from(value).to_bits(),
            (Self::Int64(value), ElementType::Int64) | (Self::Timestamp(value), ElementType::Timestamp) => {
                value.cast_unsigned()
            }
            (Self::Float32(value), ElementType::Float32) => u64::from(value.to_bits()),
            (Self::Float32(value), ElementType::Float64) => f64::from(value).to_bits(),
            (Self::Float64(value), ElementType::Float64) => value.to_bits(),
            _ => return None,
        })
    }
}

/// Appends a `*List { repeated T val = 1 }` as columns pack lists. Numbers come packed or one by one.
fn read_list(message: &[u8], element: ElementType, arena: &mut Vec<u8>) -> Result<(), ()> {
    let mut fields = Fields(message);
    while let Some((number, wire)) = fields.next()? {
        if number != 1 {
            continue;
        }
        match (wire, element) {
            (Wire::Bytes(bytes), ElementType::String) => {
                std::str::from_utf8(bytes).map_err(drop)?;
                push_sized(arena, bytes);
            }
            (Wire::Bytes(bytes), ElementType::Bytes) => push_sized(arena, bytes),
            (Wire::Bytes(packed), ElementType::Float32) => push_whole(packed, 4, arena)?,
            (Wire::Bytes(packed), ElementType::Float64) => push_whole(packed, 8, arena)?,
            (Wire::Bytes(mut packed), _) => {
                while !packed.is_empty() {
                    push_number(Wire::Varint(take_varint(&mut packed)?), element, arena)?;
                }
            }
            (single, _) => push_number(single, element, arena)?,
        }
    }
    Ok(())
}

fn push_whole(packed: &[u8], width: usize, arena: &mut Vec<u8>) -> Result<(), ()> {
    arena.extend_from_slice(packed);
    if packed.len().is_multiple_of(width) { Ok(()) } else { Err(()) }
}

fn push_number(wire: Wire<'_>, element: ElementType, arena: &mut Vec<u8>) -> Result<(), ()> {
    match Number::read(wire, element).ok_or(())? {
        Number::Bool(value) => arena.push(u8::from(value)),
        Number::Int32(value) => arena.extend_from_slice(&value.to_le_bytes()),
        Number::Int64(value) | Number::Timestamp(value) => arena.extend_from_slice(&value.to_le_bytes()),
        Number::Float32(value) => arena.extend_from_slice(&value.to_le_bytes()),
        Number::Float64(value) => arena.extend_from_slice(&value.to_le_bytes()),
    }
    Ok(())
}

/// A field's content on the wire.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Varint(u64),
    Eight(u64),
    Four(u32),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message (Protocol Buffers, "Encoding").
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>, ()> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = take_varint(&mut self.0)?;
        let number = u32::try_from(tag >> 3).map_err(drop)?;
        let wire = match tag & 7 {
            0 => Wire::Varint(take_varint(&mut self.0)?),
            1 => {
                let (bytes, rest) = self.0.split_first_chunk::<8>().ok_or(())?;
                self.0 = rest;
                Wire::Eight(u64::from_le_bytes(*bytes))
            }
            2 => {
                let length = usize::try_from(take_varint(&mut self.0)?).map_err(drop)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(())?;
                self.0 = rest;
                Wire::Bytes(bytes)
            }
            5 => {
                let (bytes, rest) = self.0.split_first_chunk::<4>().ok_or(())?;
                self.0 = rest;
                Wire::Four(u32::from_le_bytes(*bytes))
            }
            _ => return Err(()),
        };
        Ok(Some((number, wire)))
    }
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, ()> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first().ok_or(())?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(())
}

/// MurmurHash3_x86_32 with seed 0 (Appleby, smhasher).
fn murmur3_32(bytes: &[u8]) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let mix = |block: u32| block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash = 0_u32;
    for block in blocks {
        hash ^= mix(u32::from_le_bytes(*block));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    if !tail.is_empty() {
        let mut last = [0_u8; 4];
        last[..tail.len()].copy_from_slice(tail);
        hash ^= mix(u32::from_le_bytes(last));
    }
    // Feast's names are far below four gigabytes.
    hash ^= u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::sync::Arc;

    use proptest::prelude::*;

    use super::{feast_field, feast_time, murmur3_32, read_feast_value};
    use crate::columns::Columns;
    use crate::data_type::FeatureType;

    #[test]
    fn hashes_are_those_of_mmh3() {
        // Python's mmh3 5: mmh3.hash(text, signed=False).
        for (text, hash) in [
            ("", 0),
            ("a", 0x3c25_69b2),
            ("weather:temperature_fahrenheit", 0xae07_3900),
            ("driver_hourly_stats:conv_rate", 0xdae3_6061),
        ] {
            assert_eq!(murmur3_32(text.as_bytes()), hash, "{text}");
        }
        assert_eq!(feast_field("weather", "temperature_fahrenheit"), 0xae07_3900_u32.to_le_bytes());
    }

    #[test]
    fn times_have_seconds_and_nanoseconds() {
        assert_eq!(feast_time(b"\x08\x05\x10\xc0\x84\x3d"), Some(5_001_000));
        assert_eq!(feast_time(b""), Some(0));
        assert_eq!(feast_time(b"\x08"), None);
        // Milliseconds in the place of seconds.
        assert_eq!(feast_time(b"\x08\x80\x81\xec\xa3\xbf\x27"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..64), which in 0_usize..16) {
            let names = FeatureType::all_names();
            let data_type: FeatureType = names[which].parse().unwrap();
            let mut columns = Columns::new(Arc::from([data_type]), 1);
            read_feast_value(&bytes, &mut columns, (0, 0), None).unwrap();
            let _ = columns.column(0).unwrap().value(0).map(|value| value.to_owned());
            prop_assert!(feast_time(&bytes).is_none_or(|time| time != i64::MIN));
        }
    }
}
