//! A TCP proxy that breaks connections after a number of bytes, in front of a server that behaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) struct CuttingProxy {
    pub(crate) address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl CuttingProxy {
    /// Cuts each of the first `most` answers that are longer than `bytes` there.
    pub(crate) async fn start(target: SocketAddr, bytes: usize, most: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&cuts);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, target, bytes, most, Arc::clone(&counted)));
            }
        });
        Self { address, cuts, accepting }
    }

    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

async fn carry(near: TcpStream, target: SocketAddr, bytes: usize, most: usize, cuts: Arc<AtomicUsize>) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let upward = tokio::spawn(async move { tokio::io::copy(&mut near_read, &mut far_write).await });
    let mut left = bytes;
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = far_read.read(&mut buffer).await {
        let taken = count.min(left);
        if near_write.write_all(&buffer[..taken]).await.is_err() {
            break;
        }
        left -= taken;
        if left == 0 && cuts.load(Ordering::Relaxed) < most {
            cuts.fetch_add(1, Ordering::Relaxed);
            break;
        }
        if taken < count && near_write.write_all(&buffer[taken..count]).await.is_err() {
            break;
        }
        if left == 0 {
            left = usize::MAX;
        }
    }
    upward.abort();
}
