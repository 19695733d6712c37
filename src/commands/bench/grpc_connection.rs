//! gRPC calls that send the same message again and again, on raw HTTP/2.
//!
//! Not a gRPC client: the message was encoded once, the answer's bytes are counted and thrown away, only its status is
//! read. That keeps the generator's cost per call at what HTTP/2 needs. Connections are shared by workers.

use std::rc::Rc;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::recorder::Failure;

/// The HTTP/2 window per stream and, four times that, per connection: no call waits for a window update.
const WINDOW: u32 = 4 << 20;

/// One HTTP/2 connection; its driver ends with it.
#[derive(Debug)]
pub(super) struct GrpcConnection {
    sender: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Drop for GrpcConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A connection seen by one worker, with the request.
#[derive(Clone, Debug)]
pub(super) struct GrpcCaller {
    sender: SendRequest<Bytes>,
    /// Keeps the connection open as long as a worker uses it.
    _connection: Rc<GrpcConnection>,
    head: Request<()>,
    message: Bytes,
}

impl GrpcConnection {
    /// Connects; needs a local task set, on which the connection is driven.
    pub(super) async fn open(authority: &str) -> Result<Rc<Self>, Failure> {
        let stream = TcpStream::connect(authority).await.map_err(Failure::connection)?;
        stream.set_nodelay(true).map_err(Failure::connection)?;
        let (sender, connection) = Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(4 * WINDOW)
            .handshake::<_, Bytes>(stream)
            .await
            .map_err(Failure::connection)?;
        let driver = tokio::task::spawn_local(async move {
            // A broken connection is reported by the calls that it breaks.
            drop(connection.await);
        });
        Ok(Rc::new(Self { sender, driver }))
    }

    /// A worker's view; `message` has its five-byte gRPC prefix.
    pub(super) fn caller(self: &Rc<Self>, head: Request<()>, message: Bytes) -> GrpcCaller {
        GrpcCaller { sender: self.sender.clone(), _connection: Rc::clone(self), head, message }
    }
}

impl GrpcCaller {
    /// Makes the call and reads its status; gives whether the connection can be used again.
    pub(super) async fn exchange(&mut self) -> Result<bool, Failure> {
        let mut sender = self.sender.clone().ready().await.map_err(Failure::connection)?;
        let (response, mut body) = sender.send_request(self.head.clone(), false).map_err(Failure::connection)?;
        body.send_data(self.message.clone(), true).map_err(Failure::connection)?;
        let (head, mut body) = response.await.map_err(Failure::connection)?.into_parts();
        while let Some(data) = body.data().await {
            let data = data.map_err(Failure::connection)?;
            body.flow_control().release_capacity(data.len()).map_err(Failure::connection)?;
        }
        let trailers = body.trailers().await.map_err(Failure::connection)?;
        if head.status != http::StatusCode::OK {
            let kind = format!("status {}", head.status.as_u16());
            return Err(Failure { kind, text: "the server does not speak gRPC here".to_owned(), broken: false });
        }
        // An error without a message carries its status in the head.
        check(trailers.as_ref().unwrap_or(&head.headers))
    }
}

fn check(trailers: &HeaderMap) -> Result<bool, Failure> {
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text("grpc-status") {
        "0" => Ok(true),
        "" => Err(Failure::connection("the answer has no grpc-status")),
        code => {
            let code = tonic::Code::from_bytes(code.as_bytes());
            Err(Failure { kind: format!("grpc {code:?}"), text: text("grpc-message").to_owned(), broken: false })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn statuses() {
        let trailers = |status: &str| {
            let mut map = HeaderMap::new();
            map.insert("grpc-status", status.parse().unwrap());
            map.insert("grpc-message", "queue full".parse().unwrap());
            check(&map)
        };
        assert_eq!(trailers("0"), Ok(true));
        let failure = trailers("14").unwrap_err();
        assert_eq!((failure.kind.as_str(), failure.text.as_str()), ("grpc Unavailable", "queue full"));
        assert!(check(&HeaderMap::new()).unwrap_err().broken);
    }
}
