//! Times of rows: nanoseconds since the Unix epoch, in UTC; what has no time zone is taken as UTC.
//!
//! Nanoseconds, because that is the finest that files have: rounding would let a row see what was true only after it.
//! They reach from 1677 to 2262, as those of pandas do.

use super::leaf::{Kind, Leaf, Physical};

const PER_SECOND: i64 = 1_000_000_000;
const PER_DAY: i64 = 86_400 * PER_SECOND;
/// The Julian day of the Unix epoch.
const EPOCH_DAY: i64 = 2_440_588;

/// The instants of a column, none where null. Fails with the row and what is wrong.
pub(crate) fn instants(leaf: &Leaf) -> Result<Vec<Option<i64>>, (usize, String)> {
    let mut found = Vec::with_capacity(leaf.rows);
    // Texts repeat: rows of a file stand in the order in which they happened.
    let mut last: Option<(&[u8], i64)> = None;
    leaf.each(|row, at| {
        let Some(at) = at else {
            found.push(None);
            return Ok(());
        };
        let instant = match (&leaf.values, &leaf.kind) {
            (Physical::Bytes(texts), Kind::Text | Kind::Cell) => {
                let bytes = texts[at].data();
                match last {
                    Some((text, instant)) if text == bytes => Some(instant),
                    _ if bytes.trim_ascii().is_empty() => None,
                    _ => {
                        let read = std::str::from_utf8(bytes).ok().and_then(nanos_of_text);
                        let instant = read.ok_or_else(|| (row, not_a_time(&String::from_utf8_lossy(bytes))))?;
                        last = Some((bytes, instant));
                        Some(instant)
                    }
                }
            }
            // Whole numbers without a meaning of their own are seconds, as `hanok features put` has it.
            (Physical::Int32(numbers), Kind::Int) => Some(i64::from(numbers[at]) * PER_SECOND),
            (Physical::Int64(numbers), Kind::Int) => {
                Some(numbers[at].checked_mul(PER_SECOND).ok_or_else(|| (row, not_a_time(&numbers[at].to_string())))?)
            }
            _ => Some(nanos(leaf, at).map_err(|reason| (row, reason))?),
        };
        found.push(instant);
        Ok(())
    })?;
    Ok(found)
}

/// The instant of a value that is one.
pub(super) fn nanos(leaf: &Leaf, at: usize) -> Result<i64, String> {
    let (instant, shown) = match (&leaf.values, &leaf.kind) {
        (Physical::Int64(units), Kind::Instant(unit)) => (units[at].checked_mul(*unit), units[at].to_string()),
        (Physical::Int32(days), Kind::Day) => (i64::from(days[at]).checked_mul(PER_DAY), format!("day {}", days[at])),
        (Physical::Int96(parts), Kind::Instant(_)) => {
            let [low, high, day] = [parts[at].data()[0], parts[at].data()[1], parts[at].data()[2]];
            let of_day = (u64::from(high) << 32 | u64::from(low)).cast_signed();
            let day = i64::from(day) - EPOCH_DAY;
            (day.checked_mul(PER_DAY).and_then(|start| start.checked_add(of_day)), format!("day {day}"))
        }
        _ => return Err(format!("expected a column of instants, got {}", leaf.kind.name())),
    };
    instant.ok_or_else(|| not_a_time(&shown))
}

fn not_a_time(found: &str) -> String {
    let shown: String = found.chars().filter(|one| !one.is_control()).take(64).collect();
    format!("expected an instant between 1677 and 2262 (RFC 3339, or seconds since the epoch), got `{shown}`")
}

/// Reads RFC 3339, the same without a time zone (UTC), a date, or seconds since the epoch with a fraction if need be.
pub(crate) fn nanos_of_text(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(instant) = digits_of_rfc_3339(text.as_bytes()) {
        return Some(instant);
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return i64::try_from(instant.as_nanosecond()).ok();
    }
    if text.contains('-')
        && !text.starts_with('-')
        && let Ok(local) = text.parse::<jiff::civil::DateTime>()
    {
        let instant = jiff::tz::Offset::UTC.to_timestamp(local).ok()?;
        return i64::try_from(instant.as_nanosecond()).ok();
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: i64 = digits.parse().ok()?;
    let nanos = if whole.starts_with('-') { -nanos } else { nanos };
    seconds.checked_mul(PER_SECOND)?.checked_add(nanos)
}

/// `2013-01-01T10:00:00Z` and nothing else, without a parser's generality: it is what most files have.
fn digits_of_rfc_3339(text: &[u8]) -> Option<i64> {
    let text: &[u8; 20] = text.try_into().ok()?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
    if separators.iter().any(|(at, byte)| text[*at] != *byte) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to]
            .iter()
            .try_fold(0_i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1678..2262).contains(&year) || !(1..=12).contains(&month) || !(1..=28).contains(&day) {
        // The end of a month, and what is no date at all, are left to the calendar's own library.
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since the epoch (Hinnant, "chrono-compatible low-level date algorithms", days_from_civil).
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * PER_DAY + (hour * 3600 + minute * 60 + second) * PER_SECOND)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::{digits_of_rfc_3339, nanos_of_text};

    #[test]
    fn texts_are_instants() {
        let hour = Some(1_357_016_400_000_000_000);
        for text in [
            "2013-01-01T05:00:00Z",
            "2013-01-01 05:00:00",
            "2013-01-01T06:00:00+01:00",
            "1357016400",
            "2013-01-01T05:00:00.000",
        ] {
            assert_eq!(nanos_of_text(text), hour, "{text}");
        }
        assert_eq!(nanos_of_text("2013-01-01"), Some(1_356_998_400_000_000_000));
        assert_eq!(nanos_of_text("1357016400.000000001"), hour.map(|hour| hour + 1));
        assert_eq!(nanos_of_text("-1.5"), Some(-1_500_000_000));
        for text in
            ["", "soon", "2013-02-30T00:00:00Z", "9999-12-31T00:00:00Z", "1e9", "2013-01-01T25:00:00Z", "99999999999"]
        {
            assert_eq!(nanos_of_text(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_is_the_long_way(seconds in -9_000_000_000_i64..9_000_000_000) {
            let instant = jiff::Timestamp::from_second(seconds).unwrap();
            let text = instant.to_string();
            prop_assert_eq!(nanos_of_text(&text), Some(seconds * 1_000_000_000));
            if let Some(short) = digits_of_rfc_3339(text.as_bytes()) {
                prop_assert_eq!(short, seconds * 1_000_000_000);
            }
        }
    }
}
