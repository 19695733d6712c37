//! Tokens of the protobuf text format, with line and column.
//!
//! Follows the text format specification (protobuf.dev, "Text Format Language Specification"). Knows no field names;
//! never looks further than one token.

use super::escape::unescape;
use crate::ConfigError;

/// A place in the text; both numbers count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Position {
    pub(super) fn error(self, message: impl Into<String>) -> ConfigError {
        ConfigError::Syntax { line: self.line, column: self.column, message: message.into() }
    }
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    Identifier(String),
    /// Without sign; already known to fit 64 bits.
    Integer(u64),
    /// Without sign; also an integer literal that fits no 64 bits.
    Float(f64),
    /// After unescaping; adjacent literals are still apart.
    Text(Vec<u8>),
    Symbol(char),
    End,
}

/// A token and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) position: Position,
}

impl Token {
    /// The token as an error message shows it.
    pub(super) fn describe(&self) -> String {
        match &self.kind {
            TokenKind::Identifier(name) => format!("`{}`", shortened(name)),
            TokenKind::Integer(number) => format!("`{number}`"),
            TokenKind::Float(number) => format!("`{number}`"),
            TokenKind::Text(bytes) => format!("string `{}`", shortened(&String::from_utf8_lossy(bytes))),
            TokenKind::Symbol(symbol) => format!("`{symbol}`"),
            TokenKind::End => "end of text".to_owned(),
        }
    }
}

/// At most forty characters of `text`, for error messages.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 40;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain("...".chars()).collect()
    }
}

/// Reads tokens from text.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    rest: &'a str,
    position: Position,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.strip_prefix('\u{feff}').unwrap_or(text), position: Position { line: 1, column: 1 } }
    }

    /// The next token.
    pub(super) fn next_token(&mut self) -> Result<Token, ConfigError> {
        self.skip_blank();
        let position = self.position;
        let Some(first) = self.rest.chars().next() else { return Ok(Token { kind: TokenKind::End, position }) };
        let digit_follows = self.rest[first.len_utf8()..].starts_with(|next: char| next.is_ascii_digit());
        let kind = match first {
            'a'..='z' | 'A'..='Z' | '_' => TokenKind::Identifier(self.take_while(is_word).to_owned()),
            '0'..='9' => self.number()?,
            '.' if digit_follows => self.number()?,
            '"' | '\'' => TokenKind::Text(self.quoted(first)?),
            '{' | '}' | '<' | '>' | '[' | ']' | ':' | ',' | ';' | '-' | '.' | '/' => {
                self.advance(first.len_utf8());
                TokenKind::Symbol(first)
            }
            _ => return Err(position.error(format!("unexpected character `{}`", first.escape_debug()))),
        };
        Ok(Token { kind, position })
    }

    /// Consumes `length` bytes, which hold no line break.
    fn advance(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.position.column += taken.chars().count();
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, accepted: impl Fn(char) -> bool) -> &'a str {
        let length = self.rest.find(|letter| !accepted(letter)).unwrap_or(self.rest.len());
        self.advance(length)
    }

    fn skip_blank(&mut self) {
        loop {
            match self.rest.as_bytes().first() {
                Some(b'\n') => {
                    self.rest = &self.rest[1..];
                    self.position = Position { line: self.position.line + 1, column: 1 };
                }
                Some(b' ' | b'\t' | b'\r' | 0x0b | 0x0c) => {
                    self.advance(1);
                }
                Some(b'#') => {
                    self.take_while(|letter| letter != '\n');
                }
                _ => return,
            }
        }
    }

    fn number(&mut self) -> Result<TokenKind, ConfigError> {
        let position = self.position;
        let length = number_length(self.rest.as_bytes());
        let text = self.advance(length);
        if self.rest.starts_with(is_word) {
            return Err(position
                .error(format!("`{}` is not a number", shortened(&format!("{text}{}", self.take_while(is_word))))));
        }
        let refused = || position.error(format!("`{}` is not a number", shortened(text)));
        let lower = text.to_ascii_lowercase();
        if let Some(digits) = lower.strip_prefix("0x") {
            return u64::from_str_radix(digits, 16).map(TokenKind::Integer).map_err(|_| refused());
        }
        if lower.bytes().all(|byte| byte.is_ascii_digit()) {
            if lower.len() > 1 && lower.starts_with('0') {
                return u64::from_str_radix(&lower, 8).map(TokenKind::Integer).map_err(|_| refused());
            }
            if let Ok(number) = lower.parse() {
                return Ok(TokenKind::Integer(number));
            }
        }
        lower.strip_suffix('f').unwrap_or(&lower).parse().map(TokenKind::Float).map_err(|_| refused())
    }

    fn quoted(&mut self, quote: char) -> Result<Vec<u8>, ConfigError> {
        let start = self.position;
        self.advance(1);
        let mut escaped = false;
        let mut length = None;
        for (index, letter) in self.rest.char_indices() {
            match letter {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if letter == quote => {
                    length = Some(index);
                    break;
                }
                _ => {}
            }
        }
        let length = length.ok_or_else(|| start.error(format!("string is not closed with `{quote}` on its line")))?;
        let inner = self.position;
        let raw = self.advance(length);
        self.advance(1);
        unescape(raw).map_err(|(offset, message)| {
            let column = inner.column + raw[..offset].chars().count();
            Position { line: inner.line, column }.error(message)
        })
    }
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Length of the number at the start of `text`: hexadecimal, or digits, fraction, exponent and the suffix `f`.
fn number_length(text: &[u8]) -> usize {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if text.len() > 2 && text[0] == b'0' && text[1] | 0x20 == b'x' {
        return 2 + text[2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    }
    let mut end = digits(0);
    if text.get(end) == Some(&b'.') {
        end += 1 + digits(end + 1);
    }
    if text.get(end).is_some_and(|byte| byte | 0x20 == b'e') {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits((end + 1 + sign).min(text.len()));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    if text.get(end).is_some_and(|byte| byte | 0x20 == b'f') {
        end += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        let mut lexer = Lexer::new(text);
        let mut found = Vec::new();
        loop {
            let token = lexer.next_token().unwrap();
            if token.kind == TokenKind::End {
                return found;
            }
            found.push(token.kind);
        }
    }

    #[test]
    fn numbers_of_every_form() {
        assert_eq!(
            kinds("0 10 0x1F 017 1.5 .5 1. 2e3 2E-1 1f 1.5F 18446744073709551615"),
            vec![
                TokenKind::Integer(0),
                TokenKind::Integer(10),
                TokenKind::Integer(31),
                TokenKind::Integer(15),
                TokenKind::Float(1.5),
                TokenKind::Float(0.5),
                TokenKind::Float(1.0),
                TokenKind::Float(2000.0),
                TokenKind::Float(0.2),
                TokenKind::Float(1.0),
                TokenKind::Float(1.5),
                TokenKind::Integer(u64::MAX),
            ]
        );
        for wrong in ["08", "0x", "1abc", "0x10000000000000000", "1e", "é"] {
            assert!(Lexer::new(wrong).next_token().is_err(), "{wrong}");
        }
    }

    #[test]
    fn positions_count_lines_and_characters() {
        let mut lexer = Lexer::new("# ä comment\n\r\n  'ä' x");
        assert_eq!(lexer.next_token().unwrap().position, Position { line: 3, column: 3 });
        assert_eq!(lexer.next_token().unwrap().position, Position { line: 3, column: 7 });
    }
}
