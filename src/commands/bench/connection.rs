//! A worker's way to the server: what it sends, on which protocol, and connecting again when it broke.
//!
//! The invariant: an exchange fails at most once per broken connection; the next one connects anew.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, header};

use super::grpc_connection::{GrpcCaller, GrpcConnection};
use super::http_connection::HttpConnection;
use super::recorder::Failure;

/// What is sent, made once; shared between threads.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    /// A whole HTTP/1.1 request.
    Http {
        /// `HOST:PORT`.
        authority: Arc<str>,
        /// Head and body.
        request: Arc<[u8]>,
    },
    /// A gRPC call.
    Grpc {
        /// `HOST:PORT`.
        authority: Arc<str>,
        /// The message with its prefix.
        message: Bytes,
    },
}

impl Payload {
    /// Bytes of one request.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Http { request, .. } => request.len(),
            Self::Grpc { message, .. } => message.len(),
        }
    }
}

/// gRPC connections, each shared by several workers. Empty places are filled by whoever needs them first.
type Slots = Rc<RefCell<Vec<Option<Rc<GrpcConnection>>>>>;

/// Makes workers' links.
#[derive(Debug)]
pub(super) struct Links {
    payload: Payload,
    request: Rc<[u8]>,
    slots: Slots,
    given: usize,
}

impl Links {
    /// Links that share `connections` connections where the protocol allows it.
    pub(super) fn new(payload: Payload, connections: usize) -> Self {
        let request = match &payload {
            Payload::Http { request, .. } => Rc::from(&request[..]),
            Payload::Grpc { .. } => Rc::from([]),
        };
        Self { payload, request, slots: Rc::new(RefCell::new(vec![None; connections.max(1)])), given: 0 }
    }

    /// The next worker's link.
    pub(super) fn next(&mut self) -> Link {
        let slot = self.given % self.slots.borrow().len();
        self.given += 1;
        Link {
            payload: self.payload.clone(),
            request: Rc::clone(&self.request),
            slots: Rc::clone(&self.slots),
            slot,
            open: None,
        }
    }
}

/// One worker's link.
#[derive(Debug)]
pub(super) struct Link {
    payload: Payload,
    request: Rc<[u8]>,
    slots: Slots,
    slot: usize,
    open: Option<Open>,
}

#[derive(Debug)]
enum Open {
    Http(HttpConnection),
    Grpc(Box<GrpcCaller>),
}

impl Link {
    /// Connects unless connected.
    pub(super) async fn connect(&mut self) -> Result<(), Failure> {
        if self.open.is_some() {
            return Ok(());
        }
        self.open = Some(match &self.payload {
            Payload::Http { authority, .. } => {
                Open::Http(HttpConnection::open(authority, Rc::clone(&self.request)).await?)
            }
            Payload::Grpc { authority, message } => {
                let present = self.slots.borrow()[self.slot].clone();
                let connection = match present {
                    Some(connection) => connection,
                    None => {
                        let connection = GrpcConnection::open(authority).await?;
                        Rc::clone(self.slots.borrow_mut()[self.slot].get_or_insert(connection))
                    }
                };
                Open::Grpc(Box::new(connection.caller(grpc_head(authority)?, message.clone())))
            }
        });
        Ok(())
    }

    /// One request and its answer.
    pub(super) async fn exchange(&mut self) -> Result<(), Failure> {
        self.connect().await?;
        let outcome = match &mut self.open {
            Some(Open::Http(connection)) => connection.exchange().await,
            Some(Open::Grpc(caller)) => caller.exchange().await,
            None => return Err(Failure::connection("not connected")),
        };
        let usable = match &outcome {
            Ok(usable) => *usable,
            Err(failure) => !failure.broken,
        };
        if !usable {
            self.open = None;
            if matches!(self.payload, Payload::Grpc { .. }) {
                self.slots.borrow_mut()[self.slot] = None;
            }
        }
        outcome.map(drop)
    }
}

fn grpc_head(authority: &str) -> Result<Request<()>, Failure> {
    Request::post(format!("http://{authority}/inference.GRPCInferenceService/ModelInfer"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(())
        .map_err(Failure::connection)
}
