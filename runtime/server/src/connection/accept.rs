//! Listening and accepting: the loop that must never end before the server does.
//!
//! A failing accept (too many open files) is waited out, not fatal (RUSTSEC-2024-0376). Connections above the limit are
//! answered and closed at once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
#[cfg(target_os = "linux")]
use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{ConnectionWatch, Signal, WatchedStream, Watcher};
use crate::admission::Admission;
use crate::lifecycle::{Stage, reached};

/// Pause after an accept that failed for lack of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections that are half made, when nobody new is admitted any more, may take to come into the queue.
const LAST_LOOK: Duration = Duration::from_millis(10);
/// Connections that the kernel holds before they are accepted.
const BACKLOG: i32 = 4096;

/// What is served on one port.
pub(crate) trait ConnectionServer: Send + Sync + 'static {
    /// Serves one connection until it ends, or until its watch says so.
    fn serve(
        &self,
        stream: WatchedStream,
        peer: SocketAddr,
        watch: Arc<ConnectionWatch>,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// What is written to a connection that is refused.
    fn refusal(&self) -> &'static [u8];
}

/// Opens a listener.
///
/// # Errors
/// When the address cannot be had.
pub(crate) fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        // A wildcard IPv6 address takes IPv4 connections too, as Triton's does.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until draining begins, then waits for the connections to finish; cuts them when the server stops.
pub(crate) async fn accept_loop<S: ConnectionServer>(
    listener: TcpListener,
    server: S,
    admission: Arc<Admission>,
    watcher: Arc<Watcher>,
    stage: watch::Receiver<Stage>,
) {
    let mut connections = JoinSet::new();
    let mut draining = stage.clone();
    let mut complained = false;
    loop {
        let accepted = tokio::select! {
            biased;
            // Accepting comes first: whoever connected before the listener closes is still served.
            accepted = listener.accept() => accepted,
            () = reached(&mut draining, Stage::Draining) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(%error, "accepting connections fails; trying again until it works");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        complained = false;
        take(stream, peer, &server, &admission, &watcher, &mut connections);
    }
    // Whoever connected meanwhile is in the listener's queue and would be cut off with it.
    if let Ok(listener) = listener.into_std() {
        admit_nobody(&listener);
        // Whoever the kernel has answered before that may come into the queue a moment later.
        for pause in [Some(LAST_LOOK), None] {
            while let Ok((stream, peer)) = listener.accept() {
                let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                if let Ok(stream) = stream {
                    take(stream, peer, &server, &admission, &watcher, &mut connections);
                }
            }
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
    }
    watcher.tell_all(Signal::Drain);
    let mut stopped = stage;
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = reached(&mut stopped, Stage::Stopped) => connections.shutdown().await,
    }
}

/// From here on nobody begins to connect: between the last look into the queue and its end somebody would, and be cut off.
///
/// Who tries is not answered, tries again in a second, and is refused then, or met by whoever shares the port.
#[cfg(target_os = "linux")]
fn admit_nobody(listener: &std::net::TcpListener) {
    // A classic BPF program over the TCP header (the kernel's networking/filter.rst): keeps all but segments with SYN.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS_OFFSET: u32 = 13;
    const SYN: u32 = 0x02;
    let program = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_OFFSET),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    if let Err(error) = SockRef::from(listener).attach_filter(&program) {
        tracing::debug!(%error, "the listener cannot be closed to new connections before it ends");
    }
}

#[cfg(not(target_os = "linux"))]
fn admit_nobody(_listener: &std::net::TcpListener) {}

/// Serves a connection under the limit, or refuses it.
fn take<S: ConnectionServer>(
    stream: TcpStream,
    peer: SocketAddr,
    server: &S,
    admission: &Arc<Admission>,
    watcher: &Arc<Watcher>,
    connections: &mut JoinSet<()>,
) {
    let Some(permit) = admission.connection() else {
        refuse(&stream, server.refusal());
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    let watch = watcher.watch();
    let served = server.serve(WatchedStream::new(stream, Arc::clone(&watch)), peer, watch);
    connections.spawn(async move {
        served.await;
        drop(permit);
    });
}

fn refuse(stream: &TcpStream, text: &[u8]) {
    // Best effort: the peer may be gone, and its socket buffer is empty.
    if let Err(error) = stream.try_write(text) {
        tracing::trace!(%error, "a refusal was not delivered");
    }
}
