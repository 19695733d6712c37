//! One HTTP/1.1 connection that sends the same bytes again and again.
//!
//! Not a general client: `httparse` reads the head, the body is counted and thrown away. The invariant: an answer is
//! read to its end before the next request is sent.

use std::rc::Rc;

use httparse::{EMPTY_HEADER, Response, Status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::recorder::Failure;

/// Most headers of an answer.
const MAX_HEADERS: usize = 64;

/// A connection with its request.
#[derive(Debug)]
pub(super) struct HttpConnection {
    stream: TcpStream,
    request: Rc<[u8]>,
    buffer: Vec<u8>,
}

/// How long an answer's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// An answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    framing: Framing,
    keeps_alive: bool,
    length: usize,
}

impl HttpConnection {
    /// Connects.
    pub(super) async fn open(authority: &str, request: Rc<[u8]>) -> Result<Self, Failure> {
        let stream = TcpStream::connect(authority).await.map_err(Failure::connection)?;
        stream.set_nodelay(true).map_err(Failure::connection)?;
        Ok(Self { stream, request, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends the request and reads the answer; gives whether the connection can be used again. Cancelled halfway, it
    /// cannot.
    pub(super) async fn exchange(&mut self) -> Result<bool, Failure> {
        self.stream.write_all(&self.request).await.map_err(Failure::connection)?;
        let head = loop {
            match parse_head(&self.buffer)? {
                Some(head) => break head,
                None => self.fill().await?,
            }
        };
        let (body, end) = self.read_body(head).await?;
        let outcome = if head.status == 200 {
            Ok(head.keeps_alive)
        } else {
            let body = self.buffer.get(body..end).unwrap_or_default();
            let status = http::StatusCode::from_u16(head.status).unwrap_or_default();
            let text = match crate::client::refusal(status, body) {
                crate::client::ClientError::Refused { message, .. } => message,
                other => other.to_string(),
            };
            Err(Failure { kind: format!("status {}", head.status), text, broken: !head.keeps_alive })
        };
        self.buffer.drain(..end);
        outcome
    }

    /// Reads what has arrived; waits for at least one byte.
    async fn fill(&mut self) -> Result<(), Failure> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Failure::connection("the server closed the connection before its answer was complete")),
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::connection(error)),
        }
    }

    /// Reads the whole body into the buffer; gives its start and the end of the answer.
    async fn read_body(&mut self, head: Head) -> Result<(usize, usize), Failure> {
        let start = head.length;
        match head.framing {
            Framing::Length(length) => {
                while self.buffer.len() < start + length {
                    self.fill().await?;
                }
                Ok((start, start + length))
            }
            Framing::Chunked => {
                let mut position = start;
                loop {
                    match httparse::parse_chunk_size(&self.buffer[position..]) {
                        Ok(Status::Complete((line, size))) => {
                            let size = usize::try_from(size).map_err(Failure::connection)?;
                            let end = position.saturating_add(line).saturating_add(size).saturating_add(2);
                            while self.buffer.len() < end {
                                self.fill().await?;
                            }
                            position = end;
                            if size == 0 {
                                return Ok((start, end));
                            }
                        }
                        Ok(Status::Partial) => self.fill().await?,
                        Err(_) => return Err(Failure::connection("the answer has a malformed chunk")),
                    }
                }
            }
            Framing::UntilClose => {
                while self.stream.read_buf(&mut self.buffer).await.map_err(Failure::connection)? > 0 {}
                Ok((start, self.buffer.len()))
            }
        }
    }
}

/// Reads the head of an answer; `None` until it is complete.
fn parse_head(buffer: &[u8]) -> Result<Option<Head>, Failure> {
    if buffer.is_empty() {
        return Ok(None);
    }
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut response = Response::new(&mut headers);
    let length = match response.parse(buffer) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(Failure::connection(format!("the answer is not HTTP/1.1: {error}"))),
    };
    let mut head = Head {
        status: response.code.unwrap_or(0),
        framing: Framing::UntilClose,
        keeps_alive: response.version == Some(1),
        length,
    };
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok());
            head.framing = Framing::Length(
                length.ok_or_else(|| Failure::connection("the answer's content-length is not a number"))?,
            );
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            head.framing = Framing::Chunked;
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.keeps_alive = !header.value.eq_ignore_ascii_case(b"close");
        }
    }
    if head.framing == Framing::UntilClose {
        head.keeps_alive = false;
    }
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn heads() {
        let head = |text: &str| parse_head(text.as_bytes());
        let full = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let expected = Head { status: 200, framing: Framing::Length(5), keeps_alive: true, length: full.len() - 5 };
        assert_eq!(head(full).unwrap(), Some(expected));
        assert_eq!(head(&full[..20]).unwrap(), None);
        let chunked =
            head("HTTP/1.1 503 x\r\ntransfer-encoding: chunked\r\nconnection: Close\r\n\r\n").unwrap().unwrap();
        assert_eq!((chunked.status, chunked.framing, chunked.keeps_alive), (503, Framing::Chunked, false));
        assert!(!head("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap().unwrap().keeps_alive);
        assert!(head("SSH-2.0-x\r\n\r\n").is_err());
        assert!(head("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
    }
}
