//! A web server on a free port whose answers a test writes, correct or not: what goes over the wire is exactly that.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Head of a request.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// First byte of a `Range: bytes=N-`.
    pub(crate) fn range_start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What the server does with a request.
pub(crate) enum Reply {
    /// Sends these bytes, then closes.
    Bytes(Vec<u8>),
    /// Sends these bytes, then says nothing until the caller leaves.
    Stall(Vec<u8>),
    /// Sends these bytes one by one, never silent for long.
    Drip(Vec<u8>),
    /// Sends the head of these bytes at once, and the rest one by one.
    DripBody(Vec<u8>),
}

pub(crate) struct WebServer {
    pub(crate) address: SocketAddr,
    /// Bytes sent so far, over all answers.
    pub(crate) sent: watch::Receiver<u64>,
    seen: Arc<Mutex<Vec<Head>>>,
    scheme: &'static str,
    accepting: JoinHandle<()>,
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl WebServer {
    /// Answers every request by `answer`, given its head and how many came before it.
    pub(crate) async fn start(ip: &str, answer: impl Fn(&Head, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(ip, None, answer).await
    }

    /// The same over TLS.
    pub(crate) async fn start_encrypted(
        ip: &str,
        config: ServerConfig,
        answer: impl Fn(&Head, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen(ip, Some(TlsAcceptor::from(Arc::new(config))), answer).await
    }

    async fn listen(
        ip: &str,
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Head, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((ip.parse::<IpAddr>().unwrap(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Head>>> = Arc::default();
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        let (count, sent) = watch::channel(0);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer, count, tls) = (Arc::clone(&log), Arc::clone(&answer), count.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, log, answer, count).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, log, answer, count).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, sent, seen, scheme, accepting }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Head> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    log: Arc<Mutex<Vec<Head>>>,
    answer: Arc<impl Fn(&Head, usize) -> Reply>,
    count: watch::Sender<u64>,
) {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = text.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let head = Head { path, headers };
    let before = {
        let mut log = log.lock().unwrap();
        log.push(head.clone());
        log.len() - 1
    };
    let reply = answer(&head, before);
    let (Reply::Bytes(bytes) | Reply::Stall(bytes) | Reply::Drip(bytes) | Reply::DripBody(bytes)) = &reply;
    let drips_from = match reply {
        Reply::Bytes(_) | Reply::Stall(_) => bytes.len(),
        Reply::Drip(_) => 0,
        Reply::DripBody(_) => bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4,
    };
    let (at_once, dripped) = bytes.split_at(drips_from);
    for piece in at_once.chunks(64 << 10).chain(dripped.chunks(1)) {
        if piece.len() == 1 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if stream.write_all(piece).await.is_err() {
            return;
        }
        count.send_modify(|sent| *sent += piece.len() as u64);
    }
    // TLS would call a missing farewell an attack, which is not what a test means to show.
    stream.flush().await.ok();
    if matches!(reply, Reply::Bytes(_) | Reply::Drip(_) | Reply::DripBody(_)) {
        stream.shutdown().await.ok();
    }
    if let Reply::Stall(_) = reply {
        let mut buffer = [0; 64];
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
    }
}

/// An answer with a length.
pub(crate) fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n", body.len()).into_bytes();
    for header in headers {
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// `body` as a correct server gives it: ranges, and `tag` honoured in `If-Range`.
pub(crate) fn ranged(head: &Head, body: &[u8], tag: &str) -> Vec<u8> {
    let tag_header = format!("etag: {tag}");
    let same = head.header("if-range").is_none_or(|asked| asked == tag);
    match head.range_start().filter(|_| same) {
        None => answer("200 OK", &[&tag_header, "accept-ranges: bytes"], body),
        Some(start) if start >= body.len() => {
            answer("416 Range Not Satisfiable", &[&format!("content-range: bytes */{}", body.len())], b"")
        }
        Some(start) => {
            let range = format!("content-range: bytes {start}-{}/{}", body.len() - 1, body.len());
            answer("206 Partial Content", &[&tag_header, &range], &body[start..])
        }
    }
}

/// The answer cut after `bytes` of its body.
pub(crate) fn cut(whole: &[u8], bytes: usize) -> Vec<u8> {
    let body = whole.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    whole[..(body + bytes).min(whole.len())].to_vec()
}

/// Bytes that repeat nowhere.
pub(crate) fn model_bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
