//! A column as cells of a declared type, row by row.

use hanok_features::{ElementType, FeatureType};
use parquet::data_type::ByteArray;

use super::cell::{empty_bytes, push};
use super::leaf::Leaf;
use crate::error::OfflineError;

/// Values of one type; also at places where none is there.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    /// Also instants, in microseconds.
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    /// Also texts, which are UTF-8.
    Bytes(Vec<ByteArray>),
}

impl Values {
    const fn new(element: ElementType) -> Self {
        match element {
            ElementType::Bool => Self::Bool(Vec::new()),
            ElementType::Int32 => Self::Int32(Vec::new()),
            ElementType::Int64 | ElementType::Timestamp => Self::Int64(Vec::new()),
            ElementType::Float32 => Self::Float32(Vec::new()),
            ElementType::Float64 => Self::Float64(Vec::new()),
            ElementType::String | ElementType::Bytes => Self::Bytes(Vec::new()),
        }
    }

    /// How many.
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::Int32(values) => values.len(),
            Self::Int64(values) => values.len(),
            Self::Float32(values) => values.len(),
            Self::Float64(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }

    fn push_nothing(&mut self) {
        match self {
            Self::Bool(values) => values.push(false),
            Self::Int32(values) => values.push(0),
            Self::Int64(values) => values.push(0),
            Self::Float32(values) => values.push(0.0),
            Self::Float64(values) => values.push(0.0),
            Self::Bytes(values) => values.push(empty_bytes()),
        }
    }
}

/// Cells of a declared type.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) data_type: FeatureType,
    /// Of the cells; of lists, of their elements.
    pub(crate) values: Values,
    /// For each row, whether a value is there.
    pub(crate) present: Vec<bool>,
    /// For each row, where the elements of its list end; empty where cells are no lists.
    pub(crate) ends: Vec<usize>,
}

impl Column {
    /// No rows.
    pub(crate) const fn new(data_type: FeatureType) -> Self {
        Self { data_type, values: Values::new(data_type.element), present: Vec::new(), ends: Vec::new() }
    }

    /// The places of a row's elements.
    pub(crate) fn elements(&self, row: usize) -> std::ops::Range<usize> {
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        start..self.ends.get(row).copied().unwrap_or(start)
    }

    /// Appends the rows of a leaf that are kept; `first` is the row's number in its file, for messages.
    pub(crate) fn append(
        &mut self,
        leaf: &Leaf,
        kept: Option<&[bool]>,
        place: &dyn Fn(usize) -> String,
    ) -> Result<(), OfflineError> {
        let element = self.data_type.element;
        if leaf.is_list() != self.data_type.list && leaf.kind != super::Kind::Cell {
            let found = if leaf.is_list() { "lists" } else { leaf.kind.name() };
            return Err(OfflineError::invalid(
                place(0),
                format!("expected a column of `{}`, got {found}", self.data_type),
            ));
        }
        if self.data_type.list {
            return self.append_lists(leaf, kept, place);
        }
        self.present.reserve(leaf.rows);
        leaf.each(|row, at| {
            if kept.is_some_and(|kept| !kept[row]) {
                return Ok(());
            }
            let pushed = match at {
                Some(at) => push(&mut self.values, element, leaf, at)
                    .map_err(|reason| OfflineError::invalid(place(row), reason))?,
                None => false,
            };
            if !pushed {
                self.values.push_nothing();
            }
            self.present.push(pushed);
            Ok(())
        })
    }

    fn append_lists(
        &mut self,
        leaf: &Leaf,
        kept: Option<&[bool]>,
        place: &dyn Fn(usize) -> String,
    ) -> Result<(), OfflineError> {
        let element = self.data_type.element;
        if leaf.kind == super::Kind::Cell {
            return self.append_list_texts(leaf, kept, place);
        }
        let (mut row, mut next) = (0_usize, 0_usize);
        for (at, level) in leaf.definition.iter().enumerate() {
            if leaf.repetition[at] == 0 {
                row += usize::from(at > 0);
                if kept.is_none_or(|kept| kept[row]) {
                    // A list that is there but empty ends one level before its elements begin.
                    self.present.push(*level >= leaf.in_list - 1);
                    self.ends.push(self.values.len());
                }
            }
            let there = *level == leaf.most_defined;
            if kept.is_none_or(|kept| kept[row]) && *level >= leaf.in_list {
                let fault = |reason: String| OfflineError::invalid(place(row), reason);
                let pushed = there && push(&mut self.values, element, leaf, next).map_err(fault)?;
                if !pushed {
                    return Err(fault(format!("expected `{}`, got a list with null in it", self.data_type)));
                }
                if let Some(end) = self.ends.last_mut() {
                    *end = self.values.len();
                }
            }
            next += usize::from(there);
        }
        Ok(())
    }

    /// Lists in CSV are JSON arrays, as `hanok features put` reads them.
    fn append_list_texts(
        &mut self,
        leaf: &Leaf,
        kept: Option<&[bool]>,
        place: &dyn Fn(usize) -> String,
    ) -> Result<(), OfflineError> {
        use hanok_features::Value;
        let super::Physical::Bytes(cells) = &leaf.values else { return Ok(()) };
        for (row, cell) in cells.iter().enumerate().filter(|(row, _)| kept.is_none_or(|kept| kept[*row])) {
            let text = cell.data().trim_ascii();
            let fault = |reason: String| OfflineError::invalid(place(row), reason);
            if !text.is_empty() {
                let json = serde_json::from_slice(text)
                    .map_err(|_| fault(format!("expected a JSON array for `{}`, got another text", self.data_type)))?;
                let Value::List(_, elements) = Value::from_json(&json, self.data_type).map_err(fault)? else {
                    continue;
                };
                elements.iter().for_each(|element| self.push_value(element));
            }
            self.present.push(!text.is_empty());
            self.ends.push(self.values.len());
        }
        Ok(())
    }

    /// Bytes of the values from the one at `from` on.
    pub(crate) fn bytes(&self, from: usize) -> usize {
        let of_values = |size: usize| (self.values.len() - from) * size;
        match &self.values {
            Values::Bool(_) => of_values(1),
            Values::Int32(_) | Values::Float32(_) => of_values(4),
            Values::Int64(_) | Values::Float64(_) => of_values(8),
            Values::Bytes(values) => {
                of_values(size_of::<ByteArray>()) + values[from..].iter().map(ByteArray::len).sum::<usize>()
            }
        }
    }

    /// Puts the texts from the one at `from` on into memory of their own: each holds the page of a file that it is from.
    pub(crate) fn let_go_of_pages(&mut self, from: usize) {
        let Values::Bytes(values) = &mut self.values else { return };
        let texts = &mut values[from..];
        let mut together = Vec::with_capacity(texts.iter().map(ByteArray::len).sum());
        texts.iter().for_each(|text| together.extend_from_slice(text.data()));
        let together = bytes::Bytes::from(together);
        let mut start = 0;
        for text in texts {
            let end = start + text.len();
            *text = ByteArray::from(together.slice(start..end));
            start = end;
        }
    }

    /// Makes empty texts null: in CSV a key that is empty is none.
    pub(crate) fn empty_is_null(&mut self) {
        if let Values::Bytes(texts) = &self.values {
            for (present, text) in self.present.iter_mut().zip(texts) {
                *present = *present && !text.is_empty();
            }
        }
    }

    /// Appends a cell; none is null. A value of another type counts as null.
    pub(crate) fn push(&mut self, value: Option<&hanok_features::Value>) {
        use hanok_features::Value;
        let fits = value.filter(|value| value.feature_type() == self.data_type);
        match fits {
            Some(Value::List(_, elements)) => elements.iter().for_each(|element| self.push_value(element)),
            Some(value) => self.push_value(value),
            None if !self.data_type.list => self.values.push_nothing(),
            None => {}
        }
        self.present.push(fits.is_some());
        if self.data_type.list {
            self.ends.push(self.values.len());
        }
    }

    fn push_value(&mut self, value: &hanok_features::Value) {
        use hanok_features::Value;
        match (&mut self.values, value) {
            (Values::Bool(values), Value::Bool(value)) => values.push(*value),
            (Values::Int32(values), Value::Int32(value)) => values.push(*value),
            (Values::Int64(values), Value::Int64(value) | Value::Timestamp(value)) => values.push(*value),
            (Values::Float32(values), Value::Float32(value)) => values.push(*value),
            (Values::Float64(values), Value::Float64(value)) => values.push(*value),
            (Values::Bytes(values), Value::String(text)) => values.push(text.clone().into_bytes().into()),
            (Values::Bytes(values), Value::Bytes(bytes)) => values.push(bytes.clone().into()),
            (values, _) => values.push_nothing(),
        }
    }
}
