//! Resolves a name, judges every address, connects to one that was judged good.
//!
//! The name is resolved once per connection and the connection goes to the address that was judged, so that a name
//! server which answers differently the second time (DNS rebinding) reaches nothing.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::AddressPolicy;
use crate::artifact_path::shown;
use crate::{SourceError, SourceErrorCode};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Resolve = Arc<dyn Fn(String, u16) -> Boxed<io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Connects hyper to judged addresses.
#[derive(Clone)]
pub(super) struct GuardedConnector {
    policy: Arc<AddressPolicy>,
    silence: Duration,
    resolve: Resolve,
}

impl std::fmt::Debug for GuardedConnector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GuardedConnector").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl GuardedConnector {
    pub(super) fn new(policy: Arc<AddressPolicy>, silence: Duration) -> Self {
        Self { policy, silence, resolve: Arc::new(|host, port| Box::pin(system_addresses(host, port))) }
    }
}

async fn system_addresses(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host.as_str(), port)).await?.collect())
}

/// Addresses of `host` that may be connected to: resolved now, each judged.
///
/// # Errors
/// The first refusal when all are refused; `Unreachable` when the name does not resolve.
pub(crate) async fn judged_addresses(
    policy: &AddressPolicy,
    host: &str,
    port: u16,
    encrypted: bool,
) -> Result<Vec<SocketAddr>, SourceError> {
    judge(policy, host, system_addresses(bare(host).to_owned(), port).await, encrypted)
}

fn judge(
    policy: &AddressPolicy,
    host: &str,
    resolved: io::Result<Vec<SocketAddr>>,
    encrypted: bool,
) -> Result<Vec<SocketAddr>, SourceError> {
    let resolved = resolved.map_err(|error| unresolved(host).with_operator_detail(error))?;
    let mut refusal = None;
    let mut good = Vec::new();
    for address in resolved {
        match policy.check(bare(host), address.ip(), encrypted) {
            Ok(()) => good.push(address),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    if good.is_empty() { Err(refusal.unwrap_or_else(|| unresolved(host))) } else { Ok(good) }
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host)
}

fn unresolved(host: &str) -> SourceError {
    SourceError::new(
        SourceErrorCode::Unreachable,
        format!("the name `{}` does not resolve", shown(host)),
        "check the name, and this machine's name servers",
    )
}

async fn connect(connector: GuardedConnector, uri: Uri) -> Result<TokioIo<TcpStream>, SourceError> {
    let host = uri.host().unwrap_or_default().to_owned();
    let encrypted = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let silence = connector.silence;
    let resolving = match bare(&host).parse::<IpAddr>() {
        Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
        Err(_) => tokio::time::timeout(silence, (connector.resolve)(bare(&host).to_owned(), port))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
    };
    let mut last = None;
    for address in judge(&connector.policy, &host, resolving, encrypted)? {
        match tokio::time::timeout(silence, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A stream without this option works too, only later.
                stream.set_nodelay(true).ok();
                return Ok(TokioIo::new(stream));
            }
            Ok(Err(error)) => last = Some(format!("{address}: {error}")),
            Err(_) => last = Some(format!("{address}: no answer within {silence:?}")),
        }
    }
    let error = SourceError::new(
        SourceErrorCode::Unreachable,
        format!("nobody answers at `{}`", shown(&host)),
        "check that the server runs and that this machine may reach it",
    );
    Err(match last {
        Some(detail) => error.with_operator_detail(detail),
        None => error,
    })
}

impl Service<Uri> for GuardedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = SourceError;
    type Future = Boxed<Result<Self::Response, SourceError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SourceError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(connect(self.clone(), uri))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn addresses(text: &[&str], port: u16) -> Vec<SocketAddr> {
        text.iter().map(|address| SocketAddr::new(address.parse().unwrap(), port)).collect()
    }

    #[test]
    fn refused_addresses_are_left_out_and_named_when_nothing_is_left() {
        let policy = AddressPolicy::default();
        let mixed = judge(&policy, "x", Ok(addresses(&["127.0.0.1", "8.8.8.8", "::1"], 1)), true).unwrap();
        assert_eq!(mixed, addresses(&["8.8.8.8"], 1));
        let error = judge(&policy, "x", Ok(addresses(&["169.254.169.254"], 1)), true).unwrap_err();
        assert_eq!(error.code(), SourceErrorCode::AddressRefused);
        assert_eq!(judge(&policy, "x", Ok(vec![]), true).unwrap_err().code(), SourceErrorCode::Unreachable);
    }

    /// A name server that says "allowed" when asked first and "loopback" from then on reaches nothing: each connection
    /// asks once and goes to what it judged.
    #[tokio::test]
    async fn a_name_that_changes_its_mind_is_judged_each_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let connector = GuardedConnector {
            // The machine's second loopback address stands for a public one.
            policy: Arc::new(AddressPolicy::new(vec!["127.0.0.2".parse().unwrap()])),
            silence: Duration::from_secs(5),
            resolve: Arc::new(move |_, port| {
                let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
                Box::pin(async move { Ok(addresses(&[if first { "127.0.0.2" } else { "127.0.0.1" }], port)) })
            }),
        };
        let uri: Uri = format!("http://rebinding.example:{port}/").parse().unwrap();
        let first = connect(connector.clone(), uri.clone()).await.unwrap_err();
        assert_eq!(first.code(), SourceErrorCode::Unreachable, "127.0.0.2 was tried, where nobody listens: {first}");
        let second = connect(connector, uri).await.unwrap_err();
        assert_eq!(second.code(), SourceErrorCode::AddressRefused, "{second}");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn addresses_in_the_url_are_judged_too() {
        let connector = GuardedConnector::new(Arc::new(AddressPolicy::default()), Duration::from_secs(5));
        for uri in [
            "https://127.0.0.1:1/",
            "https://[::1]:1/",
            "https://[::ffff:169.254.169.254]/",
            "https://0.0.0.0:1/",
            "https://localhost:1/",
        ] {
            let error = connect(connector.clone(), uri.parse().unwrap()).await.unwrap_err();
            assert_eq!(error.code(), SourceErrorCode::AddressRefused, "{uri}: {error}");
        }
    }
}
