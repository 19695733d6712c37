//! Redis' wire protocol (RESP 2), as far as `HMGET`, `EVAL`, `AUTH` and `SELECT` need it.
//!
//! Replies stay where they were received: fields are slices, and nothing is allocated for a value. That is why this is
//! not a client library: one allocation a value, as those make, costs a quarter of the throughput of rows of twenty.

/// Longest line: a length, a status or an error.
const LONGEST_LINE: usize = 4096;

/// Appends an argument of a command.
pub(super) fn write_argument(out: &mut Vec<u8>, argument: &[u8]) {
    out.push(b'$');
    write_number(out, argument.len());
    out.extend_from_slice(argument);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a command of so many arguments, its name among them.
pub(super) fn write_head(out: &mut Vec<u8>, arguments: usize) {
    out.push(b'*');
    write_number(out, arguments);
}

fn write_number(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(number.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Bytes that are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Where the reply that begins at `at` ends; none while it is not whole.
pub(super) fn end_of(bytes: &[u8], at: usize) -> Result<Option<usize>, Malformed> {
    end_within(bytes, at, true)
}

fn end_within(bytes: &[u8], at: usize, arrays: bool) -> Result<Option<usize>, Malformed> {
    let Some(kind) = bytes.get(at) else { return Ok(None) };
    let Some((line, next)) = line(bytes, at + 1)? else { return Ok(None) };
    match kind {
        b'+' | b'-' | b':' => Ok(Some(next)),
        b'$' => match length(line)? {
            None => Ok(Some(next)),
            Some(length) => {
                let end = next.checked_add(length).and_then(|end| end.checked_add(2)).ok_or(Malformed)?;
                match bytes.get(end - 2..end) {
                    None => Ok(None),
                    Some(b"\r\n") => Ok(Some(end)),
                    Some(_) => Err(Malformed),
                }
            }
        },
        b'*' if arrays => {
            let mut end = next;
            for _ in 0..length(line)?.unwrap_or(0) {
                match end_within(bytes, end, false)? {
                    None => return Ok(None),
                    Some(next) => end = next,
                }
            }
            Ok(Some(end))
        }
        _ => Err(Malformed),
    }
}

/// The line that begins at `at`, and where the next one does.
fn line(bytes: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, Malformed> {
    let rest = bytes.get(at..).unwrap_or_default();
    let seen = rest.get(..LONGEST_LINE).unwrap_or(rest);
    match seen.iter().position(|byte| *byte == b'\r') {
        None if seen.len() < rest.len() => Err(Malformed),
        None => Ok(None),
        Some(end) => match rest.get(end + 1) {
            None => Ok(None),
            Some(b'\n') => Ok(Some((&rest[..end], at + end + 2))),
            Some(_) => Err(Malformed),
        },
    }
}

/// A length; none for -1, which stands for null.
fn length(line: &[u8]) -> Result<Option<usize>, Malformed> {
    if line == b"-1" {
        return Ok(None);
    }
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).map(Some).ok_or(Malformed)
}

/// A whole reply.
#[derive(Clone, Debug)]
pub(super) enum Reply<'a> {
    /// An array of byte strings and nulls.
    Fields(Fields<'a>),
    /// The server refuses: `CODE text`.
    Error(&'a str),
    /// A number.
    Number(i64),
    /// A status or a single value.
    Other,
}

impl<'a> Reply<'a> {
    /// Reads a reply that [`end_of`] has found whole.
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        match (bytes.first(), line(bytes, 1)) {
            (Some(b'*'), Ok(Some((_, next)))) => Self::Fields(Fields { bytes, at: next }),
            (Some(b':'), Ok(Some((text, _)))) => {
                let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                number.map_or(Self::Other, Self::Number)
            }
            (Some(b'-'), Ok(Some((text, _)))) => Self::Error(std::str::from_utf8(text).unwrap_or("an error")),
            _ => Self::Other,
        }
    }
}

/// The fields of a reply in order; null is none.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let kind = *self.bytes.get(self.at)?;
        let (text, next) = line(self.bytes, self.at + 1).ok()??;
        if kind != b'$' {
            self.at = next;
            return Some(Some(text));
        }
        let Some(length) = length(text).ok()? else {
            self.at = next;
            return Some(None);
        };
        self.at = next + length + 2;
        self.bytes.get(next..next + length).map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::{Malformed, Reply, end_of, write_argument, write_head};

    fn fields(bytes: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
        match Reply::read(bytes) {
            Reply::Fields(fields) => Some(fields.map(|field| field.map(<[u8]>::to_vec)).collect()),
            Reply::Error(_) | Reply::Number(_) | Reply::Other => None,
        }
    }

    #[test]
    fn replies_are_taken_apart() {
        let reply = b"*3\r\n$2\r\na\r\r\n$-1\r\n$0\r\n\r\n";
        assert_eq!(end_of(reply, 0), Ok(Some(reply.len())));
        assert_eq!(fields(reply).unwrap(), [Some(b"a\r".to_vec()), None, Some(Vec::new())]);
        assert!(matches!(Reply::read(b"-WRONGTYPE no hash\r\n"), Reply::Error("WRONGTYPE no hash")));
        assert!(matches!(Reply::read(b"+OK\r\n"), Reply::Other));
        for wrong in [&b"?\r\n"[..], b"$x\r\n", b"$1\r\nabc", b"*1\r\n*1\r\n:1\r\n", b"$99999999999999999999\r\n"] {
            assert_eq!(end_of(wrong, 0), Err(Malformed), "{}", wrong.escape_ascii());
        }
        assert_eq!(end_of(&[b'+'; 9000], 0), Err(Malformed));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_a_part_is_never_whole(
            arguments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..6),
        ) {
            let mut bytes = Vec::new();
            write_head(&mut bytes, arguments.len());
            arguments.iter().for_each(|argument| write_argument(&mut bytes, argument));
            for cut in 0..bytes.len() {
                prop_assert_eq!(end_of(&bytes[..cut], 0), Ok(None));
            }
            prop_assert_eq!(end_of(&bytes, 0), Ok(Some(bytes.len())));
            let expected: Vec<_> = arguments.into_iter().map(Some).collect();
            prop_assert_eq!(fields(&bytes).unwrap(), expected);
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in "[$*+:\\-0-9\r\na]{0,40}") {
            let bytes = bytes.as_bytes();
            if let Ok(Some(end)) = end_of(bytes, 0) {
                prop_assert!(end <= bytes.len());
                drop(fields(&bytes[..end]));
            }
        }
    }
}
