//! JSON numbers to exact values: integers in full 64 bits, floats correctly rounded.
//!
//! Digits are read eight at a time. A float whose digits and exponent are small is computed with one exact or
//! bounded-error floating-point operation (Clinger's fast path, "How to read floating point numbers accurately",
//! 1990); all others go through the standard library, which implements Eisel-Lemire. For FP32 the fast path also
//! serves up to 19 digits: the double is within three units in the last place of the true value, so that rounding it
//! to single precision is right unless it lies next to the middle of two singles, which is checked.

/// A number as a parameter may have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum NumberValue {
    /// An integer from 0 to `u64::MAX`.
    Unsigned(u64),
    /// An integer from `i64::MIN` to -1.
    Negative(i64),
    /// Anything else; out of range is infinite (W-28).
    Float(f64),
}

/// An integer's sign and magnitude; `None` when it exceeds 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Integer {
    pub(super) negative: bool,
    pub(super) magnitude: Option<u64>,
}

/// Why the bytes are not an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAnInteger {
    /// Not a number at all.
    NotANumber,
    /// A number with a fraction or an exponent.
    Fraction,
}

/// A decimal number as written: `mantissa * 10^exponent` when `exact`.
#[derive(Clone, Copy, Debug)]
struct Decimal {
    negative: bool,
    mantissa: u64,
    exponent: i32,
    /// Whether mantissa and exponent hold all of the text.
    exact: bool,
    integer: bool,
    end: usize,
}

const POWERS_U64: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// The inverse of powers of ten, rounded.
const INVERSE_POWERS: [f64; 25] = [
    1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15, 1e-16, 1e-17,
    1e-18, 1e-19, 1e-20, 1e-21, 1e-22, 1e-23, 1e-24,
];

/// Number of digits that always fit a `u64`.
const MOST_DIGITS: usize = 19;

/// Up to eight digits at the start of `chunk`: their value and their number.
#[inline(always)]
fn leading_digits(chunk: [u8; 8]) -> (u64, usize) {
    let values = u64::from_le_bytes(chunk) ^ 0x3030_3030_3030_3030;
    // The high bit of a byte is set where it is no digit; carries spoil only bytes above the first such.
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let count = (others.trailing_zeros() / 8) as usize;
    // Zeros in front instead of what follows the digits; in two steps, because one shift by 64 bits is none.
    let half = (8 - count) * 4;
    let digits = values << half << half;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let low = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
    let high = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
    (low.wrapping_add(high) >> 32, count)
}

/// Reads up to eight digits at `at`: their value and their number.
#[inline]
fn eight_digits(bytes: &[u8], at: usize) -> (u64, usize) {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(chunk) => leading_digits(*chunk),
        None => {
            let mut chunk = [0; 8];
            chunk[..rest.len()].copy_from_slice(rest);
            leading_digits(chunk)
        }
    }
}

/// Bytes that the quick paths look at without asking where the text ends.
type Window = [u8; 40];

#[inline(always)]
fn window_digits(window: &Window, at: usize) -> (u64, usize) {
    window.get(at..).and_then(<[u8]>::first_chunk::<8>).map_or((0, 0), |chunk| leading_digits(*chunk))
}

/// Sign and digits before a point: whether negative, value, and where they end. `None` for what is not quick.
#[inline(always)]
fn quick_integer(window: &Window) -> Option<(bool, u64, usize)> {
    let negative = window[0] == b'-';
    let start = usize::from(negative);
    let (value, count) = window_digits(window, start);
    if count == 0 || count == 8 || (window[start] == b'0' && count > 1) {
        return None;
    }
    Some((negative, value, start + count))
}

/// The path of nearly all singles: up to seven digits before the point and 19 in all, no exponent, not at the end of
/// the text. `None` for all others, and where rounding is not clear.
#[inline(always)]
fn quick_single(bytes: &[u8], start: usize) -> Option<(f32, usize)> {
    let window: &Window = bytes.get(start..)?.first_chunk()?;
    let (negative, mut mantissa, mut end) = quick_integer(window)?;
    let mut fraction = 0;
    if window[end] == b'.' {
        let (first, first_count) = window_digits(window, end + 1);
        let (second, second_count) = window_digits(window, end + 9);
        if first_count == 0 {
            return None;
        }
        // The second eight count only behind a full first eight; computed, because a branch would be guessed wrong.
        let full = first_count / 8;
        let (second, second_count) = (second * full as u64, second_count * full);
        mantissa =
            (mantissa * POWERS_U64[first_count] + first).wrapping_mul(POWERS_U64[second_count]).wrapping_add(second);
        fraction = first_count + second_count;
        if second_count == 8 {
            let (third, third_count) = window_digits(window, end + 17);
            mantissa = mantissa.wrapping_mul(POWERS_U64[third_count]).wrapping_add(third);
            fraction += third_count;
        }
        if end + fraction > MOST_DIGITS {
            return None;
        }
        end += 1 + fraction;
    }
    if matches!(window[end], b'e' | b'E') {
        return None;
    }
    #[allow(clippy::cast_precision_loss, reason = "the error is part of the bound in `rounds_clearly`")]
    let value = mantissa as f64 * INVERSE_POWERS[fraction];
    if !rounds_clearly(value) {
        return None;
    }
    let single = narrow(value);
    Some((f32::from_bits(single.to_bits() | u32::from(negative) << 31), start + end))
}

/// Whether a double within three units in the last place of the true value rounds to the same single as it.
///
/// The 29 bits that a single drops say how far the middle between two singles is. Holds for singles that are normal.
#[inline(always)]
fn rounds_clearly(value: f64) -> bool {
    let dropped = value.to_bits() & 0x1fff_ffff;
    dropped.wrapping_sub(0x1000_0000 - 4) > 8
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "rounding to single precision is the purpose")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// Reads digits at `at` onto `mantissa`: the new mantissa (which wraps above 19 digits) and the number of digits.
#[inline]
fn digits(bytes: &[u8], at: usize, mut mantissa: u64) -> (u64, usize) {
    let mut total = 0;
    loop {
        let (value, count) = eight_digits(bytes, at + total);
        mantissa = mantissa.wrapping_mul(POWERS_U64[count]).wrapping_add(value);
        total += count;
        if count < 8 {
            return (mantissa, total);
        }
    }
}

/// Reads a number's text by JSON's grammar.
#[inline]
fn decimal(bytes: &[u8], start: usize) -> Option<Decimal> {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let mut at = start;
    let negative = byte(at) == b'-';
    at += usize::from(negative);
    let (mut mantissa, mut count) = (0, 0);
    if byte(at) == b'0' {
        at += 1;
    } else {
        (mantissa, count) = digits(bytes, at, 0);
        if count == 0 {
            return None;
        }
        at += count;
    }
    let mut exponent: i32 = 0;
    let mut integer = true;
    let mut exact = true;
    if byte(at) == b'.' {
        let fraction;
        (mantissa, fraction) = digits(bytes, at + 1, mantissa);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
        count += fraction;
        integer = false;
        match i32::try_from(fraction) {
            Ok(fraction) => exponent = -fraction,
            Err(_) => exact = false,
        }
    }
    if matches!(byte(at), b'e' | b'E') {
        at += 1;
        let minus = byte(at) == b'-';
        at += usize::from(minus || byte(at) == b'+');
        let (value, length) = digits(bytes, at, 0);
        if length == 0 {
            return None;
        }
        at += length;
        integer = false;
        match i32::try_from(value) {
            Ok(value) if length <= 9 => exponent = exponent.saturating_add(if minus { -value } else { value }),
            _ => exact = false,
        }
    }
    exact &= count <= MOST_DIGITS;
    Some(Decimal { negative, mantissa, exponent, exact, integer, end: at })
}

/// The standard library's answer for the number written in `bytes`.
#[cold]
fn slow<T: std::str::FromStr + Default>(bytes: &[u8]) -> T {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// `NaN`, `Inf`, `Infinity` with an optional minus sign: value and end.
#[cold]
fn not_finite(bytes: &[u8], start: usize) -> Option<(f64, usize)> {
    let negative = bytes.get(start) == Some(&b'-');
    let at = start + usize::from(negative);
    let rest = bytes.get(at..)?;
    let (value, length) = if rest.starts_with(b"NaN") {
        (f64::NAN, 3)
    } else if rest.starts_with(b"Infinity") {
        (f64::INFINITY, 8)
    } else if rest.starts_with(b"Inf") {
        (f64::INFINITY, 3)
    } else {
        return None;
    };
    Some((if negative { -value } else { value }, at + length))
}

/// Reads a double: its value and where it ends.
#[inline]
pub(super) fn double(bytes: &[u8], start: usize) -> Option<(f64, usize)> {
    let Some(number) = decimal(bytes, start) else { return not_finite(bytes, start) };
    let power = number.exponent.unsigned_abs() as usize;
    if number.exact && number.mantissa <= 1 << 53 && power < POWERS.len() {
        #[allow(clippy::cast_precision_loss, reason = "at most 2^53, so exact")]
        let mantissa = number.mantissa as f64;
        let value = if number.exponent < 0 { mantissa / POWERS[power] } else { mantissa * POWERS[power] };
        return Some((if number.negative { -value } else { value }, number.end));
    }
    Some((slow(&bytes[start..number.end]), number.end))
}

/// Reads a single: its value and where it ends.
#[inline(always)]
pub(super) fn single(bytes: &[u8], start: usize) -> Option<(f32, usize)> {
    quick_single(bytes, start).or_else(|| any_single(bytes, start))
}

#[inline(never)]
fn any_single(bytes: &[u8], start: usize) -> Option<(f32, usize)> {
    let Some(number) = decimal(bytes, start) else {
        return not_finite(bytes, start).map(|(value, end)| (narrow(value), end));
    };
    let power = number.exponent.unsigned_abs() as usize;
    if number.exact && power < POWERS.len() {
        #[allow(clippy::cast_precision_loss, reason = "the error is part of the bound in `rounds_clearly`")]
        let mantissa = number.mantissa as f64;
        let value = if number.exponent < 0 { mantissa / POWERS[power] } else { mantissa * POWERS[power] };
        if rounds_clearly(value) {
            let value = narrow(value);
            return Some((if number.negative { -value } else { value }, number.end));
        }
    }
    Some((slow(&bytes[start..number.end]), number.end))
}

/// Reads an integer: its value and where it ends.
#[inline]
pub(super) fn integer(bytes: &[u8], start: usize) -> Result<(Integer, usize), NotAnInteger> {
    let quick = bytes.get(start..).and_then(<[u8]>::first_chunk).and_then(|window: &Window| {
        let (negative, value, end) = quick_integer(window)?;
        let more = matches!(window[end], b'.' | b'e' | b'E');
        (!more).then_some((Integer { negative, magnitude: Some(value) }, start + end))
    });
    quick.map_or_else(|| any_integer(bytes, start), Ok)
}

#[inline(never)]
fn any_integer(bytes: &[u8], start: usize) -> Result<(Integer, usize), NotAnInteger> {
    let Some(number) = decimal(bytes, start) else {
        return Err(if not_finite(bytes, start).is_some() { NotAnInteger::Fraction } else { NotAnInteger::NotANumber });
    };
    if !number.integer {
        return Err(NotAnInteger::Fraction);
    }
    let magnitude = if number.exact {
        Some(number.mantissa)
    } else {
        let digits = &bytes[start + usize::from(number.negative)..number.end];
        std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok())
    };
    Ok((Integer { negative: number.negative, magnitude }, number.end))
}

/// Reads any number: its value and where it ends.
pub(super) fn number(bytes: &[u8], start: usize) -> Option<(NumberValue, usize)> {
    if let Ok((Integer { negative, magnitude: Some(magnitude) }, end)) = integer(bytes, start) {
        if !negative {
            return Some((NumberValue::Unsigned(magnitude), end));
        }
        if let (1.., Some(value)) = (magnitude, 0_i64.checked_sub_unsigned(magnitude)) {
            return Some((NumberValue::Negative(value), end));
        }
    }
    double(bytes, start).map(|(value, end)| (NumberValue::Float(value), end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) {
        // The quick paths need bytes behind the number, the others serve its end.
        check_with_tail(text, "");
        check_with_tail(text, &format!(",{}", "7".repeat(60)));
        check_with_tail(text, &format!(" {}", " ".repeat(60)));
    }

    fn check_with_tail(text: &str, tail: &str) {
        let all = format!("{text}{tail}");
        let (double_value, end) = double(all.as_bytes(), 0).unwrap();
        assert_eq!(end, text.len(), "{text}");
        assert_eq!(double_value.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        let (single_value, end) = single(all.as_bytes(), 0).unwrap();
        assert_eq!(end, text.len(), "{text}");
        assert_eq!(single_value.to_bits(), text.parse::<f32>().unwrap().to_bits(), "{text}");
    }

    #[test]
    fn hard_numbers_are_exact() {
        for text in [
            "0",
            "-0",
            "0.0",
            "-0.0",
            "1",
            "0.1",
            "0.30000001192092896",
            "16777217",
            "16777219",
            "1e22",
            "1e23",
            "1e-22",
            "1e-23",
            "9007199254740993",
            "9007199254740992",
            "18446744073709551615",
            "99999999999999999999",
            "1e999",
            "-1e999",
            "1e-999",
            "5e-324",
            "2.2250738585072011e-308",
            "1.1754943508222875e-38",
            "1.401298464324817e-45",
            "7.006492321624085e-46",
            "3.4028235677973366e38",
            "3.4028235677973365e38",
            "340282350000000000000000000000000000000",
            "1.00000005960464477539062",
            "1.00000005960464477539063",
            "1.000000059604644775390625",
            "8388608.5",
            "8388609.5",
            "0.000000000000000000000000000001",
            "1E5",
            "1e+5",
            "1e0000000000000000000005",
            "1e99999999999999999999",
            "123456789012345678901234567890.123456789",
            "0.00000000000000000001e20",
        ] {
            check(text);
        }
        check(&"9".repeat(10_000));
        check(&format!("0.{}1", "0".repeat(10_000)));
    }

    #[test]
    fn grammar_is_json_s() {
        for text in ["", "-", "+1", ".5", "1.", "1.e5", "1e", "1e+", "--1", "nan", "inf", "x"] {
            assert_eq!(double(text.as_bytes(), 0), None, "{text}");
        }
        // A leading zero ends the number; what follows is the caller's to refuse.
        assert_eq!(double(b"01", 0), Some((0.0, 1)));
    }

    #[test]
    fn w28_not_finite_words() {
        assert!(single(b"NaN", 0).unwrap().0.is_nan());
        assert_eq!(single(b"Infinity", 0), Some((f32::INFINITY, 8)));
        assert_eq!(double(b"-Infinity]", 0), Some((f64::NEG_INFINITY, 9)));
        assert_eq!(double(b"-Inf", 0), Some((f64::NEG_INFINITY, 4)));
    }

    #[test]
    fn w27_integers_in_full() {
        let read = |text: &str| number(text.as_bytes(), 0).unwrap().0;
        assert_eq!(read("18446744073709551615"), NumberValue::Unsigned(u64::MAX));
        assert_eq!(read("18446744073709551616"), NumberValue::Float(18_446_744_073_709_551_616.0));
        assert_eq!(read("-9223372036854775808"), NumberValue::Negative(i64::MIN));
        assert_eq!(read("-9223372036854775809"), NumberValue::Float(-9_223_372_036_854_775_809.0));
        assert_eq!(read("-0"), NumberValue::Float(-0.0));
        assert_eq!(read("1.0"), NumberValue::Float(1.0));
        assert_eq!(integer(b"1e3", 0), Err(NotAnInteger::Fraction));
        assert_eq!(integer(b"a", 0), Err(NotAnInteger::NotANumber));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn doubles_by_shortest_text(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            check(&format!("{value:?}"));
            check(&format!("{value:e}"));
        }

        #[test]
        fn singles_by_shortest_and_by_widened_text(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            check(&format!("{value:?}"));
            check(&format!("{:?}", f64::from(value)));
            // The middle between two singles, and its neighbours in double precision.
            let middle = f64::from(value).to_bits() | 0x1000_0000;
            for bits in [middle - 1, middle, middle + 1] {
                check(&format!("{:?}", f64::from_bits(bits)));
                check(&format!("{:.17e}", f64::from_bits(bits)));
            }
        }

        #[test]
        fn numbers_by_text(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?") {
            check(&text);
        }

        #[test]
        fn small_numbers_by_text(text in "-?(0|[1-9][0-9]{0,3})\\.[0-9]{1,19}") {
            check(&text);
        }

        #[test]
        fn integers_by_value(value in any::<i64>()) {
            let text = value.to_string();
            let expected = match u64::try_from(value) {
                Ok(value) => NumberValue::Unsigned(value),
                Err(_) => NumberValue::Negative(value),
            };
            prop_assert_eq!(number(text.as_bytes(), 0), Some((expected, text.len())));
            let all = format!("{text},{}", "7".repeat(60));
            prop_assert_eq!(number(all.as_bytes(), 0), Some((expected, text.len())));
        }
    }
}
