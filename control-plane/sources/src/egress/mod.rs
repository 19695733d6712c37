//! The way out: which addresses may be connected to, who resolves names, TLS, and one HTTP client for everything here.
//!
//! Invariant: an address is judged after resolving and right before connecting, for every connection, whoever asked for
//! it (a reference, a redirect, a bucket's endpoint, a token server). A name that resolves to something else the second
//! time gains nothing: the address that was judged is the one that is connected to.

mod address_class;
mod address_policy;
mod answer;
mod client;
mod connector;
mod pace;
mod redirect;
mod roots;

pub use address_class::AddressClass;
pub use address_policy::{AddressPolicy, AllowedPlace};
pub(crate) use answer::{Answer, short_document};
pub(crate) use client::{Asked, WebClient};
pub(crate) use connector::judged_addresses;
