//! Who may come in: counts of requests, of their bytes and of connections, held as permits.
//!
//! A permit is released by dropping it, wherever its request ends. Refusing costs one atomic operation and happens
//! before anything is parsed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hanok_backend::{ErrorCode, ServingError};

use crate::Limits;

/// Counts of what is inside right now.
#[derive(Debug)]
pub struct Admission {
    requests: Arc<Gauge>,
    bytes: Arc<Gauge>,
    connections: Arc<Gauge>,
}

#[derive(Debug)]
struct Gauge {
    inside: AtomicUsize,
    limit: usize,
}

/// The right to a share of a limit; released when dropped.
#[derive(Debug)]
pub struct Permit {
    gauge: Arc<Gauge>,
    amount: usize,
}

impl Gauge {
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { inside: AtomicUsize::new(0), limit })
    }

    fn enter(self: &Arc<Self>, amount: usize) -> Option<Permit> {
        let before = self.inside.fetch_add(amount, Relaxed);
        if before.saturating_add(amount) > self.limit {
            self.inside.fetch_sub(amount, Relaxed);
            return None;
        }
        Some(Permit { gauge: Arc::clone(self), amount })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gauge.inside.fetch_sub(self.amount, Relaxed);
    }
}

impl Admission {
    /// Nothing inside yet.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            requests: Gauge::new(limits.max_in_flight_requests),
            bytes: Gauge::new(limits.max_in_flight_bytes),
            connections: Gauge::new(limits.max_connections),
        }
    }

    /// Admits one inference request.
    ///
    /// # Errors
    /// `ResourceExhausted` above the limit.
    pub fn request(&self) -> Result<Permit, ServingError> {
        self.requests.enter(1).ok_or_else(|| exhausted("requests in flight", self.requests.limit))
    }

    /// Admits the body of a request.
    ///
    /// # Errors
    /// `ResourceExhausted` above the limit.
    pub fn body(&self, bytes: usize) -> Result<Permit, ServingError> {
        self.bytes.enter(bytes).ok_or_else(|| exhausted("bytes of requests in flight", self.bytes.limit))
    }

    /// Admits one connection; `None` above the limit.
    #[must_use]
    pub fn connection(&self) -> Option<Permit> {
        self.connections.enter(1)
    }

    /// Inference requests inside right now.
    #[must_use]
    pub fn requests_inside(&self) -> usize {
        self.requests.inside.load(Relaxed)
    }

    /// Connections open right now.
    #[must_use]
    pub fn connections_inside(&self) -> usize {
        self.connections.inside.load(Relaxed)
    }
}

fn exhausted(what: &str, limit: usize) -> ServingError {
    ServingError::new(ErrorCode::ResourceExhausted, format!("the server is at its limit of `{limit}` {what}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn admits_up_to_the_limit_and_not_one_more() {
        let limits =
            Limits { max_in_flight_requests: 2, max_in_flight_bytes: 10, max_connections: 1, ..Limits::default() };
        let admission = Admission::new(&limits);
        let first = admission.request().unwrap();
        let _second = admission.request().unwrap();
        assert_eq!(admission.request().unwrap_err().code(), ErrorCode::ResourceExhausted);
        drop(first);
        assert!(admission.request().is_ok());
        assert!(admission.body(11).is_err());
        let body = admission.body(10).unwrap();
        assert!(admission.body(1).is_err());
        drop(body);
        assert!(admission.body(1).is_ok());
        let connection = admission.connection();
        assert!(connection.is_some() && admission.connection().is_none());
        assert_eq!(admission.connections_inside(), 1);
    }
}
