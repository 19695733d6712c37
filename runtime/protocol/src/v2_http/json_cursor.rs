//! A pull parser for JSON (RFC 8259): the caller asks for what it expects next.
//!
//! It builds no tree and never recurses: a value that nobody wants is skipped with a stack of one bit per level, up
//! to the depth limit. Everything that is passed is checked, skipped or not. Two liberties, as Triton takes them:
//! `NaN`, `Inf` and `Infinity` are numbers. Texts of syntax errors are RapidJSON's, which Triton's clients know.

use std::borrow::Cow;

use hanok_backend::{ParameterValue, ServingError};

use super::json_number::{self, NumberValue};

/// Reads one JSON text from its start.
#[derive(Debug)]
pub(crate) struct JsonCursor<'a> {
    bytes: &'a [u8],
    at: usize,
    max_depth: u32,
}

/// Texts of syntax errors.
pub(super) mod fault {
    pub(crate) const INVALID_VALUE: &str = "Invalid value.";
    pub(crate) const EMPTY: &str = "The document is empty.";
    pub(crate) const TRAILING: &str = "The document root must not be followed by other values.";
    pub(crate) const OBJECT_NAME: &str = "Missing a name for object member.";
    pub(crate) const OBJECT_COLON: &str = "Missing a colon after a name of object member.";
    pub(crate) const OBJECT_COMMA: &str = "Missing a comma or } after an object member.";
    pub(crate) const ARRAY_COMMA: &str = "Missing a comma or ] after an array element.";
    pub(crate) const STRING_QUOTE: &str = "Missing a closing quotation mark in string.";
    pub(crate) const STRING_ENCODING: &str = "Invalid encoding in string.";
    pub(crate) const STRING_ESCAPE: &str = "Invalid escape character in string.";
    pub(crate) const STRING_HEX: &str = "Incorrect hex digit after \\u escape in string.";
}

/// Limit of the depth stack, which is one 128-bit word.
const DEEPEST: u32 = 128;

impl<'a> JsonCursor<'a> {
    /// Starts at the first byte. `max_depth` is the deepest nesting of a single value, at most 128.
    pub(crate) fn new(bytes: &'a [u8], max_depth: u32) -> Self {
        Self { bytes, at: 0, max_depth: max_depth.min(DEEPEST) }
    }

    pub(super) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) const fn position(&self) -> usize {
        self.at
    }

    /// Goes back to, or on to, a position that this cursor has had.
    pub(super) const fn set_position(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) const fn max_depth(&self) -> u32 {
        self.max_depth
    }

    /// The byte at the cursor; 0, which no JSON holds outside strings, at the end.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    pub(super) const fn advance(&mut self) {
        self.at += 1;
    }

    #[inline]
    pub(super) fn skip_whitespace(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    #[cold]
    pub(super) fn fail(&self, fault: &str) -> ServingError {
        ServingError::malformed(format!("failed to parse the request JSON buffer: {fault} at {}", self.at))
    }

    #[cold]
    pub(super) fn too_deep(&self) -> ServingError {
        ServingError::invalid(format!("JSON nesting depth exceeds the maximum of `{}`", self.max_depth))
    }

    /// Takes the byte if it is next, after white space.
    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        self.skip_whitespace();
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    /// Enters the outermost object, which is the only kind of document that the protocol has.
    pub(crate) fn enter_document(&mut self) -> Result<(), ServingError> {
        if self.enter_object() {
            return Ok(());
        }
        if self.at >= self.bytes.len() {
            return Err(self.fail(fault::EMPTY));
        }
        self.skip_value()?;
        self.finish()?;
        Err(ServingError::malformed("Unable to parse request: expected a JSON object"))
    }

    /// Enters an object if one is next; nothing is consumed otherwise.
    pub(crate) fn enter_object(&mut self) -> bool {
        self.take(b'{')
    }

    /// Enters an array if one is next; nothing is consumed otherwise.
    pub(crate) fn enter_array(&mut self) -> bool {
        self.take(b'[')
    }

    /// The next member's name of an object that was entered, with its colon; `None` at the object's end.
    /// `first` starts true and is the caller's to keep.
    pub(crate) fn next_member(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>, ServingError> {
        if self.take(b'}') {
            return Ok(None);
        }
        if !std::mem::take(first) {
            if !self.take(b',') {
                return Err(self.fail(fault::OBJECT_COMMA));
            }
            self.skip_whitespace();
        }
        if self.peek() != b'"' {
            return Err(self.fail(fault::OBJECT_NAME));
        }
        let name = self.string()?;
        if !self.take(b':') {
            return Err(self.fail(fault::OBJECT_COLON));
        }
        Ok(Some(name))
    }

    /// Whether an array that was entered has another element, which is then next.
    pub(crate) fn next_element(&mut self, first: &mut bool) -> Result<bool, ServingError> {
        if self.take(b']') {
            return Ok(false);
        }
        if !std::mem::take(first) && !self.take(b',') {
            return Err(self.fail(fault::ARRAY_COMMA));
        }
        Ok(true)
    }

    /// A string if one is next; nothing is consumed otherwise.
    pub(crate) fn optional_string(&mut self) -> Result<Option<Cow<'a, str>>, ServingError> {
        self.skip_whitespace();
        if self.peek() == b'"' { self.string().map(Some) } else { Ok(None) }
    }

    /// Reads the string at whose opening quote the cursor stands. Borrowed unless it has escapes.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, ServingError> {
        let bytes = self.bytes;
        let start = self.at + 1;
        let rest = bytes.get(start..).unwrap_or_default();
        let length = plain_length(rest);
        if rest.get(length) == Some(&b'"') {
            let text = std::str::from_utf8(&rest[..length]).map_err(|_| self.fail(fault::STRING_ENCODING))?;
            self.at = start + length + 1;
            return Ok(Cow::Borrowed(text));
        }
        let mut owned = Vec::with_capacity(length + 16);
        self.string_into(&mut owned)?;
        String::from_utf8(owned).map(Cow::Owned).map_err(|_| self.fail(fault::STRING_ENCODING))
    }

    /// Appends the string at whose opening quote the cursor stands to `out`, as UTF-8.
    pub(super) fn string_into(&mut self, out: &mut Vec<u8>) -> Result<(), ServingError> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let length = plain_length(rest);
            let plain = &rest[..length];
            if std::str::from_utf8(plain).is_err() {
                return Err(self.fail(fault::STRING_ENCODING));
            }
            out.extend_from_slice(plain);
            self.at += length;
            match rest.get(length) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    let character = self.escape()?;
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(_) => return Err(self.fail(fault::STRING_ENCODING)),
                None => return Err(self.fail(fault::STRING_QUOTE)),
            }
        }
    }

    /// Reads the escape at whose backslash the cursor stands.
    fn escape(&mut self) -> Result<char, ServingError> {
        let kind = self.bytes.get(self.at + 1).copied().unwrap_or(0);
        let simple = match kind {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(self.fail(fault::STRING_ESCAPE)),
        };
        self.at += 2;
        Ok(simple)
    }

    fn unicode_escape(&mut self) -> Result<char, ServingError> {
        let first = self.hex4(self.at + 2)?;
        let high = match first {
            0xd800..=0xdbff => first - 0xd800,
            _ => {
                let character = char::from_u32(first).ok_or_else(|| self.lone_surrogate())?;
                self.at += 6;
                return Ok(character);
            }
        };
        if self.bytes.get(self.at + 6..self.at + 8) != Some(b"\\u") {
            return Err(self.lone_surrogate());
        }
        let second = self.hex4(self.at + 8)?;
        if !(0xdc00..=0xdfff).contains(&second) {
            return Err(self.lone_surrogate());
        }
        let code = 0x1_0000 + (high << 10) + (second - 0xdc00);
        let character = char::from_u32(code).ok_or_else(|| self.lone_surrogate())?;
        self.at += 12;
        Ok(character)
    }

    #[cold]
    fn lone_surrogate(&self) -> ServingError {
        ServingError::invalid(format!(
            "failed to parse the request JSON buffer: The surrogate pair in string is invalid. at {}",
            self.at
        ))
    }

    fn hex4(&self, at: usize) -> Result<u32, ServingError> {
        let digits = self.bytes.get(at..at + 4).ok_or_else(|| self.fail(fault::STRING_HEX))?;
        digits.iter().try_fold(0, |value, &byte| {
            let digit = char::from(byte).to_digit(16).ok_or_else(|| self.fail(fault::STRING_HEX))?;
            Ok(value << 4 | digit)
        })
    }

    /// Takes `word` if it is next.
    pub(super) fn word(&mut self, word: &[u8]) -> bool {
        let found = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word));
        if found {
            self.at += word.len();
        }
        found
    }

    /// A boolean if one is next; nothing is consumed otherwise.
    pub(crate) fn optional_bool(&mut self) -> Option<bool> {
        self.skip_whitespace();
        if self.word(b"true") {
            Some(true)
        } else if self.word(b"false") {
            Some(false)
        } else {
            None
        }
    }

    /// A number if one is next; nothing is consumed otherwise.
    pub(crate) fn optional_number(&mut self) -> Option<NumberValue> {
        self.skip_whitespace();
        let (value, end) = json_number::number(self.bytes, self.at)?;
        self.at = end;
        Some(value)
    }

    /// An unsigned integer if one is next; nothing is consumed otherwise.
    pub(crate) fn optional_unsigned(&mut self) -> Option<u64> {
        let start = self.at;
        match self.optional_number() {
            Some(NumberValue::Unsigned(value)) => Some(value),
            _ => {
                self.at = start;
                None
            }
        }
    }

    /// A parameter's value (W-22): `None` for null, an array or an object, of which nothing is consumed.
    pub(crate) fn parameter_value(&mut self) -> Result<Option<ParameterValue>, ServingError> {
        self.skip_whitespace();
        Ok(Some(match self.peek() {
            b'"' => ParameterValue::String(self.string()?.into()),
            b't' | b'f' => ParameterValue::Bool(self.optional_bool().ok_or_else(|| self.fail(fault::INVALID_VALUE))?),
            b'{' | b'[' => return Ok(None),
            b'n' if self.bytes[self.at..].starts_with(b"null") => return Ok(None),
            _ => match self.optional_number().ok_or_else(|| self.fail(fault::INVALID_VALUE))? {
                NumberValue::Unsigned(value) => match i64::try_from(value) {
                    Ok(value) => ParameterValue::Int(value),
                    Err(_) => ParameterValue::Uint(value),
                },
                NumberValue::Negative(value) => ParameterValue::Int(value),
                NumberValue::Float(value) => ParameterValue::Double(value),
            },
        }))
    }

    /// Passes one value of any kind, checking it.
    pub(crate) fn skip_value(&mut self) -> Result<(), ServingError> {
        // One bit per open level: 1 for an object. `closed` says that a value has just ended.
        let mut objects: u128 = 0;
        let mut depth: u32 = 0;
        loop {
            self.skip_whitespace();
            let opened = match self.peek() {
                b'{' => Some(true),
                b'[' => Some(false),
                b'"' => {
                    self.skip_string()?;
                    None
                }
                _ => {
                    self.skip_scalar()?;
                    None
                }
            };
            if let Some(object) = opened {
                if depth >= self.max_depth {
                    return Err(self.too_deep());
                }
                depth += 1;
                objects = objects << 1 | u128::from(object);
                self.at += 1;
                let close = if object { b'}' } else { b']' };
                if !self.take(close) {
                    if object {
                        self.skip_name()?;
                    }
                    continue;
                }
                depth -= 1;
                objects >>= 1;
            }
            // A value has ended: close as many levels as end here, or go on to the next value.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let object = objects & 1 == 1;
                if self.take(b',') {
                    if object {
                        self.skip_name()?;
                    }
                    break;
                }
                if !self.take(if object { b'}' } else { b']' }) {
                    return Err(self.fail(if object { fault::OBJECT_COMMA } else { fault::ARRAY_COMMA }));
                }
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    fn skip_name(&mut self) -> Result<(), ServingError> {
        self.skip_whitespace();
        if self.peek() != b'"' {
            return Err(self.fail(fault::OBJECT_NAME));
        }
        self.skip_string()?;
        if self.take(b':') { Ok(()) } else { Err(self.fail(fault::OBJECT_COLON)) }
    }

    fn skip_string(&mut self) -> Result<(), ServingError> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let length = plain_length(rest);
            if std::str::from_utf8(&rest[..length]).is_err() {
                return Err(self.fail(fault::STRING_ENCODING));
            }
            self.at += length;
            match rest.get(length) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.escape()?;
                }
                Some(_) => return Err(self.fail(fault::STRING_ENCODING)),
                None => return Err(self.fail(fault::STRING_QUOTE)),
            }
        }
    }

    fn skip_scalar(&mut self) -> Result<(), ServingError> {
        if self.word(b"true") || self.word(b"false") || self.word(b"null") || self.optional_number().is_some() {
            Ok(())
        } else {
            Err(self.fail(fault::INVALID_VALUE))
        }
    }

    /// Ends the text: only white space may follow.
    pub(crate) fn finish(&mut self) -> Result<(), ServingError> {
        self.skip_whitespace();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.fail(fault::TRAILING)) }
    }
}

/// Number of bytes before the first quote, backslash or control character: eight at a time.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quote = has_zero(word ^ (ONES * b'"' as u64));
        let backslash = has_zero(word ^ (ONES * b'\\' as u64));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let special = quote | backslash | control;
        // Borrows can set false bits only above a true one, so the lowest is always true.
        if special != 0 {
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = bytes.get(at..).unwrap_or_default();
    at + tail.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20).unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use hanok_backend::ErrorCode;
    use proptest::prelude::*;

    use super::*;

    fn skip(text: &str) -> Result<(), ServingError> {
        let mut cursor = JsonCursor::new(text.as_bytes(), 100);
        cursor.skip_value()?;
        cursor.finish()
    }

    #[test]
    fn w08_depth_is_bounded_with_a_constant_stack() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |levels: usize| format!("{}0{}", open.repeat(levels), close.repeat(levels));
            assert_eq!(skip(&nested(100)), Ok(()));
            let error = skip(&nested(101)).unwrap_err();
            assert_eq!(error.triton_code(), ErrorCode::InvalidArgument);
            assert!(error.message().contains("`100`"));
            assert!(skip(&nested(250_000)).is_err());
        }
    }

    #[test]
    fn faults_are_named_with_their_place() {
        let cases = [
            ("A", "Invalid value. at 0"),
            ("[1 2]", "Missing a comma or ] after an array element. at 3"),
            ("{\"a\" 1}", "Missing a colon after a name of object member. at 5"),
            ("{\"a\":1 \"b\"}", "Missing a comma or } after an object member. at 7"),
            ("{1:2}", "Missing a name for object member. at 1"),
            ("\"a", "Missing a closing quotation mark in string. at 2"),
            ("1 1", "The document root must not be followed by other values. at 2"),
            ("\"\\x\"", "Invalid escape character in string. at 1"),
        ];
        for (text, fault) in cases {
            let error = skip(text).unwrap_err();
            assert!(error.message().ends_with(fault), "{text}: {error}");
            assert_eq!(error.triton_code(), ErrorCode::Internal);
        }
    }

    #[test]
    fn lone_surrogates_are_invalid() {
        for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800A""#, r#""\ud800\ud800""#] {
            assert_eq!(skip(text).unwrap_err().triton_code(), ErrorCode::InvalidArgument, "{text}");
        }
        let mut cursor = JsonCursor::new(br#""a\ud83d\ude00\n\u00e9""#, 100);
        assert_eq!(cursor.string().unwrap(), "a\u{1f600}\n\u{e9}");
    }

    proptest! {
        #[test]
        fn plain_length_finds_the_first_special_byte(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let slow = bytes.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(bytes.len());
            prop_assert_eq!(plain_length(&bytes), slow);
        }

        #[test]
        fn any_string_is_read_as_serde_json_reads_it(text in any::<String>()) {
            let encoded = serde_json::to_string(&text).unwrap();
            let mut cursor = JsonCursor::new(encoded.as_bytes(), 100);
            let decoded = cursor.string().unwrap();
            prop_assert_eq!(decoded.as_ref(), text.as_str());
            prop_assert_eq!(cursor.finish(), Ok(()));
            prop_assert_eq!(skip(&encoded), Ok(()));
        }

        #[test]
        fn accepts_what_serde_json_accepts(text in r#"[\[\]{}",:0-9eE.+\-a tnrufls\\]{0,24}"#) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            // Numbers out of range are infinity for us and an error for serde_json.
            let range = theirs.as_ref().err().is_some_and(|error| error.to_string().contains("out of range"));
            prop_assert!(range || skip(&text).is_ok() == theirs.is_ok(), "{} {:?}", text, theirs);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut cursor = JsonCursor::new(&bytes, 100);
            let skipped = cursor.skip_value();
            prop_assert!(cursor.position() <= bytes.len() || skipped.is_err());
        }
    }
}
