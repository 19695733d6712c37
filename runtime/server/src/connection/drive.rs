//! Runs one connection to its end, or until it is told to end.
//!
//! The two are polled together without a lock: this is on the path of every request.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use super::{ConnectionWatch, Signal};

/// Runs `connection` until it ends; calls `finish` on it when it is told to drain, drops it when told to close.
pub(crate) async fn drive<C>(
    connection: C,
    watch: &ConnectionWatch,
    finish: impl Fn(Pin<&mut C>),
) -> Result<(), hyper::Error>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut connection = pin!(connection);
    let mut finishing = false;
    poll_fn(|context| {
        if let Poll::Ready(result) = connection.as_mut().poll(context) {
            return Poll::Ready(result);
        }
        match watch.poll_signal(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Signal::Close) => {
                tracing::debug!("a connection was closed for being slow, idle or old, or because the server ends");
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Signal::Drain) => {
                if std::mem::replace(&mut finishing, true) {
                    return Poll::Pending;
                }
                finish(connection.as_mut());
                connection.as_mut().poll(context)
            }
        }
    })
    .await
}
