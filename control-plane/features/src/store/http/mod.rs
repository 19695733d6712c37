//! Online stores over HTTP: one client, and a dialect for each product.
//!
//! A dialect makes requests of a read and takes their answers apart; it performs no I/O. The requests of a read go out
//! together, up to 32 at a time, each on a connection of its own from the pool.

mod client;
mod credential;
mod feast;
mod hopsworks;
mod native;
mod sagemaker;
mod signature;
mod tecton;
mod vertex;

use std::fmt::Debug;
use std::ops::Range;

use futures_util::stream::{self, StreamExt as _};
use serde_json::Value as Json;

use client::Client;
use credential::Scheme;

use super::{OnlineStore, ReadFuture, StoreRead, ViewRead};
use crate::columns::Columns;
use crate::declared::{HttpDialect, HttpStoreDeclaration};
use crate::entity_key::{KeyParts, KeyType, KeyValue};
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

impl Call {
    fn post(path: String, body: &Json, rows: Range<usize>) -> Self {
        Self { method: http::Method::POST, path, body: body.to_string().into(), rows }
    }
}

/// Requests of one read that are under way.
const UNDER_WAY: usize = 32;

/// An answer.
type Reply<'a> = &'a Json;

/// How a product is asked, and what it answers.
trait Dialect: Send + Sync + Debug {
    /// The requests for a read of one view.
    fn calls(&self, read: &ViewRead) -> Result<Vec<Call>, FeatureError>;

    /// Fills the rows of a call with its answer.
    fn take(&self, read: &ViewRead, call: &Call, reply: Reply<'_>, columns: &mut Columns) -> Result<(), FeatureError>;

    /// Whether a status means that the call's rows are not there.
    fn is_no_row(&self, status: u16) -> bool {
        let _ = status;
        false
    }
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
        let token = |word| Scheme::Header(http::header::AUTHORIZATION, word);
        let (dialect, scheme): (Box<dyn Dialect>, Scheme) = match declared.dialect.clone() {
            HttpDialect::Feast => (Box::new(feast::Feast), token("Bearer ")),
            HttpDialect::Hopsworks { feature_store, version } => {
                let scheme = Scheme::Header(http::HeaderName::from_static("x-api-key"), "");
                (Box::new(hopsworks::Hopsworks { feature_store, version }), scheme)
            }
            HttpDialect::Tecton { workspace, feature_service } => {
                (Box::new(tecton::Tecton { workspace, feature_service }), token("Tecton-key "))
            }
            HttpDialect::SageMaker { region, event_time } => {
                (Box::new(sagemaker::SageMaker { event_time }), Scheme::Signature(region))
            }
            HttpDialect::Vertex { store } => (Box::new(vertex::Vertex { store }), token("Bearer ")),
        };
        Ok(Self { client: Client::open(declared, scheme)?, dialect })
    }
}

impl OnlineStore for HttpStore {
    fn read<'a>(&'a self, read: &'a StoreRead) -> ReadFuture<'a> {
        Box::pin(async move {
            let mut answers: Vec<Columns> = read.views.iter().map(ViewRead::empty_answer).collect();
            let mut calls = Vec::new();
            for (index, view) in read.views.iter().enumerate() {
                calls.extend(self.dialect.calls(view)?.into_iter().map(|call| (index, call)));
            }
            let send = |(index, call): (usize, Call)| async move {
                let reply = self.client.send(&call, |status| self.dialect.is_no_row(status)).await;
                (index, call, reply)
            };
            let mut waiting = stream::iter(calls.into_iter().map(send)).buffer_unordered(UNDER_WAY);
            while let Some((index, call, reply)) = waiting.next().await {
                if let (Some(reply), Some(view), Some(columns)) =
                    (reply?, read.views.get(index), answers.get_mut(index))
                {
                    self.dialect.take(view, &call, &reply, columns)?;
                }
            }
            Ok(answers)
        })
    }
}

/// The rows of a read in groups.
fn chunks(rows: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(size).map(move |start| start..rows.min(start + size))
}

/// A store's answer that is none.
fn misunderstood(detail: impl std::fmt::Display) -> FeatureError {
    FeatureError::unavailable("the feature store answers what is no answer", detail)
}

/// The values of the join keys by row, as JSON and in the order of the view's entities.
fn key_values(read: &ViewRead, rows: Range<usize>) -> Result<Vec<Vec<(String, Json)>>, FeatureError> {
    let one = |key: &[u8]| {
        let parts = KeyParts::read(key)?;
        let named = |(name, _): &(String, KeyType)| {
            let place = parts.names.iter().position(|one| one == name);
            let value = match place.and_then(|place| parts.values.get(place)) {
                Some((_, KeyValue::String(text))) => Json::from(*text),
                Some((_, KeyValue::Int(number))) => Json::from(*number),
                // Views by such keys are refused when they are declared.
                Some((_, KeyValue::Bytes(_))) | None => {
                    return Err(FeatureError::internal("a key cannot be sent to the feature store", name));
                }
            };
            Ok((name.clone(), value))
        };
        read.view.keys.names().iter().map(named).collect()
    };
    read.keys.iter().skip(rows.start).take(rows.len()).map(one).collect()
}
