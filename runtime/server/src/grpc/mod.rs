//! The gRPC door: tonic's services on hyper's HTTP/2, with the server's own limits.
//!
//! [`connection`] sends each call to its service; [`service`] answers all that is short, [`infer`] and [`stream`] the
//! rest.

mod connection;
mod health;
mod infer;
mod replies;
mod sent_trace;
mod service;
mod stream;

pub(crate) use connection::GrpcServer;
