//! Recursive-descent parser from tokens to a dynamic message.
//!
//! Grammar: protobuf.dev, "Text Format Language Specification". Where we differ: extensions and `Any` do not exist
//! here, and a field, oneof or map key that is given twice is refused even where the second value would win.

use std::collections::{HashMap, HashSet};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::lexer::{Lexer, Position, Token, TokenKind};
use crate::ConfigError;
use crate::scalar::{float_value, integer_value, kind_name};
use crate::suggestion::did_you_mean;

/// One token of look-ahead over a lexer.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, ConfigError> {
        let mut lexer = Lexer::new(text);
        let token = lexer.next_token()?;
        Ok(Self { lexer, token })
    }

    /// The whole text as one message.
    pub(super) fn document(mut self, descriptor: &MessageDescriptor) -> Result<DynamicMessage, ConfigError> {
        self.fields(descriptor, &TokenKind::End)
    }

    fn advance(&mut self) -> Result<Token, ConfigError> {
        let next = self.lexer.next_token()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn at(&self, symbol: char) -> bool {
        self.token.kind == TokenKind::Symbol(symbol)
    }

    fn accept(&mut self, symbol: char) -> Result<bool, ConfigError> {
        let found = self.at(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn unexpected<T>(&self, expected: &str) -> Result<T, ConfigError> {
        Err(self.token.position.error(format!("expected {expected}, got {}", self.token.describe())))
    }

    /// Fields up to `end`, which is consumed unless it is the end of the text.
    fn fields(&mut self, descriptor: &MessageDescriptor, end: &TokenKind) -> Result<DynamicMessage, ConfigError> {
        let mut message = DynamicMessage::new(descriptor.clone());
        let mut given = Given::default();
        while self.token.kind != *end {
            let token = self.advance()?;
            let TokenKind::Identifier(name) = &token.kind else {
                return Err(token.position.error(format!("expected a field name, got {}", token.describe())));
            };
            let field =
                descriptor.get_field_by_name(name).ok_or_else(|| unknown_field(descriptor, name, token.position))?;
            given.note(&field, token.position)?;
            self.field(&mut message, &field)?;
            if !self.accept(',')? {
                self.accept(';')?;
            }
        }
        if *end != TokenKind::End {
            self.advance()?;
        }
        Ok(message)
    }

    /// What follows a field's name.
    fn field(&mut self, message: &mut DynamicMessage, field: &FieldDescriptor) -> Result<(), ConfigError> {
        let kind = field.kind();
        let colon = self.accept(':')?;
        if !colon && kind.as_message().is_none() {
            return self.unexpected("`:`");
        }
        if !self.at('[') {
            let position = self.token.position;
            let value = self.value(&kind)?;
            return store(message, field, value, position);
        }
        if !field.is_list() && !field.is_map() {
            return self.unexpected(&kind_name(&kind));
        }
        self.advance()?;
        if self.accept(']')? {
            return Ok(());
        }
        loop {
            let position = self.token.position;
            let value = self.value(&kind)?;
            store(message, field, value, position)?;
            if self.accept(']')? {
                return Ok(());
            }
            if !self.accept(',')? {
                return self.unexpected("`,` or `]`");
            }
        }
    }

    fn value(&mut self, kind: &Kind) -> Result<Value, ConfigError> {
        match kind {
            Kind::Message(descriptor) => {
                let end = match self.token.kind {
                    TokenKind::Symbol('{') => '}',
                    TokenKind::Symbol('<') => '>',
                    _ => return self.unexpected("`{`"),
                };
                self.advance()?;
                self.fields(descriptor, &TokenKind::Symbol(end)).map(Value::Message)
            }
            Kind::String | Kind::Bytes => self.text(kind),
            _ => self.scalar(kind),
        }
    }

    /// One or more adjacent string literals.
    fn text(&mut self, kind: &Kind) -> Result<Value, ConfigError> {
        let position = self.token.position;
        if !matches!(self.token.kind, TokenKind::Text(_)) {
            return self.unexpected(&kind_name(kind));
        }
        let mut bytes = Vec::new();
        while let TokenKind::Text(part) = &self.token.kind {
            bytes.extend_from_slice(part);
            self.advance()?;
        }
        if matches!(kind, Kind::Bytes) {
            return Ok(Value::Bytes(bytes.into()));
        }
        String::from_utf8(bytes).map(Value::String).map_err(|_| position.error("string is not valid UTF-8"))
    }

    /// A number, truth value or enum name.
    fn scalar(&mut self, kind: &Kind) -> Result<Value, ConfigError> {
        let position = self.token.position;
        let negative = self.accept('-')?;
        let sign = if negative { "-" } else { "" };
        let expected = kind_name(kind);
        let token = self.advance()?;
        let refused = || {
            position
                .error(format!("expected {expected}, got {}", token.describe().replacen('`', &format!("`{sign}"), 1)))
        };
        let value = match (kind, &token.kind) {
            (Kind::Bool, TokenKind::Identifier(word)) if !negative => match word.as_str() {
                "true" | "True" | "t" => Some(Value::Bool(true)),
                "false" | "False" | "f" => Some(Value::Bool(false)),
                _ => None,
            },
            (Kind::Bool, TokenKind::Integer(number @ (0 | 1))) if !negative => Some(Value::Bool(*number == 1)),
            (Kind::Enum(enumeration), TokenKind::Identifier(name)) if !negative => {
                let Some(found) = enumeration.get_value_by_name(name) else {
                    let names: Vec<_> = enumeration.values().map(|value| value.name().to_owned()).collect();
                    let hint = did_you_mean(name, names.iter().map(String::as_str));
                    return Err(position.error(format!("unknown name `{name}` of enum `{}`{hint}", enumeration.name())));
                };
                Some(Value::EnumNumber(found.number()))
            }
            (Kind::Enum(enumeration), TokenKind::Integer(number)) => signed(*number, negative)
                .try_into()
                .ok()
                .filter(|&number| enumeration.get_value(number).is_some())
                .map(Value::EnumNumber),
            (Kind::Float | Kind::Double, kind_of_token) => {
                float_of(kind_of_token).and_then(|number| float_value(kind, if negative { -number } else { number }))
            }
            (_, TokenKind::Integer(number)) => integer_value(kind, signed(*number, negative)),
            _ => None,
        };
        value.ok_or_else(refused)
    }
}

/// Fields of one message that were already given.
#[derive(Debug, Default)]
struct Given {
    fields: HashSet<u32>,
    oneofs: HashMap<String, String>,
}

impl Given {
    fn note(&mut self, field: &FieldDescriptor, position: Position) -> Result<(), ConfigError> {
        if field.is_list() || field.is_map() {
            return Ok(());
        }
        if !self.fields.insert(field.number()) {
            return Err(position.error(format!("field `{}` is given twice", field.name())));
        }
        let Some(oneof) = field.containing_oneof() else { return Ok(()) };
        match self.oneofs.insert(oneof.name().to_owned(), field.name().to_owned()) {
            None => Ok(()),
            Some(other) => {
                Err(position.error(format!("field `{}` excludes `{other}`, which is given already", field.name())))
            }
        }
    }
}

fn signed(number: u64, negative: bool) -> i128 {
    if negative { -i128::from(number) } else { i128::from(number) }
}

fn float_of(kind: &TokenKind) -> Option<f64> {
    match kind {
        #[allow(clippy::cast_precision_loss, reason = "a float field holds the nearest number")]
        TokenKind::Integer(number) => Some(*number as f64),
        TokenKind::Float(number) => Some(*number),
        TokenKind::Identifier(word) => match word.to_ascii_lowercase().as_str() {
            "inf" | "infinity" => Some(f64::INFINITY),
            "nan" => Some(f64::NAN),
            _ => None,
        },
        _ => None,
    }
}

fn unknown_field(descriptor: &MessageDescriptor, name: &str, position: Position) -> ConfigError {
    let names: Vec<_> = descriptor.fields().map(|field| field.name().to_owned()).collect();
    let hint = did_you_mean(name, names.iter().map(String::as_str));
    position.error(format!("unknown field `{name}` in `{}`{hint}", descriptor.name()))
}

/// Sets or appends `value`.
fn store(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
    value: Value,
    position: Position,
) -> Result<(), ConfigError> {
    let slot = message.get_field_mut(field);
    match (slot, value) {
        (Value::List(values), value) => values.push(value),
        (Value::Map(entries), Value::Message(entry)) => {
            let descriptor = field.kind();
            let Some((key, value)) = map_entry(descriptor.as_message(), entry) else {
                return Err(position.error(format!("field `{}` takes entries of a key and a value", field.name())));
            };
            if entries.contains_key(&key) {
                return Err(position.error(format!("key {} is given twice in `{}`", key_name(&key), field.name())));
            }
            entries.insert(key, value);
        }
        (slot, value) => *slot = value,
    }
    Ok(())
}

/// Key and value of a parsed map entry; an absent one is the type's default.
fn map_entry(descriptor: Option<&MessageDescriptor>, mut entry: DynamicMessage) -> Option<(MapKey, Value)> {
    let descriptor = descriptor.filter(|descriptor| descriptor.is_map_entry())?;
    let (key, value) = (descriptor.map_entry_key_field(), descriptor.map_entry_value_field());
    let key = entry.take_field(&key).unwrap_or_else(|| Value::default_value_for_field(&key));
    let value = entry.take_field(&value).unwrap_or_else(|| Value::default_value_for_field(&value));
    Some((key.into_map_key()?, value))
}

/// A map key as text.
fn key_name(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => format!("`{key}`"),
        MapKey::I32(key) => format!("`{key}`"),
        MapKey::I64(key) => format!("`{key}`"),
        MapKey::U32(key) => format!("`{key}`"),
        MapKey::U64(key) => format!("`{key}`"),
        MapKey::String(key) => format!("`{key}`"),
    }
}
