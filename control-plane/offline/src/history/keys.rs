//! Entity keys as small numbers: equal keys have equal numbers, whatever they are made of.

use foldhash::fast::RandomState;
use hanok_features::KEY_BYTES;
use hashbrown::HashMap;

use crate::table::{Column, Values};

/// In place of a key's number: one of its parts is null, or it is not known.
pub(crate) const NO_KEY: u32 = u32::MAX;

/// For each row 0, or [`NO_KEY`] where a part of its key is null: for those who tell keys apart by nothing.
pub(crate) fn present_keys(columns: &[&Column]) -> Result<Vec<u32>, (usize, String)> {
    let rows = columns.first().map_or(0, |column| column.present.len());
    let mut found = vec![0; rows];
    for column in columns {
        for (one, code) in found.iter_mut().zip(codes(column, |_| 0, |_| 0)?) {
            *one = (*one).max(code);
        }
    }
    Ok(found)
}

/// Numbers of keys.
#[derive(Debug, Default)]
pub(crate) struct KeyIndex {
    parts: Vec<Part>,
    /// Numbers of (the number so far, the number of the next part).
    pairs: Vec<HashMap<u64, u32, RandomState>>,
}

#[derive(Debug, Default)]
struct Part {
    numbers: HashMap<i64, u32, RandomState>,
    texts: HashMap<Vec<u8>, u32, RandomState>,
}

impl KeyIndex {
    /// An index of keys with so many parts.
    pub(crate) fn new(parts: usize) -> Self {
        Self {
            parts: (0..parts).map(|_| Part::default()).collect(),
            pairs: (1..parts).map(|_| HashMap::default()).collect(),
        }
    }

    /// How many keys it knows.
    pub(crate) fn len(&self) -> usize {
        let part = |part: &Part| part.numbers.len().max(part.texts.len());
        self.pairs.last().map_or_else(|| self.parts.first().map_or(0, part), HashMap::len)
    }

    /// The numbers of these rows' keys; keys that are not known become known. Fails with the row and what is wrong.
    pub(crate) fn learn(&mut self, columns: &[&Column]) -> Result<Vec<u32>, (usize, String)> {
        let Some((first, others)) = columns.split_first() else { return Ok(Vec::new()) };
        let (Some(part), parts) =
            self.parts.split_first_mut().map_or((None, &mut [][..]), |(one, more)| (Some(one), more))
        else {
            return Ok(Vec::new());
        };
        let mut codes = part.learn(first)?;
        for ((column, part), pairs) in others.iter().zip(parts).zip(&mut self.pairs) {
            for (code, next) in codes.iter_mut().zip(part.learn(column)?) {
                *code = match (*code, next) {
                    (NO_KEY, _) | (_, NO_KEY) => NO_KEY,
                    (code, next) => {
                        let number = number(pairs.len());
                        *pairs.entry(pair(code, next)).or_insert(number)
                    }
                };
            }
        }
        Ok(codes)
    }

    /// The numbers of these rows' keys, [`NO_KEY`] where they are not known.
    pub(crate) fn find(&self, columns: &[&Column]) -> Result<Vec<u32>, (usize, String)> {
        let mut codes = match (self.parts.first(), columns.first()) {
            (Some(part), Some(column)) => part.find(column)?,
            _ => Vec::new(),
        };
        for ((column, part), pairs) in columns.iter().zip(&self.parts).skip(1).zip(&self.pairs) {
            for (code, next) in codes.iter_mut().zip(part.find(column)?) {
                *code = match (*code, next) {
                    (NO_KEY, _) | (_, NO_KEY) => NO_KEY,
                    (code, next) => pairs.get(&pair(code, next)).copied().unwrap_or(NO_KEY),
                };
            }
        }
        Ok(codes)
    }
}

fn pair(code: u32, next: u32) -> u64 {
    u64::from(code) << 32 | u64::from(next)
}

/// Rows are counted in 32 bits, and there is at most one key a row.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(NO_KEY)
}

impl Part {
    fn learn(&mut self, column: &Column) -> Result<Vec<u32>, (usize, String)> {
        let Self { numbers, texts } = self;
        codes(
            column,
            |value| {
                let next = number(numbers.len());
                *numbers.entry(value).or_insert(next)
            },
            |text| {
                let next = number(texts.len());
                *texts.entry_ref(text).or_insert(next)
            },
        )
    }

    fn find(&self, column: &Column) -> Result<Vec<u32>, (usize, String)> {
        codes(
            column,
            |value| self.numbers.get(&value).copied().unwrap_or(NO_KEY),
            |text| self.texts.get(text).copied().unwrap_or(NO_KEY),
        )
    }
}

fn codes(
    column: &Column,
    mut of_number: impl FnMut(i64) -> u32,
    mut of_text: impl FnMut(&[u8]) -> u32,
) -> Result<Vec<u32>, (usize, String)> {
    let numbers = |numbers: &mut dyn Iterator<Item = i64>| -> Vec<u32> {
        let code = |(value, present): (i64, &bool)| if *present { of_number(value) } else { NO_KEY };
        numbers.zip(&column.present).map(code).collect()
    };
    match &column.values {
        Values::Int32(values) => Ok({
            let mut numbers = numbers;
            numbers(&mut values.iter().map(|value| i64::from(*value)))
        }),
        Values::Int64(values) => Ok({
            let mut numbers = numbers;
            numbers(&mut values.iter().copied())
        }),
        Values::Bytes(values) => {
            let mut codes = Vec::with_capacity(values.len());
            // Neighbours are often one text, and in a dictionary one place of memory.
            let mut last: Option<(&[u8], u32)> = None;
            for (row, (text, present)) in values.iter().zip(&column.present).enumerate() {
                let text = text.data();
                let code = match last {
                    _ if !*present => NO_KEY,
                    Some((known, code)) if known == text => code,
                    _ if text.len() > KEY_BYTES => {
                        let reason = format!("expected a key of at most `{KEY_BYTES}` bytes, got `{}`", text.len());
                        return Err((row, reason));
                    }
                    _ => {
                        let code = of_text(text);
                        last = Some((text, code));
                        code
                    }
                };
                codes.push(code);
            }
            Ok(codes)
        }
        Values::Bool(_) | Values::Float32(_) | Values::Float64(_) => {
            Err((0, "expected a column that can be a key, got another".to_owned()))
        }
    }
}
