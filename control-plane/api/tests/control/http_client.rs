//! A plain HTTP/1.1 client over a socket: one request, one connection, nothing shared with the server's code.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl HttpAnswer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The stable code of a problem document.
    pub(crate) fn code(&self) -> String {
        assert!(self.headers.contains("application/problem+json"), "{self:?}");
        let problem = self.json();
        for member in ["type", "title", "status", "code", "detail", "action"] {
            assert!(problem.get(member).is_some(), "no `{member}` in {problem}");
        }
        problem["code"].as_str().unwrap().to_owned()
    }
}

/// Sends bytes as they are and reads until the server closes.
pub(crate) fn send_raw(address: SocketAddr, bytes: &[u8]) -> std::io::Result<HttpAnswer> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    // A server that refuses early closes before everything is written.
    drop(stream.write_all(bytes));
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Err(error) if received.is_empty() => return Err(error),
        _ => {}
    }
    let text = String::from_utf8_lossy(&received).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no status in {head:?}")))?;
    Ok(HttpAnswer { status, headers: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// Sends a request with these further headers.
pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<HttpAnswer> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    send_raw(address, request.as_bytes())
}
