//! Every bound of the server in one place: bytes, depth, counts, times, requests, connections.
//!
//! Printed at start; each is tested at the limit and one over.

use std::fmt;
use std::time::Duration;

/// Bounds of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of an HTTP request in bytes, before and after decompression (W-07).
    pub max_request_bytes: usize,
    /// Largest gRPC message in bytes (W-96).
    pub max_grpc_message_bytes: usize,
    /// Deepest nesting of JSON (W-08).
    pub max_json_depth: usize,
    /// Most non-empty chunks of one HTTP body (W-08).
    pub max_body_chunks: usize,
    /// Most headers of one HTTP/1 request.
    pub max_headers: usize,
    /// Largest request head: the read buffer of an HTTP/1 connection, and the header list of HTTP/2, in bytes.
    pub max_head_bytes: usize,
    /// Most open connections, all ports together.
    pub max_connections: usize,
    /// Most concurrent streams of one HTTP/2 connection.
    pub max_streams_per_connection: u32,
    /// Most inference requests between their first byte and their last; above it they are refused.
    pub max_in_flight_requests: usize,
    /// Most bytes of request bodies and messages, and of what is brought out of regions, held at once; above it requests are
    /// refused.
    pub max_in_flight_bytes: usize,
    /// Most requests queued per model version.
    pub max_queued_requests: usize,
    /// Most bytes of streamed responses that one connection may leave unread, in memory; half of them for one request.
    /// Beyond it requests are cancelled. One response per request always fits.
    pub max_unread_bytes: usize,
    /// Longest request id in bytes.
    pub max_request_id_bytes: usize,
    /// Time from the first byte of a request to the end of its head.
    pub head_timeout: Duration,
    /// Time from the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// Time for a client to take a reply; a stream's call ends when replies wait and none is taken for so long.
    pub write_timeout: Duration,
    /// Time for which a connection may be idle.
    pub idle_timeout: Duration,
    /// Time between pings of an HTTP/2 connection, which tell whether its client is still there (W-96).
    pub ping_interval: Duration,
    /// Time for the answer to a ping; without one the connection ends.
    pub ping_timeout: Duration,
    /// Time after which a gRPC connection takes no new calls, so that clients behind a balancer spread anew; none: never.
    /// A tenth is added or taken away by chance, so that connections made together do not end together (gRFC A9).
    pub max_connection_age: Option<Duration>,
    /// Time for the calls of a connection of that age to end, before it is cut; none: as long as they take.
    pub max_connection_age_grace: Option<Duration>,
    /// Longest time from receipt to answer; a request's own deadline can only be sooner.
    pub max_request_duration: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_request_bytes: 64 << 20,
            max_grpc_message_bytes: i32::MAX as usize,
            max_json_depth: 100,
            max_body_chunks: 65_536,
            max_headers: 100,
            max_head_bytes: 64 << 10,
            max_connections: 10_000,
            max_streams_per_connection: 1024,
            max_in_flight_requests: 16_384,
            max_in_flight_bytes: 4 << 30,
            max_queued_requests: 16_384,
            max_unread_bytes: 32 << 20,
            max_request_id_bytes: 4096,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(600),
            ping_interval: Duration::from_secs(60),
            ping_timeout: Duration::from_secs(20),
            max_connection_age: None,
            max_connection_age_grace: None,
            max_request_duration: Duration::from_secs(600),
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "request_bytes={} grpc_message_bytes={} json_depth={} body_chunks={} headers={} head_bytes={} \
             connections={} streams_per_connection={} in_flight_requests={} in_flight_bytes={} queued_requests={} \
             unread_bytes={} request_id_bytes={} head_timeout_s={} body_timeout_s={} write_timeout_s={} idle_timeout_s={} \
             ping_interval_s={} ping_timeout_s={} connection_age_s={} connection_age_grace_s={} request_duration_s={}",
            self.max_request_bytes,
            self.max_grpc_message_bytes,
            self.max_json_depth,
            self.max_body_chunks,
            self.max_headers,
            self.max_head_bytes,
            self.max_connections,
            self.max_streams_per_connection,
            self.max_in_flight_requests,
            self.max_in_flight_bytes,
            self.max_queued_requests,
            self.max_unread_bytes,
            self.max_request_id_bytes,
            self.head_timeout.as_secs(),
            self.body_timeout.as_secs(),
            self.write_timeout.as_secs(),
            self.idle_timeout.as_secs(),
            self.ping_interval.as_secs_f64(),
            self.ping_timeout.as_secs_f64(),
            Bound(self.max_connection_age),
            Bound(self.max_connection_age_grace),
            self.max_request_duration.as_secs(),
        )
    }
}

/// Seconds, or `none`.
struct Bound(Option<Duration>);

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(duration) => write!(formatter, "{}", duration.as_secs_f64()),
            None => formatter.write_str("none"),
        }
    }
}
