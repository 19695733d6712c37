//! Online stores over HTTP: one client, and a dialect for each product.
//!
//! A dialect makes requests of a read and takes their answers apart; it performs no I/O. The requests of a read go out
//! together, each on a connection of its own from the pool.

mod client;
mod feast;

use std::fmt::Debug;
use std::ops::Range;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde_json::Value as Json;

use client::Client;

use super::{OnlineStore, ReadFuture, StoreRead, ViewRead};
use crate::columns::Columns;
use crate::declared::{HttpDialect, HttpStoreDeclaration};
use crate::entity_key::{KeyParts, KeyValue};
use crate::error::FeatureError;

/// One request of a read.
#[derive(Debug)]
struct Call {
    method: http::Method,
    /// Path and query, behind the store's address.
    path: String,
    /// JSON; empty for none.
    body: Vec<u8>,
    /// Rows of the answer that it is for.
    rows: Range<usize>,
}

/// How a product is asked, and what it answers.
trait Dialect: Send + Sync + Debug {
    /// The requests for a read of one view.
    fn calls(&self, read: &ViewRead) -> Result<Vec<Call>, FeatureError>;

    /// Fills the rows of a call with its answer.
    fn take(&self, read: &ViewRead, call: &Call, reply: &Json, columns: &mut Columns) -> Result<(), FeatureError>;
}

/// A store over HTTP.
#[derive(Debug)]
pub struct HttpStore {
    client: Client,
    dialect: Box<dyn Dialect>,
}

impl HttpStore {
    /// Opens a store; connects at the first read.
    ///
    /// # Errors
    /// `Unavailable` for an address that is none, or a token's file that cannot be read.
    pub fn open(declared: &HttpStoreDeclaration) -> Result<Self, FeatureError> {
        let dialect: Box<dyn Dialect> = match &declared.dialect {
            HttpDialect::Feast => Box::new(feast::Feast),
        };
        Ok(Self { client: Client::open(declared)?, dialect })
    }
}

impl OnlineStore for HttpStore {
    fn read<'a>(&'a self, read: &'a StoreRead) -> ReadFuture<'a> {
        Box::pin(async move {
            let mut answers: Vec<Columns> = read.views.iter().map(ViewRead::empty_answer).collect();
            let mut waiting = FuturesUnordered::new();
            for (index, view) in read.views.iter().enumerate() {
                for call in self.dialect.calls(view)? {
                    waiting.push(async move { (index, self.client.send(&call).await, call) });
                }
            }
            while let Some((index, reply, call)) = waiting.next().await {
                if let (Some(view), Some(columns)) = (read.views.get(index), answers.get_mut(index)) {
                    self.dialect.take(view, &call, &reply?, columns)?;
                }
            }
            Ok(answers)
        })
    }
}

/// A store's answer that is none.
fn misunderstood(detail: impl std::fmt::Display) -> FeatureError {
    FeatureError::unavailable("the feature store answers what is no answer", detail)
}

/// The values of the join keys by row, as JSON.
fn key_values(read: &ViewRead, rows: Range<usize>) -> Result<Vec<Vec<(String, Json)>>, FeatureError> {
    let one = |key: &[u8]| {
        let parts = KeyParts::read(key)?;
        let json = |value: &KeyValue<'_>| match value {
            KeyValue::String(text) => Json::from(*text),
            KeyValue::Bytes(bytes) => Json::from(String::from_utf8_lossy(bytes)),
            KeyValue::Int(number) => Json::from(*number),
        };
        let values = parts.names.iter().zip(&parts.values).map(|(name, (_, value))| ((*name).to_owned(), json(value)));
        Ok(values.collect())
    };
    read.keys.iter().skip(rows.start).take(rows.len()).map(one).collect()
}
