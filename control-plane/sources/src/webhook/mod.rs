//! Whether a webhook comes from who it says: signatures over the raw body, compared in constant time. Pure.
//!
//! A verified webhook is a reason to look, never a fact: what it claims is asked for again. Deliveries repeat; their ids
//! tell. The body must be the bytes as they came, and bounded by whoever received them.

mod signature;
mod verify;

pub use verify::{Delivery, WebhookSender, verify_webhook};
