//! One value of a file as a value of a declared type.
//!
//! Nothing is lost silently: a whole number must fit, a float that is to be a whole number must be one (NaN among them is
//! null, as pandas writes it), text must be UTF-8. Only floats are rounded, because the declaration asks for it.

use hanok_features::ElementType;
use parquet::data_type::ByteArray;

use super::column::Values;
use super::instants::{nanos, nanos_of_text};
use super::leaf::{Kind, Leaf, Physical};

/// Appends value `at` of a leaf; false, and nothing appended, where it means null.
pub(super) fn push(values: &mut Values, element: ElementType, leaf: &Leaf, at: usize) -> Result<bool, String> {
    if leaf.kind == Kind::Cell {
        return push_text(values, element, leaf, at);
    }
    match (values, element) {
        (Values::Bool(out), _) => match &leaf.values {
            Physical::Bool(found) => out.push(found[at]),
            _ => return Err(wrong(element, leaf)),
        },
        (Values::Int32(out), _) => match whole(leaf, at).ok_or_else(|| wrong(element, leaf))? {
            Whole::Number(number) => out.push(i32::try_from(number).map_err(|_| unfit(element, &number))?),
            Whole::Null => return Ok(false),
            Whole::Fraction(number) => return Err(unfit(element, &number)),
        },
        (Values::Int64(out), ElementType::Timestamp) => {
            if !matches!(leaf.kind, Kind::Instant(_) | Kind::Day) {
                return Err(wrong(element, leaf));
            }
            out.push(nanos(leaf, at)?.div_euclid(1000));
        }
        (Values::Int64(out), _) => match whole(leaf, at).ok_or_else(|| wrong(element, leaf))? {
            Whole::Number(number) => out.push(i64::try_from(number).map_err(|_| unfit(element, &number))?),
            Whole::Null => return Ok(false),
            Whole::Fraction(number) => return Err(unfit(element, &number)),
        },
        (Values::Float32(out), _) => {
            let wide = float(leaf, at).ok_or_else(|| wrong(element, leaf))?;
            #[allow(clippy::cast_possible_truncation, reason = "rounding to the declared type is what is asked for")]
            let narrow = wide as f32;
            if wide.is_finite() && !narrow.is_finite() {
                return Err(unfit(element, &wide));
            }
            out.push(narrow);
        }
        (Values::Float64(out), _) => out.push(float(leaf, at).ok_or_else(|| wrong(element, leaf))?),
        (Values::Bytes(out), _) => match (&leaf.values, &leaf.kind) {
            (Physical::Bytes(found), Kind::Text | Kind::Bytes) => {
                if element == ElementType::String {
                    check_text(found[at].data())?;
                }
                out.push(found[at].clone());
            }
            _ => return Err(wrong(element, leaf)),
        },
    }
    Ok(true)
}

/// A whole number as it stands in a file.
enum Whole {
    Number(i128),
    Fraction(f64),
    Null,
}

fn whole(leaf: &Leaf, at: usize) -> Option<Whole> {
    Some(match (&leaf.values, &leaf.kind) {
        (Physical::Int32(found), Kind::Int) => Whole::Number(found[at].into()),
        (Physical::Int32(found), Kind::Unsigned) => Whole::Number(found[at].cast_unsigned().into()),
        (Physical::Int64(found), Kind::Int) => Whole::Number(found[at].into()),
        (Physical::Int64(found), Kind::Unsigned) => Whole::Number(found[at].cast_unsigned().into()),
        (Physical::Float(found), Kind::Float) => of_float(found[at].into()),
        (Physical::Double(found), Kind::Float) => of_float(found[at]),
        _ => return None,
    })
}

fn of_float(number: f64) -> Whole {
    if number.is_nan() {
        return Whole::Null;
    }
    if number.fract() != 0.0 || number.abs() >= 9.3e18 {
        return Whole::Fraction(number);
    }
    #[allow(clippy::cast_possible_truncation, reason = "a whole number within 64 bits")]
    let whole = number as i128;
    Whole::Number(whole)
}

#[allow(clippy::cast_precision_loss, reason = "rounding to the declared type is what is asked for")]
fn float(leaf: &Leaf, at: usize) -> Option<f64> {
    Some(match (&leaf.values, &leaf.kind) {
        (Physical::Float(found), _) => found[at].into(),
        (Physical::Double(found), _) => found[at],
        (Physical::Int32(found), Kind::Int) => found[at].into(),
        (Physical::Int32(found), Kind::Unsigned) => found[at].cast_unsigned().into(),
        (Physical::Int64(found), Kind::Int) => found[at] as f64,
        (Physical::Int64(found), Kind::Unsigned) => found[at].cast_unsigned() as f64,
        _ => return None,
    })
}

/// A cell of CSV: as `hanok features put` reads it, so empty is null except for texts and bytes.
fn push_text(values: &mut Values, element: ElementType, leaf: &Leaf, at: usize) -> Result<bool, String> {
    let Physical::Bytes(cells) = &leaf.values else { return Err(wrong(element, leaf)) };
    let bytes = cells[at].data();
    if let Values::Bytes(out) = values {
        if element == ElementType::String {
            check_text(bytes)?;
        }
        out.push(cells[at].clone());
        return Ok(true);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| unfit(element, &"bytes that are no UTF-8"))?.trim();
    if text.is_empty() {
        return Ok(false);
    }
    let bad = || unfit(element, &clipped(text));
    match (values, element) {
        (Values::Bool(out), _) => out.push(match text {
            "true" | "True" | "TRUE" | "1" => true,
            "false" | "False" | "FALSE" | "0" => false,
            _ => return Err(bad()),
        }),
        (Values::Int32(out), _) => match whole_text(text).ok_or_else(bad)? {
            Some(number) => out.push(i32::try_from(number).map_err(|_| bad())?),
            None => return Ok(false),
        },
        (Values::Int64(out), ElementType::Timestamp) => {
            out.push(nanos_of_text(text).ok_or_else(bad)?.div_euclid(1000));
        }
        (Values::Int64(out), _) => match whole_text(text).ok_or_else(bad)? {
            Some(number) => out.push(number),
            None => return Ok(false),
        },
        (Values::Float32(out), _) => {
            let narrow: f32 = text.parse().map_err(|_| bad())?;
            if narrow.is_infinite() && text.parse::<f64>().is_ok_and(f64::is_finite) {
                return Err(bad());
            }
            out.push(narrow);
        }
        (Values::Float64(out), _) => out.push(text.parse().map_err(|_| bad())?),
        (Values::Bytes(_), _) => {}
    }
    Ok(true)
}

/// A whole number as text, also as pandas writes a column of them with nulls among them: `7.0`. `nan` is null.
fn whole_text(text: &str) -> Option<Option<i64>> {
    if let Ok(number) = text.parse() {
        return Some(Some(number));
    }
    match of_float(text.parse().ok()?) {
        Whole::Number(number) => i64::try_from(number).ok().map(Some),
        Whole::Null => Some(None),
        Whole::Fraction(_) => None,
    }
}

fn check_text(bytes: &[u8]) -> Result<(), String> {
    std::str::from_utf8(bytes).map(|_| ()).map_err(|_| unfit(ElementType::String, &"bytes that are no UTF-8"))
}

fn clipped(text: &str) -> String {
    text.chars().filter(|one| !one.is_control()).take(64).collect()
}

fn unfit(element: ElementType, found: &dyn std::fmt::Display) -> String {
    format!("expected a value of type `{element}`, got `{found}`")
}

fn wrong(element: ElementType, leaf: &Leaf) -> String {
    format!("expected a column that can be `{element}`, got {}", leaf.kind.name())
}

/// A text as the bytes of a column.
pub(super) fn empty_bytes() -> ByteArray {
    ByteArray::from(Vec::new())
}
