//! Escape sequences within quoted strings of the text format.

/// Bytes that `raw` (the text between the quotes) stands for; the error is a byte offset in `raw` and a message.
pub(super) fn unescape(raw: &str) -> Result<Vec<u8>, (usize, String)> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(index) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..index]);
        let sequence = &rest[index..];
        let length = escape(sequence, &mut bytes).map_err(|message| (raw.len() - sequence.len(), message))?;
        rest = &sequence[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// Appends what the escape at the start of `sequence` stands for; returns its length.
fn escape(sequence: &str, bytes: &mut Vec<u8>) -> Result<usize, String> {
    let text = sequence.as_bytes();
    let digits = |from: usize, most: usize, accepted: fn(&u8) -> bool| {
        text[from.min(text.len())..].iter().take(most).take_while(|byte| accepted(byte)).count()
    };
    let refused =
        || format!("`{}` is not an escape sequence", sequence.chars().take(2).collect::<String>().escape_debug());
    let simple = match text.get(1) {
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'a') => 7,
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(b'v') => 11,
        Some(&other @ (b'\\' | b'\'' | b'"' | b'?')) => other,
        Some(b'0'..=b'7') => {
            let length = digits(1, 3, |byte| matches!(byte, b'0'..=b'7'));
            let value = u32::from_str_radix(&sequence[1..=length], 8).map_err(|_| refused())?;
            bytes.push(u8::try_from(value).map_err(|_| "octal escape exceeds one byte".to_owned())?);
            return Ok(1 + length);
        }
        Some(b'x' | b'X') => {
            let length = digits(2, 2, u8::is_ascii_hexdigit);
            bytes.push(u8::from_str_radix(&sequence[2..2 + length], 16).map_err(|_| refused())?);
            return Ok(2 + length);
        }
        Some(&width @ (b'u' | b'U')) => {
            return unicode(sequence, if width == b'u' { 4 } else { 8 }, bytes).ok_or_else(refused);
        }
        _ => return Err(refused()),
    };
    bytes.push(simple);
    Ok(2)
}

/// `\uXXXX` (a surrogate pair counts as one character) or `\UXXXXXXXX`.
fn unicode(sequence: &str, width: usize, bytes: &mut Vec<u8>) -> Option<usize> {
    let code = |from: usize| {
        let digits = sequence.get(from..from + width)?;
        if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) { u32::from_str_radix(digits, 16).ok() } else { None }
    };
    let first = code(2)?;
    let (point, length) = if width == 4 && (0xd800..0xdc00).contains(&first) && sequence.get(6..8) == Some("\\u") {
        let second = code(8).filter(|second| (0xdc00..0xe000).contains(second))?;
        (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
    } else {
        (first, 2 + width)
    };
    let letter = char::from_u32(point)?;
    bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    Some(length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn every_escape() {
        let raw = r#"a\n\r\t\a\b\f\v\\\'\"\?\101\x41\X4\u00e9\U0001F600\ud83d\ude00"#;
        let expected = "a\n\r\t\u{7}\u{8}\u{c}\u{b}\\'\"?AA\u{4}\u{e9}\u{1f600}\u{1f600}";
        assert_eq!(unescape(raw).unwrap(), expected.as_bytes());
        assert_eq!(unescape(r"\377").unwrap(), [255]);
    }

    #[test]
    fn wrong_escapes_say_where() {
        for wrong in
            [r"ab\q", r"ab\x", r"ab\u12", r"ab\ud800", r"ab\U00110000", r"ab\400", "ab\\", r"ab\u+123", r"ab\é"]
        {
            assert_eq!(unescape(wrong).unwrap_err().0, 2, "{wrong}");
        }
    }
}
