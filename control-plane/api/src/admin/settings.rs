//! Settings of the admin port.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Settings of the admin port.
#[derive(Clone)]
pub struct AdminSettings {
    /// Where it listens; port 0 takes a free one. Another address than the loopback needs a token.
    pub listen: SocketAddr,
    /// What every caller must bring as `Authorization: Bearer TOKEN`; at least 16 bytes.
    pub token: Option<String>,
    /// Largest body, in bytes.
    pub largest_body: usize,
    /// Longest time of a request, from its head to its answer.
    pub deadline: Duration,
    /// Most connections at once; more wait to be accepted.
    pub connections: usize,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: None,
            largest_body: 8 << 20,
            deadline: Duration::from_secs(30),
            connections: 256,
        }
    }
}

impl std::fmt::Debug for AdminSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AdminSettings")
            .field("listen", &self.listen)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .finish_non_exhaustive()
    }
}
