//! The HTTP door: HTTP/1.1 and h2c on one port.
//!
//! A request's way: [`service`] finds the route, [`infer`] or one of the smaller modules answers it, [`reply`] shapes
//! what goes back.

mod compression;
mod header_forwarding;
mod infer;
mod information;
mod management;
mod reply;
mod reply_body;
mod request_body;
mod service;

pub(crate) use header_forwarding::forward_headers;
pub(crate) use infer::check_id;
pub(crate) use reply_body::ReplyBody;
pub(crate) use service::{HttpServer, http2_builder};
