//! What a request brings: keys by name, and values that it knows better than the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::byte_column::ByteColumn;
use crate::entity_key::KeyValue;
use crate::tensor_format::InputForm;
use crate::value::Value;

/// The values of one join key, one a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyColumn {
    /// Texts, UTF-8, or bytes.
    Bytes(ByteColumn),
    /// Whole numbers.
    Int(Vec<i64>),
}

impl KeyColumn {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(column) => column.len(),
            Self::Int(numbers) => numbers.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a row.
    #[must_use]
    pub fn value(&self, row: usize) -> KeyValue<'_> {
        match self {
            Self::Bytes(column) => KeyValue::Bytes(column.get(row).unwrap_or_default()),
            Self::Int(numbers) => KeyValue::Int(numbers.get(row).copied().unwrap_or_default()),
        }
    }
}

/// Values that the client gives itself: by input name, one a row; none where the store is to be asked.
pub type Overrides = BTreeMap<String, Vec<Option<Value>>>;

/// A request for the features of a service.
#[derive(Clone, Debug, Default)]
pub struct ResolveRequest {
    /// How many rows.
    pub rows: usize,
    /// Join keys by name. Those of views whose every feature is overridden need not be there.
    pub keys: BTreeMap<String, KeyColumn>,
    /// What the client gives itself.
    pub overrides: Overrides,
    /// Places in the service of features that the caller fills in itself: their columns are left without values.
    pub filled_in: Vec<usize>,
    /// What is to become of the values, by place in the service: a stored value that does not fit counts as one that cannot be
    /// used. Empty where nothing is known.
    pub forms: Arc<[Option<InputForm>]>,
    /// When the answer is of no use any more; the service's own deadline counts too.
    pub deadline: Option<Instant>,
}

impl ResolveRequest {
    /// A request for `rows` rows.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Gives the texts of a join key.
    #[must_use]
    pub fn texts<T: AsRef<[u8]>>(mut self, key: &str, values: impl IntoIterator<Item = T>) -> Self {
        self.keys.insert(key.to_owned(), KeyColumn::Bytes(values.into_iter().collect()));
        self
    }

    /// Gives the numbers of a join key.
    #[must_use]
    pub fn numbers(mut self, key: &str, values: impl IntoIterator<Item = i64>) -> Self {
        self.keys.insert(key.to_owned(), KeyColumn::Int(values.into_iter().collect()));
        self
    }

    /// Gives the values of a feature.
    #[must_use]
    pub fn overriding(mut self, input: &str, values: impl IntoIterator<Item = Option<Value>>) -> Self {
        self.overrides.insert(input.to_owned(), values.into_iter().collect());
        self
    }
}
